"""What is counted of the work, and a sample of it: one row a queue. Columns of a chunk in, never single jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dfbatch.core.books import Books
from dfbatch.core.circuit_breaker import BreakerState
from dfbatch.core.error_class import ErrorClass
from dfbatch.core.histogram import LogHistogram
from dfbatch.core.instant import Instant
from dfbatch.core.resting import state_of
from dfbatch.core.snapshots import batch_state, job_counts
from dfbatch.core.states import FIRST_TERMINAL_CODE, BatchState, JobState, WorkerState

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
OPEN_JOB_STATES = tuple(state.value for state in JobState if not state.is_terminal)
ENDED_JOB_STATES = tuple(state.value for state in JobState if state.is_terminal)
OPEN_BATCH_STATES = tuple(state.value for state in BatchState if not state.is_terminal)
WORKER_STATES = tuple(state.value for state in WorkerState if state is not WorkerState.STOPPED)
NOT_A_CHANGE = frozenset({"at", "interval_s", "oldest_waiting_s"})
"""Columns that grow while nothing happens."""
_MOST_UNCOUNTED = 64
_FIELDS = ("submitted", "finished", "failed")


class Durations:
    """Seconds in chunks: those since the last sample, and all of this manager's life."""

    def __init__(self) -> None:
        self.window = LogHistogram()
        self.ever = LogHistogram()
        self._uncounted: list[npt.NDArray[np.float64]] = []

    def add(self, seconds: npt.NDArray[np.float64]) -> None:
        """Counted together with those that follow: a chunk of one job costs no more than a list's append."""
        self._uncounted.append(seconds)
        if len(self._uncounted) >= _MOST_UNCOUNTED or len(seconds) > 1_000:
            self._count()

    def take(self) -> LogHistogram:
        """Those since the last ``take``."""
        self._count()
        found, self.window = self.window, LogHistogram()
        self.ever.merge(found)
        return found

    def _count(self) -> None:
        if self._uncounted:
            self.window.add(np.concatenate(self._uncounted))
            self._uncounted.clear()


@dataclass(slots=True)
class QueueTally:
    """What happened in one queue. Counts only grow, but for ``last``, which is what they were at the last sample."""

    submitted: int = 0
    outcomes: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(JobState), np.int64))
    retried: int = 0
    returned: int = 0
    run: Durations = field(default_factory=Durations)
    wait: Durations = field(default_factory=Durations)
    last: tuple[int, ...] = (0, 0, 0)

    def totals(self) -> dict[str, int]:
        """Jobs by what became of them, since the manager began; ``retried`` and ``returned`` count tries."""
        ended = {state: int(self.outcomes[JobState(state).code]) for state in ENDED_JOB_STATES}
        return {"submitted": self.submitted, **ended, "retried": self.retried, "returned": self.returned}

    def progress(self) -> tuple[int, ...]:
        """Jobs submitted, finished in any way, and failed."""
        return self.submitted, int(self.outcomes.sum()), int(self.outcomes[JobState.FAILED.code])


class Tallies:
    """Counts by queue. ``commits``: seconds that group commits took."""

    def __init__(self) -> None:
        self.queues: dict[str, QueueTally] = {}
        self.commits = Durations()

    def of(self, queue: str) -> QueueTally:
        """The tally of a queue, made on first use."""
        found = self.queues.get(queue)
        if found is None:
            found = self.queues[queue] = QueueTally()
        return found

    def recovered(self, queue: str, submitted: int, outcomes: Mapping[str, int]) -> None:
        """What the ledger says of a batch when a manager starts. It makes no rate."""
        tally = self.of(queue)
        tally.submitted += submitted
        for state, n in outcomes.items():
            if state in ENDED_JOB_STATES:
                tally.outcomes[JobState(state).code] += n
        tally.last = tally.progress()

    def durable(self, queue: str, counts: npt.NDArray[np.int64]) -> None:
        """Outcomes became durable: jobs by state code. Codes that are not terminal are ignored."""
        self.of(queue).outcomes[FIRST_TERMINAL_CODE:] += counts[FIRST_TERMINAL_CODE:]

    def taken(
        self,
        queue: str,
        state: npt.NDArray[np.uint8],
        error_class: npt.NDArray[np.uint8],
        queued_at: float,
        started_at: npt.NDArray[np.float64],
        duration_s: npt.NDArray[np.float64],
    ) -> None:
        """Outcomes of a chunk were taken: JobState and ErrorClass codes, wall seconds, seconds; one entry a job.

        The run time is that of every try; the wait is from the submit to the outcome. Tries that an open breaker
        ended at once have neither.
        """
        tally = self.of(queue)
        if not error_class.any():  # the way of nearly all: every one succeeded
            tally.run.add(duration_s)
            tally.wait.add(started_at + (duration_s - queued_at))
            return
        tried = error_class != ErrorClass.BREAKER_OPEN
        if not tried.all():
            tally.returned += int(np.count_nonzero(~tried))
            state, started_at, duration_s = state[tried], started_at[tried], duration_s[tried]
        final = state >= FIRST_TERMINAL_CODE
        tally.run.add(duration_s)
        ended_at = started_at + duration_s
        if not final.all():
            tally.retried += int(np.count_nonzero(~final))
            ended_at = ended_at[final]
        tally.wait.add(ended_at - queued_at)


