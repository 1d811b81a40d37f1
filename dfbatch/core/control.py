"""What operators ask for: pause, resume, cancel, redrive, priorities, limits of queues."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dfbatch.core.books import Books
from dfbatch.core.effects import BatchReopened, Effect, Note, Recall, WorkAvailable
from dfbatch.core.ending import begin_stop, decide, end_if_done
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
from dfbatch.core.states import FIRST_TERMINAL_CODE, JobState
from dfbatch.errors import InvalidInput


def on_paused(books: Books, event: BatchPaused, now: Instant) -> list[Effect]:
    """Nothing more is leased; chunks that run are handed back after the item they are at."""
    batch = books.batch(event.batch_id)
    if batch.finished_as is not None:
        raise InvalidInput("batch", f"{event.batch_id} has ended as {batch.finished_as} and cannot be paused")
    batch.paused = event.reason
    books.place(batch, now)
    return _recall(books, lambda batch_id: batch_id == event.batch_id, "paused")


def on_resumed(books: Books, event: BatchResumed, now: Instant) -> list[Effect]:
    batch = books.batch(event.batch_id)
    batch.paused = None
    batch.last_claim = now.mono
    books.place(batch, now)
    return [WorkAvailable()]


def on_stopped(books: Books, event: BatchStopped, now: Instant) -> list[Effect]:
    return begin_stop(books, books.batch(event.batch_id), event.stop, now)


def on_jobs_cancelled(books: Books, event: JobsCancelled, now: Instant) -> list[Effect]:
    """Waiting jobs are cancelled at once; one that runs keeps its outcome, which wins."""
    batch = books.batch(event.batch_id)
    _check_indices(event.batch_id, event.indices, len(batch.jobs))
    states = batch.jobs.state[event.indices]
    waiting = (states == JobState.QUEUED.code) | (states == JobState.RETRYING.code)
    reason = event.reason or "Cancelled by its handle."
    effects = decide(books, batch, np.unique(event.indices[waiting]), JobState.CANCELLED, "", reason)
    books.place(batch, now)
    return [*effects, *end_if_done(books, batch, now)]


def redrivable(books: Books, batch_id: str) -> Indices:
    """Jobs of a batch that ended without success."""
    return books.batch(batch_id).jobs.in_states(JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED)


def on_redriven(books: Books, event: Redriven, now: Instant) -> list[Effect]:
    """Begin the next generation of jobs that failed, expired or were cancelled; their outcomes are durable."""
    batch = books.batch(event.batch_id)
    jobs = batch.jobs
    _check_indices(event.batch_id, event.indices, len(jobs))
    indices = np.unique(event.indices)
    ended = jobs.state[indices]
    if ((ended < FIRST_TERMINAL_CODE) | (ended == JobState.SUCCEEDED.code)).any():
        raise InvalidInput("redrive", "some of these jobs have not failed", "Give only failed, expired or cancelled jobs")
    batch.durable -= np.bincount(ended, minlength=len(batch.durable))
    books.move(batch, indices, JobState.QUEUED, "redriven")
    jobs.generation[indices] += 1
    jobs.attempts[indices] = 0
    jobs.deaths[indices] = 0
    jobs.returns[indices] = 0
    reopened = batch.finished_as is not None
    batch.finished_as = None
    batch.stopping = None
    books.finished.pop(batch.batch_id, None)
    batch.ready.append(indices)
    batch.last_claim = now.mono
    books.place(batch, now)
    return [*([BatchReopened(batch.batch_id)] if reopened else []), WorkAvailable()]


def on_priority(books: Books, event: PriorityChanged, now: Instant) -> list[Effect]:
    batch = books.batch(event.batch_id)
    batch.priority = event.priority
    books.place(batch, now)
    return [WorkAvailable()]


def on_queue_changed(books: Books, event: QueueChanged, now: Instant) -> list[Effect]:
    queue = books.queue(event.queue)
    if event.policy is not None:
        queue.policy = event.policy
        queue.bucket = None
    effects: list[Effect] = [WorkAvailable()]
    if event.paused is not None and event.paused != queue.paused:
        queue.paused = event.paused
        if event.paused:
            effects = _recall(books, lambda b: books.batches[b].spec.queue == event.queue, "queue paused")
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


def _recall(books: Books, concerns: Callable[[str], bool], reason: str) -> list[Effect]:
    by_worker: dict[str, list[int]] = {}
    for lease in books.leases.values():
        if concerns(lease.batch_id):
            by_worker.setdefault(lease.worker, []).append(lease.lease_id)
    return [Recall(worker, tuple(ids), reason) for worker, ids in by_worker.items()]


def _check_indices(batch_id: str, indices: Indices, n_jobs: int) -> None:
    if len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= n_jobs):
        raise InvalidInput("jobs", f"batch {batch_id} has the jobs {batch_id}-0 to {batch_id}-{n_jobs - 1}")
