"""What manager, workers and clients say to each other. Plain data; chunks and tables, never single jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dfbatch.core.death import Death

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """What a worker must know to run jobs of a batch. ``options`` are those of the batch, JSON-like."""

    batch_id: str
    kind: str
    verifier_sha: str
    verifier_name: str
    items: str | None
    options: Mapping[str, Any]
    fingerprint: str = ""

    @property
    def reuses(self) -> bool:
        """True if outcomes of equal content may be taken over."""
        return self.options.get("reuse") == "content"

    @property
    def memory_bytes(self) -> int | None:
        """The most resident memory that a worker may need for it, or None for no limit."""
        return (self.options.get("resources") or {}).get("memory") or None

    @property
    def timeout_s(self) -> float | None:
        """Seconds an item may take; None for no limit."""
        value = self.options.get("timeout_s")
        return None if value is None else float(value)


@dataclass(slots=True, eq=False)
class Chunk:
    """A lease on its way to a worker. ``table`` holds ``job_index, uri, blob, filename`` and maybe ``input``.

    ``attempts``: charged tries of each job so far.
    """

    lease_id: int
    order: WorkOrder
    table: pa.Table
    indices: Indices
    generation: npt.NDArray[np.int16]
    attempts: npt.NDArray[np.int16]
    solo: bool
    term_s: float


@dataclass(slots=True, eq=False)
class Outcomes:
    """Outcomes of some jobs of one lease; row k of every column is one job.

    ``seq`` numbers the reports of one worker incarnation; the manager answers with
    the number up to which all are durable. ``report``: the verification columns of
    the results table, null where a job failed. ``output``: what the verifier
    returned, one struct column ``output``. ``failures``: ``position, error_type,
    error_message, traceback`` of the failed rows only.
    """

    seq: int
    lease_id: int
    batch_id: str
    indices: Indices
    generation: npt.NDArray[np.int16]
    error_class: npt.NDArray[np.uint8]
    fingerprint: npt.NDArray[np.int64]
    started_at: npt.NDArray[np.float64]
    duration_s: npt.NDArray[np.float64]
    busy_s: float
    uris: pa.Array | None = None
    report: pa.Table | None = None
    output: pa.Table | None = None
    failures: pa.Table | None = None
    model_fingerprint: str | None = None


@dataclass(slots=True, eq=False)
class HeldChunk:
    """A lease a worker goes on with, or would like to, when it meets a new manager."""

    lease_id: int
    batch_id: str
    indices: Indices
    generation: npt.NDArray[np.int16]
    solo: bool


class BreakerView(NamedTuple):
    """A circuit breaker of a worker as it is now. ``verifier``: the fingerprint it belongs to.

    ``retry_after_s`` is infinite if it was forced open. ``blocks``: what it refuses
    leaves the verifier, so that items had better not come while it is open.
    """

    verifier: str
    name: str
    state: str
    failure_rate: float | None
    slow_rate: float | None
    retry_after_s: float
    probes: int
    blocks: bool
    opened: int
    last_error: str


class BreakerTurn(NamedTuple):
    """A change of state of a breaker, at ``at`` (wall seconds). ``seq`` numbers those of one incarnation."""

    seq: int
    verifier: str
    name: str
    at: float
    before: str
    after: str
    cause: str
    detail: str


class BreakerReport(NamedTuple):
    """All breakers of a worker, and the changes that the manager may not have heard of, in order.

    ``number`` grows from report to report of one incarnation: two threads send them.
    """

    number: int
    views: tuple[BreakerView, ...]
    turns: tuple[BreakerTurn, ...]


@dataclass(slots=True, eq=False)
class Hello:
    """A worker introduces itself. ``mark``: (lease id, job index) where its last incarnation died.

    ``n_marked``: items that were run in one call, the marked one first. ``news``: also
    the newest of what was told before, for a manager that was restarted.
    """

    worker: str
    incarnation: str
    shape: str
    node: str
    pid: int
    version: str
    queues: tuple[str, ...] | None = None
    held: tuple[HeldChunk, ...] = ()
    outcomes: tuple[Outcomes, ...] = ()
    mark: tuple[int, int] | None = None
    timed_out: bool = False
    stack: str = ""
    death: Death | None = None
    n_marked: int = 1
    breakers: BreakerReport | None = None
    news: tuple[News, ...] = ()


@dataclass(slots=True, eq=False)
class HelloReply:
    """``kept``: the leases the worker may go on with."""

    epoch: int
    kept: frozenset[int]


class StepReport(NamedTuple):
    """How far a job is: ``done`` of ``total`` in ``step``. Times are wall seconds."""

    batch_id: str
    job_index: int
    attempt: int
    step: str | None
    done: float
    total: float | None
    started_at: float
    updated_at: float


class LogLine(NamedTuple):
    """A line that a job said. ``at``: wall seconds."""

    batch_id: str
    job_index: int
    attempt: int
    at: float
    text: str


class News(NamedTuple):
    """Steps and lines of jobs. ``number`` grows from one to the next of one incarnation: they may come repeatedly."""

    number: int
    steps: tuple[StepReport, ...]
    logs: tuple[LogLine, ...]


@dataclass(slots=True, eq=False)
class Exchange:
    """Outcomes in; ``want`` asks for one more chunk. ``idle``: nothing is held, so the call may be parked.

    ``news``: all that the manager may not have, so that nothing of a job is known later than its outcome.
    """

    worker: str
    incarnation: str
    epoch: int
    outcomes: tuple[Outcomes, ...]
    want: bool
    idle: bool
    news: tuple[News, ...] = ()
    breakers: BreakerReport | None = None


@dataclass(slots=True, eq=False)
class Control:
    """What a worker is told: drop these leases, stop, or say hello because the manager does not know it.

    ``durable_seq``: all reports up to this number are in the ledger.
    """

    epoch: int
    durable_seq: int = 0
    recalled: Mapping[int, str] = field(default_factory=dict)
    say_hello: bool = False
    leave: bool = False
    breaker_orders: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    """What the operator said last of each dependency: when (wall seconds), and ``force_open`` or ``reset``."""


@dataclass(slots=True, eq=False)
class ExchangeReply:
    """``chunk`` is None if there is nothing to lease now. ``more``: asking again at once may give another one."""

    control: Control
    chunk: Chunk | None = None
    more: bool = True


@dataclass(slots=True, eq=False)
class Beat:
    """A heartbeat. ``news``: all that the manager may not have. ``draining``: the worker is about to leave."""

    worker: str
    incarnation: str
    epoch: int
    lease_ids: tuple[int, ...]
    news: tuple[News, ...] = ()
    current: tuple[str, int, float] | None = None
    rss: int = 0
    draining: bool = False
    breakers: BreakerReport | None = None


@dataclass(slots=True, eq=False)
class Submit:
    """A batch on its way in. ``jobs``: ``uri, blob, filename`` (any may be missing); ``inputs``: carried columns."""

    submit_id: str
    kind: str
    n_jobs: int
    jobs: pa.Table | None
    inputs: pa.Table | None
    items: str | None
    verifier: bytes
    verifier_name: str
    verifier_fingerprint: str
    options: Mapping[str, Any]
    content: str
    client_version: str
    name: str | None = None
    key: str | None = None
    queue: str = "default"
    priority: int = 0
    shape: Mapping[str, Any] = field(default_factory=dict)
    sealed: bool = True


@dataclass(frozen=True, slots=True)
class Description:
    """Who the manager is and how it does. ``status``: starting, recovering, running, fenced, stopping, stopped.

    ``error``: why the ledger could not be opened at the last try, while it recovers.
    """

    version: str
    epoch: int
    status: str
    storage_path: str
    namespace: str
    reason: str = ""
    recovery_s: float = 0.0
    error: Exception | None = None
