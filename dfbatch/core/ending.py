"""How batches end: when the last outcome is durable, or before their time."""

from __future__ import annotations

import numpy as np

from dfbatch.core.batch import Batch, BatchStop
from dfbatch.core.books import FINISHED_KEPT, Books
from dfbatch.core.effects import BatchEnded, Effect, OutcomesDecided, Recall
from dfbatch.core.instant import Instant
from dfbatch.core.ready import Indices
from dfbatch.core.states import BatchState, JobState

SLICE = 131_072
"""Rows written at once when ten million jobs are cancelled, so that other commits get their turn."""


def decide(
    books: Books, batch: Batch, indices: Indices, state: JobState, error_type: str, message: str
) -> list[Effect]:
    """Give jobs an outcome that no worker reported. The move is at once; the rows are written in slices."""
    if not len(indices):
        return []
    books.move(batch, indices, state, f"decided {error_type or state}")
    jobs = batch.jobs
    return [
        OutcomesDecided(
            batch.batch_id,
            part,
            jobs.generation[part],
            state,
            jobs.attempts[part],
            jobs.deaths[part],
            error_type,
            message,
        )
        for part in (indices[k : k + SLICE] for k in range(0, len(indices), SLICE))
    ]


def stop_open_jobs(books: Books, batch: Batch, now: Instant) -> list[Effect]:
    """Carry out ``batch.stopping``: waiting jobs get their outcome now, leased ones are called back."""
    stop = batch.stopping
    assert stop is not None
    jobs = batch.jobs
    waiting = jobs.in_states(JobState.QUEUED, JobState.RETRYING)
    effects = decide(books, batch, waiting, stop.job_state, stop.error_type, stop.reason)
    batch.ready.clear()
    batch.suspects.clear()
    batch.delayed.clear()
    books.place(batch, now)
    by_worker: dict[str, list[int]] = {}
    for lease in books.leases.values():
        if lease.batch_id == batch.batch_id:
            by_worker.setdefault(lease.worker, []).append(lease.lease_id)
    effects += [Recall(worker, tuple(ids), stop.reason) for worker, ids in by_worker.items()]
    return effects + end_if_done(books, batch, now)


def begin_stop(books: Books, batch: Batch, stop: BatchStop, now: Instant) -> list[Effect]:
    """Stop a batch unless it has ended or is being stopped."""
    if batch.finished_as is not None or batch.stopping is not None:
        return []
    batch.stopping = stop
    batch.stalled = None
    return stop_open_jobs(books, batch, now)


def requeue(
    books: Books, batch: Batch, indices: Indices, cause: str, now: Instant, *, front: bool = True
) -> list[Effect]:
    """Jobs of a lease that ended without an outcome are queued again, or stopped with their batch."""
    if not len(indices):
        return []
    batch.jobs.lease[indices] = 0
    if batch.stopping is not None:
        stop = batch.stopping
        effects = decide(books, batch, indices, stop.job_state, stop.error_type, stop.reason)
        return effects + end_if_done(books, batch, now)
    books.move(batch, indices, JobState.QUEUED, cause)
    if front:
        batch.ready.prepend(np.sort(indices))
    books.place(batch, now)
    return []


def final_state(batch: Batch) -> BatchState:
    """What a batch whose jobs all have outcomes is."""
    if batch.stopping is not None and batch.stopping.batch_state is not None:
        return batch.stopping.batch_state
    counts = batch.jobs
    if counts.count(JobState.SUCCEEDED) == len(counts):
        return BatchState.SUCCEEDED
    if len(counts) and counts.count(JobState.CANCELLED) == len(counts):
        return BatchState.CANCELLED
    if len(counts) and counts.count(JobState.EXPIRED) == len(counts):
        return BatchState.EXPIRED
    return BatchState.PARTIAL


def end_if_done(books: Books, batch: Batch, now: Instant) -> list[Effect]:
    """The batch ends when it is sealed and every job's outcome is durable."""
    if batch.finished_as is not None or not batch.sealed or int(batch.durable.sum()) < len(batch.jobs):
        return []
    batch.finished_as = final_state(batch)
    batch.finished_wall = now.wall
    batch.stalled = None
    books.finished[batch.batch_id] = None
    while len(books.finished) > FINISHED_KEPT:
        oldest, _ = books.finished.popitem(last=False)
        del books.batches[oldest]
    counts = {JobState.of(k).value: int(n) for k, n in enumerate(batch.jobs.counts) if n}
    return [BatchEnded(batch.batch_id, batch.finished_as, counts)]
