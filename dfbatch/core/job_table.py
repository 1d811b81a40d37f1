"""The jobs of one batch as columns: 16 bytes a job, and one table of legal moves."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from dfbatch.core.ready import Indices
from dfbatch.core.states import FIRST_TERMINAL_CODE, JobState
from dfbatch.errors import IllegalTransition

S = JobState
LEGAL_MOVES: frozenset[tuple[JobState, JobState]] = frozenset(
    {
        (S.QUEUED, S.RUNNING),  # leased
        (S.QUEUED, S.CANCELLED),
        (S.QUEUED, S.EXPIRED),
        (S.QUEUED, S.SUCCEEDED),  # a late outcome of a lease that had expired
        (S.QUEUED, S.FAILED),  # the same
        (S.QUEUED, S.RETRYING),  # the same
        (S.RUNNING, S.QUEUED),  # handed back, expired, worker lost
        (S.RUNNING, S.RETRYING),
        (S.RUNNING, S.SUCCEEDED),
        (S.RUNNING, S.FAILED),
        (S.RUNNING, S.CANCELLED),
        (S.RUNNING, S.EXPIRED),
        (S.RETRYING, S.QUEUED),  # due
        (S.RETRYING, S.SUCCEEDED),
        (S.RETRYING, S.FAILED),
        (S.RETRYING, S.CANCELLED),
        (S.RETRYING, S.EXPIRED),
        (S.FAILED, S.QUEUED),  # redriven: the next generation
        (S.EXPIRED, S.QUEUED),
        (S.CANCELLED, S.QUEUED),
    }
)

_LEGAL = np.zeros((len(JobState), len(JobState)), np.bool_)
for _start, _finish in LEGAL_MOVES:
    _LEGAL[_start.code, _finish.code] = True

NO_LEASE = 0
TRIED_BEFORE = -1
"""In ``lease``: a try of this generation is on record, so a late report of one may be a repeat and is not charged."""

_COLUMNS: dict[str, type[np.generic]] = {
    "state": np.uint8,
    "attempts": np.int16,
    "deaths": np.int16,
    "returns": np.uint8,
    "generation": np.int16,
    "lease": np.int64,
}


class JobTable:
    """Columns over the jobs of one batch; row i is job i.

    ``state``: JobState codes. ``attempts``: charged tries of this generation.
    ``deaths``: workers that died while this job ran alone. ``returns``: times an
    open breaker sent it back. ``lease``: the live lease; or, negated, the one whose
    failed try was the last to be taken; or NO_LEASE. ``counts``: jobs by state code,
    kept with every move.
    """

    state: npt.NDArray[np.uint8]
    attempts: npt.NDArray[np.int16]
    deaths: npt.NDArray[np.int16]
    returns: npt.NDArray[np.uint8]
    generation: npt.NDArray[np.int16]
    lease: npt.NDArray[np.int64]

    def __init__(self, batch_id: str, n_jobs: int) -> None:
        self.batch_id = batch_id
        for name, dtype in _COLUMNS.items():
            setattr(self, name, np.zeros(n_jobs, dtype))
        self.counts = np.zeros(len(JobState), np.int64)
        self.counts[S.QUEUED.code] = n_jobs
        self.story: deque[str] = deque(maxlen=20)

    def __len__(self) -> int:
        return len(self.state)

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(int(getattr(self, name).nbytes) for name in _COLUMNS)

    def grow(self, n_more: int) -> None:
        """Room for ``n_more`` queued jobs at the end (a streamed batch)."""
        n = len(self) + n_more
        for name in _COLUMNS:
            column = getattr(self, name)
            whole = column if column.base is None else column.base
            if len(whole) < n:
                # Half as much again, so that a stream of many slices copies each job only a few times.
                whole = np.zeros(n + n // 2, column.dtype)
                whole[: len(column)] = column
            setattr(self, name, whole[:n])
        self.counts[S.QUEUED.code] += n_more

    def move(self, indices: Indices, to: JobState, cause: str) -> None:
        """Set the state of jobs. Raises IllegalTransition, with the story, if one may not go there."""
        if not len(indices):
            return
        starts = self._counts_of(indices)
        present = np.flatnonzero(starts)
        illegal = present[~_LEGAL[present, to.code]]
        self.story.append(f"{cause}: {len(indices)} to {to}")
        if len(illegal):
            raise IllegalTransition(
                f"A job of batch {self.batch_id}", JobState.of(int(illegal[0])), to, tuple(self.story)
            )
        self.counts[: len(starts)] -= starts
        self.counts[to.code] += len(indices)
        if len(indices) == len(self):
            self.state[:] = to.code
        else:
            self.state[indices] = to.code

    def _counts_of(self, indices: Indices) -> npt.NDArray[np.int64]:
        """Jobs among ``indices`` by state; ten million are counted in their own bytes, not as integers of eight."""
        if len(indices) == len(self):
            return self.counts.copy()
        states = self.state[indices]
        if len(states) < 10_000:
            return np.bincount(states, minlength=len(self.counts)).astype(np.int64)
        there = np.flatnonzero(self.counts)
        found = np.zeros(len(self.counts), np.int64)
        found[there] = [np.count_nonzero(states == code) for code in there]
        return found

    def count(self, *states: JobState) -> int:
        """How many jobs are in any of the states."""
        return int(sum(self.counts[s.code] for s in states))

    @property
    def n_terminal(self) -> int:
        """Jobs with an outcome."""
        return int(self.counts[FIRST_TERMINAL_CODE:].sum())

    @property
    def n_open(self) -> int:
        """Jobs without an outcome."""
        return len(self) - self.n_terminal

    def open_indices(self) -> Indices:
        """Jobs without an outcome in this generation."""
        return np.flatnonzero(self.state < FIRST_TERMINAL_CODE)

    def in_states(self, *states: JobState) -> Indices:
        """Sorted indices, int64, of the jobs in any of the states."""
        if self.count(*states) == len(self):
            return np.arange(len(self), dtype=np.int64)
        wanted = np.zeros(256, np.bool_)
        wanted[[s.code for s in states]] = True
        return np.flatnonzero(wanted[self.state])

    def is_terminal(self, indices: Indices) -> npt.NDArray[np.bool_]:
        """For each of the indices, whether that job has an outcome."""
        return np.asarray(self.state[indices] >= FIRST_TERMINAL_CODE)

    def recount(self) -> npt.NDArray[np.int64]:
        """Counts taken afresh, for the invariant check."""
        return np.bincount(self.state, minlength=len(self.counts)).astype(np.int64)
