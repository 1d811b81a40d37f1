"""How batches come in: admitted, submitted, streamed, sealed, recovered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfbatch.core.batch import LONGEST_RETURN_S, Batch, BatchSpec
from dfbatch.core.books import Books
from dfbatch.core.effects import Effect, Note, WorkAvailable
from dfbatch.core.ending import (
    BY_HANDLE,
    ask_for_seal,
    decide,
    end_if_done,
    stop_if_too_many_failed,
    stop_open_jobs,
)
from dfbatch.core.events import BatchExtended, BatchRecovered, BatchSealed, BatchSubmitted, ProducerSeen
from dfbatch.core.instant import Instant
from dfbatch.core.job_table import TRIED_BEFORE
from dfbatch.core.states import FIRST_TERMINAL_CODE, JobState
from dfbatch.core.yielding import make_room
from dfbatch.errors import InvalidInput, KeyConflict, QueueFull

_MOST_GROUPS = 64
"""Suspects that a dead manager knew of run one by one, unless they are so many."""


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
    if books.is_taken(spec.batch_id):
        raise InvalidInput("batch_id", f"{spec.batch_id} belongs to another batch", "Draw another one")
    check_length(books, spec.queue, spec.n_jobs)
    books.reserve(spec.queue, spec.batch_id, spec.n_jobs)
    books.remember(spec.batch_id, spec.submit_id, spec.key)
    return Admission()


def admit_more(books: Books, batch_id: str, n_more: int) -> None:
    """Reserve room for ``n_more`` jobs of a stream before they are written. Raises QueueFull: come again later."""
    batch = books.batch(batch_id)
    _check_extension(batch, n_more)
    check_length(books, batch.spec.queue, n_more)
    books.reserve(batch.spec.queue, batch_id, n_more)


def withdraw(books: Books, spec: BatchSpec) -> None:
    """The submit could not be made durable: give its place back."""
    books.reserve(spec.queue, spec.batch_id, -spec.n_jobs)
    if books.submit_ids.get(spec.submit_id) == spec.batch_id:
        del books.submit_ids[spec.submit_id]
    if spec.key is not None and books.keys.get(spec.key) == spec.batch_id:
        del books.keys[spec.key]


def withdraw_more(books: Books, batch_id: str, n_more: int) -> None:
    """The slice of a stream could not be made durable: give its place back."""
    books.reserve(books.batch(batch_id).spec.queue, batch_id, -n_more)


def check_length(books: Books, name: str, n_more: int) -> None:
    """Raises QueueFull if the queue has no room for ``n_more`` jobs."""
    queue = books.queue(name)
    limit = queue.policy.max_length
    waiting = queue.n_open + queue.n_reserved
    if limit is not None and n_more > 0 and waiting + n_more > limit:
        raise QueueFull(name, waiting, limit, n_more)


def _check_extension(batch: Batch, n_more: int) -> None:
    if batch.sealed:
        raise InvalidInput("batch", f"{batch.batch_id} is sealed and takes no more jobs", "Submit another batch")
    if n_more < 0:
        raise InvalidInput("n_more", f"{n_more} is no number of jobs")


def on_submitted(books: Books, event: BatchSubmitted, now: Instant) -> list[Effect]:
    """The batch stands in line; one without jobs ends at once."""
    spec = event.spec
    if spec.batch_id in books.batches:  # said twice
        return []
    books.reserve(spec.queue, spec.batch_id, -spec.n_jobs)
    books.queue(spec.queue).n_open += spec.n_jobs
    batch = Batch(spec, now)
    batch.rate.start(now.mono)
    books.batches[spec.batch_id] = batch
    books.remember(spec.batch_id, spec.submit_id, spec.key)
    books.place(batch, now)
    return [WorkAvailable(), *make_room(books, now), *end_if_done(books, batch, now)]


def on_extended(books: Books, event: BatchExtended, now: Instant) -> list[Effect]:
    """Take in durable jobs. If the batch is being stopped they get the outcome of the stop."""
    batch = books.batch(event.batch_id)
    start = len(batch.jobs)
    if event.first is not None and event.first < start:  # said twice
        return []
    _check_extension(batch, event.n_more)
    batch.fed_at = now.mono
    batch.jobs.grow(event.n_more)
    books.reserve(batch.spec.queue, batch.batch_id, -event.n_more)
    books.queue(batch.spec.queue).n_open += event.n_more
    batch.ready.append_range(start, start + event.n_more)
    if batch.stopping is not None:
        return stop_open_jobs(books, batch, now)
    books.place(batch, now)
    return [WorkAvailable()]


def on_sealed(books: Books, event: BatchSealed, now: Instant) -> list[Effect]:
    """No more jobs come: the batch may end now. With a reason it ends as ``partial`` at best."""
    batch = books.batch(event.batch_id)
    if batch.sealed:
        return []
    batch.sealed = batch.seal_asked = True
    batch.lost = event.reason
    effects: list[Effect] = []
    if event.reason:
        effects.append(Note("producer_lost", batch_id=batch.batch_id, detail={"reason": event.reason}))
    # What was admitted but never came takes no place any longer.
    books.reserve(batch.spec.queue, batch.batch_id, -books.reserved.get(batch.batch_id, 0))
    return [*effects, *stop_if_too_many_failed(books, batch, now), *end_if_done(books, batch, now)]


def on_producer_seen(books: Books, event: ProducerSeen, now: Instant) -> list[Effect]:
    """The silence of the producer begins anew."""
    books.batch(event.batch_id).fed_at = now.mono
    return []


def on_recovered(books: Books, event: BatchRecovered, now: Instant) -> list[Effect]:
    """Rebuild the columns of an open batch. What was leased when the manager died is queued again."""
    spec = event.spec
    if spec.batch_id in books.batches:  # said twice
        return []
    batch = Batch(spec, now)
    batch.rate.start(now.mono)
    if event.redriven_at is not None:
        batch.set_deadline(event.redriven_at, now)
        batch.waiting_since = event.redriven_at
    jobs = batch.jobs
    jobs.generation[event.redriven_index] = event.redriven_generation
    jobs.state[event.result_index] = event.result_status
    _recover_tries(batch, event, now)
    jobs.counts = jobs.recount()
    batch.durable = jobs.counts.copy()
    batch.durable[:FIRST_TERMINAL_CODE] = 0
    batch.n_success_ever = jobs.count(JobState.SUCCEEDED)
    batch.purged = event.purged_index
    books.shelved.pop(spec.batch_id, None)
    if len(event.result_index) or len(event.tried_index):
        batch.ready.clear()
        batch.ready.append(np.setdiff1d(jobs.in_states(JobState.QUEUED), batch.quarantined(), assume_unique=True))
    batch.paused, batch.lost = event.paused, event.lost
    batch.priority = spec.priority if event.priority is None else event.priority
    books.queue(spec.queue).n_open += jobs.n_open
    books.batches[spec.batch_id] = batch
    books.remember(spec.batch_id, spec.submit_id, spec.key)
    cancelled = event.cancelled_index[~jobs.is_terminal(event.cancelled_index)]
    effects = decide(books, batch, cancelled, JobState.CANCELLED, "", BY_HANDLE)
    if event.stop is not None:
        batch.stopping = event.stop
        return [*effects, *ask_for_seal(batch), *stop_open_jobs(books, batch, now)]
    books.place(batch, now)
    return [*effects, WorkAvailable(), *end_if_done(books, batch, now)]


def _recover_tries(batch: Batch, event: BatchRecovered, now: Instant) -> None:
    """Attempts, deaths, suspects and retry times of jobs that have no outcome yet."""
    jobs, retry = batch.jobs, batch.spec.policy.retry
    is_open = ~jobs.is_terminal(event.tried_index)
    tried, suspect = event.tried_index[is_open], event.tried_suspect[is_open]
    attempts, due = event.tried_attempts[is_open], event.retry_at[is_open]
    # A last try whose outcome did not become durable is as if it had not been made.
    was_last = ~(due > 0) & ~suspect
    attempts = np.maximum(attempts - was_last, 0)
    jobs.attempts[tried] = np.minimum(attempts, retry.max_attempts - 1)
    jobs.deaths[tried] = event.tried_deaths[is_open]
    jobs.lease[tried[~was_last | (attempts > 0)]] = TRIED_BEFORE
    waits = due > now.wall
    if waits.any():
        jobs.state[tried[waits]] = JobState.RETRYING.code
        # The wall clock may have been put back meanwhile: nothing waits longer than any policy says.
        longest = max(retry.max_s * (1.0 + retry.jitter), LONGEST_RETURN_S)
        batch.delay(tried[waits], now.mono + np.minimum(due[waits] - now.wall, longest))
    for group in np.array_split(tried[suspect], min(_MOST_GROUPS, max(1, int(suspect.sum())))):
        if len(group):
            batch.suspects.append(np.sort(group))
