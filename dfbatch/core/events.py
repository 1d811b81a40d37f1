"""What can happen to the manager. Events carry arrays over jobs, never single jobs.

``payload`` is an opaque token of the shell (an Arrow table, say): the rules pass it on unread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dfbatch.core.batch import BatchSpec, BatchStop
from dfbatch.core.breaker_seen import BreakerSeen
from dfbatch.core.death import Death
from dfbatch.core.policy import QueuePolicy
from dfbatch.core.ready import Indices


@dataclass(frozen=True, slots=True)
class BatchSubmitted:
    """A batch whose rows are durable may be worked on."""

    spec: BatchSpec


@dataclass(frozen=True, slots=True)
class BatchExtended:
    """``n_more`` durable jobs were added to a streamed batch. ``first``: the index of the first, to tell a repeat."""

    batch_id: str
    n_more: int
    first: int | None = None


@dataclass(frozen=True, slots=True)
class BatchSealed:
    """No more jobs will come. ``reason`` is set if the producer was lost."""

    batch_id: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ProducerSeen:
    """Whoever feeds a streamed batch lives."""

    batch_id: str


@dataclass(frozen=True, slots=True, eq=False)
class BatchRecovered:
    """An open batch read back from the ledger.

    ``generation`` is the present generation of each job that was ever redriven
    (index array, value array). ``result_*``: terminal rows of the present
    generations. ``tried_*``: the newest failed try of jobs without one.
    """

    spec: BatchSpec
    result_index: Indices
    result_status: npt.NDArray[np.uint8]
    redriven_index: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    redriven_generation: npt.NDArray[np.int16] = field(default_factory=lambda: np.empty(0, np.int16))
    tried_index: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    tried_attempts: npt.NDArray[np.int16] = field(default_factory=lambda: np.empty(0, np.int16))
    tried_deaths: npt.NDArray[np.int16] = field(default_factory=lambda: np.empty(0, np.int16))
    tried_suspect: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    retry_at: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0, np.float64))
    paused: str | None = None
    priority: int | None = None
    stop: BatchStop | None = None
    redriven_at: float | None = None
    purged_index: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    lost: str | None = None
    """Why its stream ended before its time, or None."""
    cancelled_index: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    """Jobs whose present generation was cancelled by their handles, whether or not they have an outcome by now."""


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease that a worker says it holds. ``indices`` are the jobs it has no outcome for yet."""

    lease_id: int
    batch_id: str
    indices: Indices
    generation: npt.NDArray[np.int16]
    solo: bool = False


@dataclass(frozen=True, slots=True)
class WorkerHello:
    """A worker starts, or meets a manager that is new to it.

    What it has to report of earlier leases (``OutcomesReported``, a timeout that ended
    its last incarnation too) goes before the hello, which ends the leases not held.
    ``mark``: (lease id, job index) its last incarnation was at when it died, or None;
    CONSTRUCTING in place of the index while it constructed the verifier.
    """

    worker: str
    incarnation: str
    shape: str = "default"
    queues: tuple[str, ...] | None = None
    node: str = ""
    held: tuple[HeldLease, ...] = ()
    mark: tuple[int, int] | None = None
    capacity: int = 2
    """Leases it may hold at one time: the one it runs and those fetched ahead."""
    death: Death | None = None
    """How its last incarnation ended, if anything is known of that."""
    n_marked: int = 1
    """Jobs of the lease that were run in one call, the marked one first."""


@dataclass(frozen=True, slots=True)
class LeaseRequested:
    """The worker has room for one more chunk."""

    worker: str


@dataclass(frozen=True, slots=True, eq=False)
class OutcomesReported:
    """Outcomes of jobs of one lease; position k of every array is one job.

    ``error_class`` is NONE for a success. ``fingerprint`` groups equal errors
    (0 for successes). ``busy_s``: seconds the worker spent on them.
    """

    worker: str
    lease_id: int
    batch_id: str
    indices: Indices
    generation: npt.NDArray[np.int16]
    error_class: npt.NDArray[np.uint8]
    fingerprint: npt.NDArray[np.int64]
    busy_s: float
    payload: Any = None