@dataclass(slots=True)
class Surroundings:
    """What a sample says that the books do not know. ``backlog_rows``: those that wait for the ledger."""

    backlog_rows: int = 0


def sample_rows(
    books: Books, tallies: Tallies, around: Surroundings, since_mono: float, now: Instant
) -> list[dict[str, Any]]:
    """One row for each queue, by name; ``since_mono`` is when the last sample was taken. Begins the next interval."""
    interval = max(now.mono - since_mono, 1e-3)
    shared = _shared(books, tallies, around)
    loads = _loads(books, now)
    rows = []
    for name in sorted({*books.queues, *tallies.queues}):
        rows.append(
            {
                "at": now.wall,
                "queue": name,
                "interval_s": round(interval, 3),
                **loads.get(name, _Load()).columns(now),
                **_moved(tallies.of(name), interval),
                **shared,
            }
        )
    return rows


def open_breakers(books: Books) -> list[str]:
    """Names of the circuit breakers that are open, once for each worker they are open on."""
    return [b.name for worker in books.workers.values() for b in worker.breakers if b.state is BreakerState.OPEN]


def without_time(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What must differ between two samples for something to have happened."""
    return [{name: value for name, value in row.items() if name not in NOT_A_CHANGE} for row in rows]


@dataclass(slots=True)
class _Load:
    jobs: Counter[str] = field(default_factory=Counter)
    batches: Counter[str] = field(default_factory=Counter)
    waiting_since: float | None = None

    def columns(self, now: Instant) -> dict[str, Any]:
        oldest = None if self.waiting_since is None else max(0.0, now.wall - self.waiting_since)
        found: dict[str, Any] = {state: self.jobs[state] for state in OPEN_JOB_STATES}
        found |= {f"batches_{state}": self.batches[state] for state in OPEN_BATCH_STATES}
        return {**found, "oldest_waiting_s": oldest}


def _loads(books: Books, now: Instant) -> dict[str, _Load]:
    loads: dict[str, _Load] = {}
    for batch in books.batches.values():
        if batch.finished_as is not None:
            continue
        load = loads.setdefault(batch.spec.queue, _Load())
        load.batches[batch_state(books, batch).value] += 1
        load.jobs.update(job_counts(books, batch, now))
        if batch.n_waiting:
            known = load.waiting_since
            load.waiting_since = batch.waiting_since if known is None else min(known, batch.waiting_since)
    return loads


def _moved(tally: QueueTally, interval_s: float) -> dict[str, Any]:
    """Totals, and what happened since the last sample."""
    found: dict[str, Any] = dict(tally.totals())
    progress = tally.progress()
    for name, total, before in zip(_FIELDS, progress, tally.last, strict=True):
        found[f"{name}_per_s"] = max(0, total - before) / interval_s
    tally.last = progress
    for kind, durations in (("run", tally.run), ("wait", tally.wait)):
        window = durations.take()
        found |= {f"{kind}_{name}_s": window.quantile(share) for name, share in SHARES.items()}
    return found


def _shared(books: Books, tallies: Tallies, around: Surroundings) -> dict[str, Any]:
    workers = Counter(state_of(worker).value for worker in books.workers.values())
    commits = tallies.commits.take()
    breakers = open_breakers(books)
    return {
        **{f"workers_{state}": workers[state] for state in WORKER_STATES},
        "breakers_open": len(breakers),
        "open_breakers": sorted(set(breakers)),
        "backlog_rows": around.backlog_rows,
        "duplicates_suppressed": books.duplicates_suppressed,
        "worker_deaths": books.worker_deaths,
        "commits": len(commits),
        "commit_p50_s": commits.quantile(0.5),
        "commit_p99_s": commits.quantile(0.99),
        "epoch": books.epoch,
    }
