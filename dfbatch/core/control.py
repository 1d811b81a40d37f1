"""What operators ask for: pause, resume, cancel, redrive, priorities, limits of queues."""

from __future__ import annotations

import numpy as np

from dfbatch.core.batch import Batch
from dfbatch.core.books import Books
from dfbatch.core.dead_letters import without_purged
from dfbatch.core.effects import BatchReopened, Effect, Note, WorkAvailable
from dfbatch.core.ending import BY_HANDLE, begin_stop, decide, recall, stop_open_jobs
from dfbatch.core.events import (
    BatchPaused,
    BatchResumed,
    BatchStopped,
    JobsCancelled,
    PriorityChanged,
    QueueChanged,
    Redriven,
    StorageHealth,
)
from dfbatch.core.instant import Instant
from dfbatch.core.ready import Indices
from dfbatch.core.recalls import recall_cancelled
from dfbatch.core.states import FIRST_TERMINAL_CODE, JobState
from dfbatch.core.submitting import check_length
from dfbatch.errors import InvalidInput


def on_paused(books: Books, event: BatchPaused, now: Instant) -> list[Effect]:
    """Nothing more is leased; chunks that run are handed back after the item they are at."""
    batch = books.batch(event.batch_id)
    if batch.finished_as is not None:
        raise InvalidInput("batch", f"{event.batch_id} has ended as {batch.finished_as} and cannot be paused")
    batch.paused = event.reason
    books.place(batch, now)
    return recall(books, lambda batch_id: batch_id == event.batch_id, "paused")


def on_resumed(books: Books, event: BatchResumed, now: Instant) -> list[Effect]:
    """The batch goes on as if it had just been asked for."""
    batch = books.batch(event.batch_id)
    batch.paused = None
    batch.resting_since = None
    batch.last_claim = now.mono
    books.place(batch, now)
    return [WorkAvailable()]


def on_stopped(books: Books, event: BatchStopped, now: Instant) -> list[Effect]:
    """Every job without an outcome gets that of the stop; leased ones when their workers answer."""
    return begin_stop(books, books.batch(event.batch_id), event.stop, now)


def on_jobs_cancelled(books: Books, event: JobsCancelled, now: Instant) -> list[Effect]:
    """Waiting jobs are cancelled at once, and leased ones that were not begun when their workers answer.

    One that runs keeps the outcome it still gets, but is not tried again.
    """
    batch = books.batch(event.batch_id)
    _check_indices(event.batch_id, event.indices, len(batch.jobs))
    indices = np.unique(event.indices)
    states = batch.jobs.state[indices]
    waiting = (states == JobState.QUEUED.code) | (states == JobState.RETRYING.code)
    leased = indices[states == JobState.RUNNING.code]
    batch.cancel_asked.update(leased.tolist())
    reason = event.reason or BY_HANDLE
    effects = decide(books, batch, indices[waiting], JobState.CANCELLED, "", reason)
    books.place(batch, now)
    return [*effects, *recall_cancelled(books, batch, leased)]


def without_outcome(books: Books, batch_id: str, indices: Indices) -> Indices:
    """Those of the jobs that a cancel would concern. Raises UnknownId or InvalidInput as ``JobsCancelled`` would."""
    jobs = books.batch(batch_id).jobs
    _check_indices(batch_id, indices, len(jobs))
    return np.asarray(indices[~jobs.is_terminal(indices)])


def redrivable(books: Books, batch_id: str) -> Indices:
    """Jobs of a batch that ended without success, whose outcomes are durable, and that were not purged. Sorted."""
    batch = books.batch(batch_id)
    ended = batch.jobs.in_states(JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED)
    return without_purged(batch, np.setdiff1d(ended, batch.unwritten(), assume_unique=True))


def check_redrive(books: Books, batch_id: str, indices: Indices) -> None:
    """Raises InvalidInput or QueueFull exactly where ``Redriven`` would be refused."""
    batch = books.batch(batch_id)
    _check_indices(batch_id, indices, len(batch.jobs))
    if batch.stopping is not None and batch.finished_as is None:
        raise InvalidInput("redrive", f"batch {batch_id} is being stopped", "Wait until it has ended")
    _check_redrivable(batch, indices)
    check_length(books, batch.spec.queue, len(indices))