@dataclass(frozen=True, slots=True)
class Committed:
    """Outcomes became durable: for each batch, jobs by state code. Codes that are not terminal are ignored."""

    counts: tuple[tuple[str, npt.NDArray[np.int64]], ...]


@dataclass(frozen=True, slots=True)
class HandedBack:
    """The worker gives the rest of a lease back unharmed."""

    worker: str
    lease_id: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The worker lives, and holds these leases. ``draining``: it takes nothing more and is about to leave."""

    worker: str
    lease_ids: tuple[int, ...]
    draining: bool = False


@dataclass(frozen=True, slots=True)
class BreakersSeen:
    """How all circuit breakers of a worker are."""

    worker: str
    breakers: tuple[BreakerSeen, ...]


@dataclass(frozen=True, slots=True)
class PoolTroubled:
    """Why no worker can be had, by shape; every shape that is not named is well."""

    reasons: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The worker's process ended. Its leases wait a little for the mark of the next incarnation."""

    worker: str
    incarnation: str
    cause: str


@dataclass(frozen=True, slots=True)
class WorkerLeft:
    """The worker ended in good order; whatever it held goes back."""

    worker: str
    incarnation: str


@dataclass(frozen=True, slots=True)
class BatchPaused:
    """Nothing more of the batch is leased until it is resumed."""

    batch_id: str
    reason: str = "paused"


@dataclass(frozen=True, slots=True)
class BatchResumed:
    """A paused batch goes on."""

    batch_id: str


@dataclass(frozen=True, slots=True)
class BatchStopped:
    """Cancel, or another end before its time: every open job gets the outcome of ``stop``."""

    batch_id: str
    stop: BatchStop


@dataclass(frozen=True, slots=True, eq=False)
class JobsCancelled:
    """Some jobs of a batch were cancelled by their handles."""

    batch_id: str
    indices: Indices
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Redriven:
    """Ended jobs begin their next generation.

    ``noted``: the ledger says so already, so it is carried out even if the queue is
    full by now; if the batch is being stopped, they get the outcome of the stop.
    """

    batch_id: str
    indices: Indices
    noted: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Purged:
    """Dead letters of a batch are given up: they are neither listed nor redriven any more."""

    batch_id: str
    indices: Indices


@dataclass(frozen=True, slots=True, eq=False)
class FollowersHeld:
    """These queued jobs wait for the outcome of an equal job of their batch."""

    batch_id: str
    indices: Indices


@dataclass(frozen=True, slots=True, eq=False)
class FollowersReleased:
    """Held jobs run on their own after all."""

    batch_id: str
    indices: Indices


@dataclass(frozen=True, slots=True)
class PriorityChanged:
    """The batch is served with another priority from now on; greater is sooner."""

    batch_id: str
    priority: int


@dataclass(frozen=True, slots=True)
class QueueChanged:
    """New limits of a queue; ``paused`` None leaves that as it is."""

    queue: str
    policy: QueuePolicy | None = None
    paused: bool | None = None


@dataclass(frozen=True, slots=True)
class StorageHealth:
    """``refusing`` names why outcomes cannot be made durable, or None when they can."""

    refusing: str | None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = (
    BatchSubmitted
    | BatchExtended
    | BatchSealed
    | ProducerSeen
    | BatchRecovered
    | WorkerHello
    | LeaseRequested
    | OutcomesReported
    | Committed
    | HandedBack
    | Heartbeat
    | BreakersSeen
    | PoolTroubled
    | WorkerLost
    | WorkerLeft
    | BatchPaused
    | BatchResumed
    | BatchStopped
    | JobsCancelled
    | Redriven
    | FollowersHeld
    | FollowersReleased
    | Purged
    | PriorityChanged
    | QueueChanged
    | StorageHealth
    | Tick
)
