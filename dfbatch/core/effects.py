"""What the rules ask the shell to do. Values; the shell performs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dfbatch.core.lease import Lease
from dfbatch.core.ready import Indices
from dfbatch.core.states import BatchState, JobState


@dataclass(frozen=True, slots=True, eq=False)
class Granted:
    """Send this chunk to the worker that asked. ``generation`` is aligned with ``lease.indices``."""

    lease: Lease
    generation: npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class OutcomesTaken:
    """Make these outcomes durable: terminal ones as results, failed tries as attempts.

    ``positions`` index the arrays and the payload of the event; every other array
    is aligned with ``positions``. ``state`` is the JobState code after the try
    (RETRYING for one that comes again at ``retry_at`` wall seconds, QUEUED for one
    sent back uncharged); ``retry_at`` is NaN for the others.
    """

    batch_id: str
    worker: str
    positions: Indices
    indices: Indices
    generation: npt.NDArray[np.int16]
    state: npt.NDArray[np.uint8]
    error_class: npt.NDArray[np.uint8]
    attempts: npt.NDArray[np.int16]
    deaths: npt.NDArray[np.int16]
    retry_at: npt.NDArray[np.float64]
    n_suppressed: int
    payload: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class OutcomesDecided:
    """Make an outcome durable that no worker reported: cancelled, expired, killed its workers."""

    batch_id: str
    indices: Indices
    generation: npt.NDArray[np.int16]
    state: JobState
    attempts: npt.NDArray[np.int16]
    deaths: npt.NDArray[np.int16]
    error_type: str
    error_message: str
    stack: str = ""
    """Where the process was that the job ended, or nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class SuspectsNoted:
    """Remember in the ledger that these jobs may have killed a worker."""

    batch_id: str
    indices: Indices
    generation: npt.NDArray[np.int16]
    attempts: npt.NDArray[np.int16]
    deaths: npt.NDArray[np.int16]
    worker: str
    cause: str
    error_type: str = "WorkerCrash"


@dataclass(frozen=True, slots=True)
class BatchEnded:
    """Every outcome is durable."""

    batch_id: str
    state: BatchState
    counts: Mapping[str, int]
    reason: str | None = None
    """Why it ended otherwise than its jobs alone would say, or None."""


@dataclass(frozen=True, slots=True)
class SealDue:
    """Make it durable that no more jobs will come, then tell so by ``BatchSealed``."""

    batch_id: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class BatchReopened:
    """An ended batch has open jobs again."""

    batch_id: str


@dataclass(frozen=True, slots=True)
class WorkAvailable:
    """Workers that are parked should ask again."""


@dataclass(frozen=True, slots=True)
class Recall:
    """Tell the worker to let these leases go at the next item."""

    worker: str
    lease_ids: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class LeaseVerdicts:
    """Answer to a hello: the leases the worker may go on with; it drops all others."""

    worker: str
    kept: frozenset[int]


@dataclass(frozen=True, slots=True)
class Note:
    """A row for the ``events`` table; ``detail`` is JSON-like."""

    kind: str
    batch_id: str | None = None
    queue: str | None = None
    worker: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


Effect = (
    Granted
    | OutcomesTaken
    | OutcomesDecided
    | SuspectsNoted
    | BatchEnded
    | SealDue
    | BatchReopened
    | WorkAvailable
    | Recall
    | LeaseVerdicts
    | Note
)