def on_redriven(books: Books, event: Redriven, now: Instant) -> list[Effect]:
    """Begin the next generation of jobs that failed, expired or were cancelled.

    Raises InvalidInput if one of them has not, was purged, or if its outcome is still
    being written (``redrivable`` lists those that can be); QueueFull if the queue has no room for them.
    """
    batch = books.batch(event.batch_id)
    jobs = batch.jobs
    indices = np.unique(event.indices)
    if not len(indices):
        return []
    if event.noted:
        _check_redrivable(batch, indices)
    else:
        check_redrive(books, event.batch_id, indices)
    if not batch.n_waiting:
        batch.waiting_since = now.wall
    batch.durable -= np.bincount(jobs.state[indices], minlength=len(batch.durable))
    books.move(batch, indices, JobState.QUEUED, "redriven")
    jobs.generation[indices] += 1
    for column in (jobs.attempts, jobs.deaths, jobs.returns, jobs.lease):
        column[indices] = 0
    batch.clear_suspicion(indices)
    batch.forget_delays(indices)
    reopened = batch.finished_as is not None
    if reopened:
        books.finished.pop(batch.batch_id)
        books.n_finished_jobs -= len(jobs)
        batch.finished_as = batch.stopping = None
        # What was mended since deserves as many tries as the first time.
        batch.fingerprint, batch.n_same_fingerprint, batch.n_deaths_constructing = None, 0, 0
    batch.set_deadline(now.wall, now)
    batch.ready.append(indices)
    if batch.stopping is not None:
        return stop_open_jobs(books, batch, now)
    batch.last_claim = now.mono
    batch.resting_since = None
    books.place(batch, now)
    return [*([BatchReopened(batch.batch_id)] if reopened else []), WorkAvailable()]


def _check_redrivable(batch: Batch, indices: Indices) -> None:
    ended = np.bincount(batch.jobs.state[indices], minlength=len(batch.durable))
    if ended[:FIRST_TERMINAL_CODE].any() or ended[JobState.SUCCEEDED.code]:
        raise InvalidInput(
            "redrive", "some of these jobs have not failed", "Give only failed, expired or cancelled jobs"
        )
    if np.isin(indices, batch.unwritten()).any():
        raise InvalidInput("redrive", "outcomes of these jobs are still being written", "Try again in a moment")
    if len(batch.purged) and np.isin(indices, batch.purged).any():
        raise InvalidInput("redrive", "some of these jobs were purged", "Submit their items as a new batch")


def on_priority(books: Books, event: PriorityChanged, now: Instant) -> list[Effect]:
    """The batch changes its place in line; what is leased stays leased."""
    batch = books.batch(event.batch_id)
    batch.priority = event.priority
    books.place(batch, now)
    return [WorkAvailable()]


def on_queue_changed(books: Books, event: QueueChanged, now: Instant) -> list[Effect]:
    """New limits count at once; a pause calls back what is leased."""
    queue = books.queue(event.queue)
    if event.policy is not None:
        rate = (queue.policy.rate_per_s, queue.policy.burst)
        queue.policy = event.policy
        if rate != (event.policy.rate_per_s, event.policy.burst):
            queue.bucket = None
    effects: list[Effect] = [WorkAvailable()]
    if event.paused is not None and event.paused != queue.paused:
        queue.paused = event.paused
        if event.paused:
            effects = recall(books, lambda b: books.batches[b].spec.queue == event.queue, "queue paused")
    for batch in books.batches.values():
        if batch.spec.queue == event.queue:
            batch.last_claim = now.mono
            books.place(batch, now)
    return effects


def on_storage_health(books: Books, event: StorageHealth, now: Instant) -> list[Effect]:
    """While outcomes cannot be made durable nothing is leased."""
    if event.refusing == books.storage_refusing:
        return []
    books.storage_refusing = event.refusing
    kind = "storage_refusing" if event.refusing else "storage_recovered"
    note = Note(kind, detail={"reason": event.refusing} if event.refusing else {})
    return [note] if event.refusing else [note, WorkAvailable()]


def _check_indices(batch_id: str, indices: Indices, n_jobs: int) -> None:
    if len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= n_jobs):
        raise InvalidInput("jobs", f"batch {batch_id} has the jobs {batch_id}-0 to {batch_id}-{n_jobs - 1}")
