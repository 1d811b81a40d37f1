"""One batch as the manager sees it: its columns, its policy, and what it waits for."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dfbatch.core.chunking import ChunkSizer
from dfbatch.core.instant import Instant
from dfbatch.core.job_table import JobTable
from dfbatch.core.policy import BatchPolicy
from dfbatch.core.rate import RateMeter
from dfbatch.core.ready import Indices, ReadyWork
from dfbatch.core.states import FIRST_TERMINAL_CODE, BatchState, JobState

RETURN_DELAY_S = 2.0
"""Back-off unit for jobs that an open breaker sent back."""
LONGEST_RETURN_S = 60.0


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """What was asked for. ``shape`` names the workers that can run it; ``submitted_at`` is wall seconds."""

    batch_id: str
    n_jobs: int
    queue: str = "default"
    priority: int = 0
    policy: BatchPolicy = field(default_factory=BatchPolicy)
    shape: str = "default"
    name: str | None = None
    submit_id: str = ""
    key: str | None = None
    content: str = ""
    """A fingerprint of what was submitted, to tell a repeat of a key from a conflict."""
    submitted_at: float = 0.0
    sealed: bool = True
    verifier: str = ""
    """The fingerprint of the code that runs; workers report breakers by it."""


class Batch:
    """Mutable state of one batch; the rules in this package change it, nothing else does."""

    lost: str | None = None
    """Why the stream ended before its time, or None."""
    paused: str | None = None
    """Why the batch is paused, or None."""
    stopping: BatchStop | None = None
    stalled: str | None = None
    held: npt.NDArray[np.bool_] | None = None
    """By job, up to the last one that was ever held: True if it waits for an equal job. None if none ever did."""
    expires_at: float | None = None
    """Monotonic seconds of the deadline, or None."""
    finished_as: BatchState | None = None
    finished_wall = 0.0
    n_success_ever = 0
    n_deaths_constructing = 0
    """Workers that died while they constructed the verifier, since the last success."""
    fingerprint: int | None = None
    n_same_fingerprint = 0
    resting_since: float | None = None
    """Monotonic: since then nothing came back but jobs that an open breaker returned."""
    _delay_seq = 0

    def __init__(self, spec: BatchSpec, now: Instant) -> None:
        self.spec = spec
        self.priority = spec.priority
        self.jobs = JobTable(spec.batch_id, spec.n_jobs)
        self.ready = ReadyWork()
        self.ready.append_range(0, spec.n_jobs)
        self.delayed: list[tuple[float, int, Indices]] = []
        self.suspects: deque[Indices] = deque()
        self.of_node: Indices = np.empty(0, np.int64)
        """Jobs that were suspected of having used up the memory of a whole node, sorted."""
        self.sealed = spec.sealed
        self.seal_asked = spec.sealed
        self.fed_at = now.mono
        """Monotonic: when the producer of a streamed batch was last heard of."""
        self.durable = np.zeros(len(JobState), np.int64)
        """Jobs of the present generation with a durable outcome, by state code."""
        self._unwritten: dict[int, deque[Indices]] = {}
        self.purged: Indices = np.empty(0, np.int64)
        """Failed and expired jobs that are dead letters no more, sorted. They are never redriven."""
        self.waiting_since = spec.submitted_at
        """Wall seconds since when its waiting jobs wait, at the longest."""
        self.sizer = ChunkSizer()
        self.rate = RateMeter()
        self.last_claim = now.mono
        self.starts_at = now.mono + min(
            max(0.0, spec.submitted_at + spec.policy.delay_s - now.wall), spec.policy.delay_s
        )
        """Monotonic seconds before which nothing is leased."""
        self.set_deadline(spec.submitted_at, now)
        self.fail_fast_armed = spec.policy.fail_fast
        self.cancel_asked: set[int] = set()
        """Jobs cancelled while leased: their outcome is taken, but they are not tried again."""

    @property
    def batch_id(self) -> str:
        return self.spec.batch_id

    @property
    def n_running(self) -> int:
        """Jobs that are leased now."""
        return self.jobs.count(JobState.RUNNING)

    @property
    def n_waiting(self) -> int:
        """Jobs that are queued; those that wait for a retry are not among them."""
        return self.jobs.count(JobState.QUEUED)

    def has_ready_work(self) -> bool:
        """True if a lease could be cut from it as far as the batch itself is concerned."""
        return (
            self.n_waiting > 0
            and self.paused is None
            and self.stopping is None
            and (bool(self.ready) or bool(self.suspects))
        )

    def set_deadline(self, from_wall: float, now: Instant) -> None:
        """Count ``deadline_s`` from a wall time, but never longer than ``deadline_s`` from now.

        Durations run on the monotonic clock: a wall clock that is put right, or a
        laptop that slept, ends no batch before its time.
        """
        limit = self.spec.policy.deadline_s
        self.expires_at = None if limit is None else now.mono + min(from_wall + limit - now.wall, limit)

    def delay(self, indices: Indices, due_mono: npt.NDArray[np.float64]) -> None:
        """Remember when retrying jobs are due. Due times within 50 ms are one entry."""
        order = np.argsort(due_mono, kind="stable")
        slots = np.ceil(due_mono[order] / 0.05).astype(np.int64)
        cuts = np.flatnonzero(np.diff(slots)) + 1
        for piece, slot in zip(np.split(indices[order], cuts), slots[np.r_[0, cuts]], strict=True):
            self._delay_seq += 1
            heapq.heappush(self.delayed, (float(slot) * 0.05, self._delay_seq, np.sort(piece)))

    def due(self, now_mono: float) -> Indices:
        """Retrying jobs whose time has come; they leave the heap."""
        pieces = []
        while self.delayed and self.delayed[0][0] <= now_mono:
            pieces.append(heapq.heappop(self.delayed)[2])
        if not pieces:
            return np.empty(0, np.int64)
        indices: Indices = np.unique(np.concatenate(pieces))
        return np.asarray(indices[self.jobs.state[indices] == JobState.RETRYING.code])

    def await_rows(self, indices: Indices, state: JobState) -> None:
        """These jobs ended without success; their rows are on the way to the ledger."""
        self._unwritten.setdefault(state.code, deque()).append(indices)

    def rows_written(self, counts: npt.NDArray[np.int64]) -> None:
        """So many rows of each state became durable. Rows of one state become so in the order they were made."""
        self.durable[FIRST_TERMINAL_CODE:] += counts[FIRST_TERMINAL_CODE:]
        for code, waiting in self._unwritten.items():
            n = int(counts[code])
            while n > 0 and waiting:
                head = waiting.popleft()
                if len(head) > n:
                    waiting.appendleft(head[n:])
                n -= len(head)

    def unwritten(self) -> Indices:
        """Jobs that ended without success and whose rows are not durable yet."""
        pieces = [piece for waiting in self._unwritten.values() for piece in waiting]
        return np.concatenate(pieces) if pieces else np.empty(0, np.int64)

    def quarantined(self) -> Indices:
        """Jobs that are suspected of having killed a worker, in no order."""
        return np.concatenate(self.suspects) if self.suspects else np.empty(0, np.int64)

    def clear_suspicion(self, indices: Indices) -> None:
        """These jobs answered, or begin anew: they are ordinary again."""
        if not self.suspects:
            return
        kept = (group[~np.isin(group, indices)] for group in self.suspects)
        self.suspects = deque(group for group in kept if len(group))

    def forget_delays(self, indices: Indices) -> None:
        """These jobs begin anew: what is left of their old waits must not cut short a new one."""
        kept = ((due, seq, piece[~np.isin(piece, indices)]) for due, seq, piece in self.delayed)
        self.delayed = [entry for entry in kept if len(entry[2])]
        heapq.heapify(self.delayed)


@dataclass(slots=True)
class BatchStop:
    """Why the rest of a batch gets an outcome without running.

    ``job_state``: what its open jobs become. ``batch_state``: what the batch
    becomes once the last row is durable; None lets the counts decide.
    """

    job_state: JobState
    batch_state: BatchState | None
    reason: str
    error_type: str = ""
