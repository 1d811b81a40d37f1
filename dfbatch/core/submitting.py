"""How batches come in: admitted, submitted, streamed, sealed, recovered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfbatch.core.batch import Batch, BatchSpec
from dfbatch.core.books import Books
from dfbatch.core.effects import Effect, Note, WorkAvailable
from dfbatch.core.ending import end_if_done, stop_open_jobs
from dfbatch.core.events import BatchExtended, BatchRecovered, BatchSealed, BatchSubmitted
from dfbatch.core.instant import Instant
from dfbatch.core.states import JobState
from dfbatch.errors import KeyConflict, QueueFull


@dataclass(frozen=True, slots=True)
class Admission:
    """Answer at the door: ``existing`` is the batch of an earlier, equal submit, or None: go on."""

    existing: str | None = None


def admit(books: Books, spec: BatchSpec, content_of: dict[str, str]) -> Admission:
    """Decide about a submit before anything is written, and reserve its place.

    ``content_of`` maps batch ids to the fingerprint of what was submitted.
    Raises QueueFull, or KeyConflict if the key belongs to other work.
    """
    existing = books.submit_ids.get(spec.submit_id) if spec.submit_id else None
    if existing is None and spec.key is not None:
        existing = books.keys.get(spec.key)
        if existing is not None and content_of.get(existing, spec.content) != spec.content:
            raise KeyConflict(
                f"The key {spec.key!r} belongs to batch {existing}, which was submitted with other work. "
                f"Use another key, or dfbatch.attach({existing!r}) to reach that batch."
            )
    if existing is not None:
        return Admission(existing)
    queue = books.queue(spec.queue)
    limit = queue.policy.max_length
    waiting = queue.n_open + queue.n_reserved
    if limit is not None and waiting + spec.n_jobs > limit:
        raise QueueFull(spec.queue, waiting, limit, spec.n_jobs)
    queue.n_reserved += spec.n_jobs
    if spec.submit_id:
        books.submit_ids[spec.submit_id] = spec.batch_id
    if spec.key is not None:
        books.keys[spec.key] = spec.batch_id
    return Admission()


def withdraw(books: Books, spec: BatchSpec) -> None:
    """The submit could not be made durable: give its place back."""
    books.queue(spec.queue).n_reserved -= spec.n_jobs
    if books.submit_ids.get(spec.submit_id) == spec.batch_id:
        del books.submit_ids[spec.submit_id]
    if spec.key is not None and books.keys.get(spec.key) == spec.batch_id:
        del books.keys[spec.key]


def on_submitted(books: Books, event: BatchSubmitted, now: Instant) -> list[Effect]:
    spec = event.spec
    queue = books.queue(spec.queue)
    queue.n_reserved = max(0, queue.n_reserved - spec.n_jobs)
    queue.n_open += spec.n_jobs
    batch = Batch(spec, now.mono)
    batch.rate.start(now.mono)
    books.batches[spec.batch_id] = batch
    if spec.submit_id:
        books.submit_ids[spec.submit_id] = spec.batch_id
    if spec.key is not None:
        books.keys[spec.key] = spec.batch_id
    books.place(batch, now)
    return [WorkAvailable(), *end_if_done(books, batch, now)]


def on_extended(books: Books, event: BatchExtended, now: Instant) -> list[Effect]:
    batch = books.batch(event.batch_id)
    start = len(batch.jobs)
    batch.jobs.grow(event.n_more)
    queue = books.queue(batch.spec.queue)
    queue.n_open += event.n_more
    queue.n_reserved = max(0, queue.n_reserved - event.n_more)
    batch.ready.append_range(start, start + event.n_more)
    if batch.stopping is not None:
        return stop_open_jobs(books, batch, now)
    books.place(batch, now)
    return [WorkAvailable()]


def on_sealed(books: Books, event: BatchSealed, now: Instant) -> list[Effect]:
    batch = books.batch(event.batch_id)
    if batch.sealed:
        return []
    batch.sealed = True
    effects: list[Effect] = []
    if event.reason:
        effects.append(Note("producer_lost", batch_id=batch.batch_id, detail={"reason": event.reason}))
    return [*effects, *end_if_done(books, batch, now)]


def on_recovered(books: Books, event: BatchRecovered, now: Instant) -> list[Effect]:
    """Rebuild the columns of an open batch. What was leased when the manager died is queued again."""
    spec = event.spec
    batch = Batch(spec, now.mono)
    batch.rate.start(now.mono)
    jobs = batch.jobs
    jobs.generation[event.redriven_index] = event.redriven_generation
    jobs.state[event.result_index] = event.result_status
    _recover_tries(batch, event, now)
    jobs.counts = jobs.recount()
    batch.durable = jobs.counts.copy()
    batch.durable[: JobState.SUCCEEDED.code] = 0
    batch.n_success_ever = jobs.count(JobState.SUCCEEDED)
    batch.ready.clear()
    if len(event.result_index) or len(event.tried_index):
        waiting = jobs.in_states(JobState.QUEUED)
        suspects = np.concatenate([*batch.suspects, np.empty(0, np.int64)]) if batch.suspects else None
        batch.ready.append(waiting if suspects is None else np.setdiff1d(waiting, suspects))
    else:
        batch.ready.append_range(0, len(jobs))
    batch.paused = event.paused
    batch.priority = spec.priority if event.priority is None else event.priority
    books.queue(spec.queue).n_open += jobs.n_open
    books.batches[spec.batch_id] = batch
    books.submit_ids.setdefault(spec.submit_id, spec.batch_id)
    if spec.key is not None:
        books.keys[spec.key] = spec.batch_id
    if event.stop is not None:
        batch.stopping = event.stop
        return stop_open_jobs(books, batch, now)
    books.place(batch, now)
    return [WorkAvailable(), *end_if_done(books, batch, now)]


def _recover_tries(batch: Batch, event: BatchRecovered, now: Instant) -> None:
    """Attempts, deaths, suspects and retry times of jobs that have no outcome yet."""
    jobs = batch.jobs
    is_open = ~jobs.is_terminal(event.tried_index)
    tried = event.tried_index[is_open]
    jobs.attempts[tried] = event.tried_attempts[is_open]
    jobs.deaths[tried] = event.tried_deaths[is_open]
    due = event.retry_at[is_open]
    waits = due > now.wall
    if waits.any():
        jobs.state[tried[waits]] = JobState.RETRYING.code
        batch.delay(tried[waits], due[waits])
    for index in tried[event.tried_suspect[is_open]]:
        batch.suspects.append(np.array([index], np.int64))
