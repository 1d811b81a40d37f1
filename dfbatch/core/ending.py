"""How batches end: when the last outcome is durable, or before their time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dfbatch.core.batch import Batch, BatchStop
from dfbatch.core.books import FINISHED_JOBS_KEPT, FINISHED_KEPT, SUBMIT_IDS_KEPT, Books, ShelvedBatch
from dfbatch.core.effects import BatchEnded, Effect, Note, OutcomesDecided, Recall, SealDue
from dfbatch.core.instant import Instant
from dfbatch.core.job_table import NO_LEASE, TRIED_BEFORE
from dfbatch.core.ready import Indices
from dfbatch.core.states import BatchState, JobState

SLICE = 131_072
"""Rows written at once when ten million jobs are cancelled, so that other commits get their turn."""

BY_HANDLE = "Cancelled by its handle."

UNUSABLE = "The verifier could not be loaded or constructed; the rest was not run."


def decide(
    books: Books, batch: Batch, indices: Indices, state: JobState, error_type: str, message: str, stack: str = ""
) -> list[Effect]:
    """Give jobs an outcome that no worker reported. The move is at once; the rows are written in slices."""
    if not len(indices):
        return []
    books.move(batch, indices, state, f"decided {error_type or state}")
    batch.await_rows(indices, state)
    parts = [indices[k : k + SLICE] for k in range(0, len(indices), SLICE)]
    return [_decided(batch, part, state, error_type, message, stack) for part in parts]


def _decided(
    batch: Batch, part: Indices, state: JobState, error_type: str, message: str, stack: str
) -> OutcomesDecided:
    jobs = batch.jobs
    # Sorted neighbours are a slice, which copies nothing: ended jobs do not change before their rows are durable.
    neighbours = int(part[-1]) - int(part[0]) + 1 == len(part) and bool((np.diff(part) == 1).all())
    rows: slice | Indices = slice(int(part[0]), int(part[-1]) + 1) if neighbours else part
    return OutcomesDecided(
        batch.batch_id,
        part,
        jobs.generation[rows],
        state,
        jobs.attempts[rows],
        jobs.deaths[rows],
        error_type,
        message,
        stack,
    )


def stop_open_jobs(books: Books, batch: Batch, now: Instant) -> list[Effect]:
    """Carry out ``batch.stopping``: waiting jobs get their outcome now, leased ones are called back."""
    stop = batch.stopping
    assert stop is not None
    waiting = batch.jobs.in_states(JobState.QUEUED, JobState.RETRYING)
    effects = decide(books, batch, waiting, stop.job_state, stop.error_type, stop.reason)
    batch.ready.clear()
    batch.suspects.clear()
    batch.delayed.clear()
    books.place(batch, now)
    effects += recall(books, lambda batch_id: batch_id == batch.batch_id, stop.reason)
    return effects + end_if_done(books, batch, now)


def begin_stop(books: Books, batch: Batch, stop: BatchStop, now: Instant) -> list[Effect]:
    """Stop a batch unless it has ended or is being stopped."""
    if batch.finished_as is not None or batch.stopping is not None:
        return []
    batch.stopping = stop
    batch.stalled = None
    return [*ask_for_seal(batch), *stop_open_jobs(books, batch, now)]


def ask_for_seal(batch: Batch, reason: str | None = None) -> list[Effect]:
    """Have a streamed batch sealed, once: it could not end otherwise."""
    if batch.seal_asked:
        return []
    batch.seal_asked = True
    return [SealDue(batch.batch_id, reason)]


def stop_by_rule(books: Books, batch: Batch, stop: BatchStop, now: Instant) -> list[Effect]:
    """As ``begin_stop``, for a stop that nobody asked for: a note lets the next manager know of it."""
    if batch.finished_as is not None or batch.stopping is not None:
        return []
    detail = {
        "job_state": stop.job_state.value,
        "batch_state": stop.batch_state.value if stop.batch_state else None,
        "reason": stop.reason,
        "error_type": stop.error_type,
    }
    return [Note("stopped", batch_id=batch.batch_id, detail=detail), *begin_stop(books, batch, stop, now)]


def stop_if_too_many_failed(books: Books, batch: Batch, now: Instant) -> list[Effect]:
    """Apply ``max_failure_ratio``, once the number of jobs is known."""
    limit = batch.spec.policy.max_failure_ratio
    if limit is None or not batch.sealed or batch.jobs.count(JobState.FAILED) <= limit * len(batch.jobs):
        return []
    reason = f"More than {limit:.1%} of the jobs failed (max_failure_ratio); the rest was not run."
    return stop_by_rule(books, batch, BatchStop(JobState.CANCELLED, BatchState.FAILED, reason, "BatchStopped"), now)


def recall(books: Books, concerns: Callable[[str], bool], reason: str) -> list[Effect]:
    """Ask the workers to hand back the leases of the batches it concerns."""
    by_worker: dict[str, list[int]] = {}
    for lease in books.leases.values():
        if concerns(lease.batch_id):
            by_worker.setdefault(lease.worker, []).append(lease.lease_id)
    return [Recall(worker, tuple(ids), reason) for worker, ids in by_worker.items()]


def requeue(
    books: Books, batch: Batch, indices: Indices, cause: str, now: Instant, *, front: bool = True
) -> list[Effect]:
    """Jobs of a lease that ended without an outcome are queued again, or stopped with their batch.

    With ``front`` False the caller says where they wait.
    """
    if not len(indices):
        return []
    jobs = batch.jobs
    tried = (jobs.attempts[indices] > 0) | (jobs.returns[indices] > 0)
    jobs.lease[indices] = np.where(tried, TRIED_BEFORE, NO_LEASE)
    stop = batch.stopping
    if stop is not None:
        effects = decide(books, batch, np.sort(indices), stop.job_state, stop.error_type, stop.reason)
        return effects + end_if_done(books, batch, now)
    effects = []
    if batch.cancel_asked:
        asked = np.isin(indices, list(batch.cancel_asked))
        batch.cancel_asked.difference_update(indices[asked].tolist())
        effects = decide(books, batch, np.sort(indices[asked]), JobState.CANCELLED, "", "Cancelled by its handle.")
        indices = indices[~asked]
    books.move(batch, indices, JobState.QUEUED, cause)
    if front:
        batch.ready.prepend(np.sort(indices))
    books.place(batch, now)
    return effects


def final_state(batch: Batch) -> BatchState:
    """What a batch whose jobs all have outcomes is."""
    jobs, n, stop = batch.jobs, len(batch.jobs), batch.stopping
    if stop is not None and stop.batch_state is not None:
        # A cancel that came when every job was about to end has cancelled nothing.
        too_late = stop.batch_state is BatchState.CANCELLED and n > 0 and jobs.count(JobState.CANCELLED) == 0
        if not too_late:
            return stop.batch_state
    if jobs.count(JobState.SUCCEEDED) == n:
        # Not all that was meant to come came.
        return BatchState.SUCCEEDED if batch.lost is None else BatchState.PARTIAL
    if jobs.count(JobState.CANCELLED) == n:
        return BatchState.CANCELLED
    if jobs.count(JobState.EXPIRED) == n:
        return BatchState.EXPIRED
    return BatchState.PARTIAL


def end_if_done(books: Books, batch: Batch, now: Instant) -> list[Effect]:
    """The batch ends when it is sealed and every job's outcome is durable."""
    if batch.finished_as is not None or not batch.sealed or int(batch.durable.sum()) < len(batch.jobs):
        return []
    batch.finished_as = final_state(batch)
    batch.finished_wall = now.wall
    batch.stalled = batch.paused = None
    books.finished[batch.batch_id] = None
    books.n_finished_jobs += len(batch.jobs)
    _forget_oldest(books)
    counts = {JobState.of(k).value: int(n) for k, n in enumerate(batch.jobs.counts) if n}
    return [BatchEnded(batch.batch_id, batch.finished_as, counts, ended_because(batch))]


def ended_because(batch: Batch) -> str | None:
    """Why a batch ends otherwise than its jobs alone would say, or None."""
    return batch.stopping.reason if batch.stopping is not None else batch.lost


def _forget_oldest(books: Books) -> None:
    """Keep memory bounded: by batches and by their jobs. The newest stays."""
    while len(books.finished) > 1 and (
        len(books.finished) > FINISHED_KEPT or books.n_finished_jobs > FINISHED_JOBS_KEPT
    ):
        oldest, _ = books.finished.popitem(last=False)
        batch = books.batches.pop(oldest)
        books.n_finished_jobs -= len(batch.jobs)
        books.past_ids[oldest] = None
        n_dead = batch.jobs.count(JobState.FAILED, JobState.EXPIRED) - len(batch.purged)
        if n_dead:
            books.shelved[oldest] = ShelvedBatch(batch.spec.queue, n_dead)
    while len(books.past_ids) > SUBMIT_IDS_KEPT:
        books.past_ids.popitem(last=False)
