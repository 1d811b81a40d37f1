"""What observers are shown, made from the books. Reading changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dfbatch.core.batch import Batch
from dfbatch.core.books import Books
from dfbatch.core.dead_letters import n_dead_letters
from dfbatch.core.ending import ended_because
from dfbatch.core.instant import Instant
from dfbatch.core.progress import ProgressSnapshot
from dfbatch.core.states import FIRST_TERMINAL_CODE, BatchState, JobState


def batch_state(books: Books, batch: Batch) -> BatchState:
    """As observers see it: how it ended, else the first of cancelling, paused and stalled that holds, else its jobs."""
    if batch.finished_as is not None:
        return batch.finished_as
    if batch.stopping is not None:
        return BatchState.CANCELLING
    if batch.paused is not None or books.queue(batch.spec.queue).paused:
        return BatchState.PAUSED
    if batch.stalled is not None:
        return BatchState.STALLED
    if batch.n_running or batch.jobs.n_terminal or batch.jobs.count(JobState.RETRYING):
        return BatchState.RUNNING
    return BatchState.QUEUED if batch.sealed else BatchState.SUBMITTING


def job_counts(books: Books, batch: Batch, now: Instant) -> dict[str, int]:
    """Jobs by state as a person sees them: ended ones count once they are durable."""
    counts = {JobState.of(k).value: int(n) for k, n in enumerate(batch.durable) if n}
    waiting, running = batch.n_waiting, batch.n_running
    # An outcome that is taken but not yet durable is still shown as running.
    running += batch.jobs.n_terminal - int(batch.durable[FIRST_TERMINAL_CODE:].sum())
    if batch.paused is not None or books.queue(batch.spec.queue).paused:
        waiting_as = JobState.PAUSED
    elif now.mono < batch.starts_at:
        waiting_as = JobState.SCHEDULED
    else:
        waiting_as = JobState.QUEUED
    running_as = JobState.CANCELLING if batch.stopping is not None else JobState.RUNNING
    retrying = batch.jobs.count(JobState.RETRYING)
    for state, n in ((waiting_as, waiting), (running_as, running), (JobState.RETRYING, retrying)):
        if n:
            counts[state.value] = counts.get(state.value, 0) + n
    return counts


def queue_stats(books: Books, now: Instant) -> list[dict[str, Any]]:
    """What is in each queue, by name. ``oldest_waiting_s`` is the age of the work that waits longest, or None."""
    found = {name: _Load() for name in books.queues}
    for batch in books.batches.values():
        load = found[batch.spec.queue]
        load.dead_letters += n_dead_letters(batch)
        load.batches += batch.finished_as is None
        load.retrying += batch.jobs.count(JobState.RETRYING)
        load.waiting += batch.n_waiting
        if batch.n_waiting:
            load.waiting_since = min(load.waiting_since, batch.waiting_since)
    for shelved in books.shelved.values():
        found[shelved.queue].dead_letters += shelved.n_dead
    return [
        {
            "queue": name,
            "paused": books.queues[name].paused,
            "batches": load.batches,
            "waiting": load.waiting,
            "running": books.queues[name].n_running,
            "retrying": load.retrying,
            "dead_letters": load.dead_letters,
            "oldest_waiting_s": max(0.0, now.wall - load.waiting_since) if load.waiting else None,
            "policy": books.queues[name].policy.as_options(),
        }
        for name, load in sorted(found.items())
    ]


@dataclass(slots=True)
class _Load:
    batches: int = 0
    waiting: int = 0
    retrying: int = 0
    dead_letters: int = 0
    waiting_since: float = float("inf")


def progress(books: Books, batch_id: str, now: Instant) -> ProgressSnapshot:
    """Raises UnknownId."""
    batch = books.batch(batch_id)
    rate = batch.rate.per_s(now.mono) if batch.finished_as is None else 0.0
    left = len(batch.jobs) - int(batch.durable.sum())
    ended = batch.finished_as is not None
    at_work = sorted({lease.worker for lease in books.leases.values() if lease.batch_id == batch_id})
    elapsed = (batch.finished_wall if ended else now.wall) - batch.spec.submitted_at
    return ProgressSnapshot(
        batch_id=batch_id,
        name=batch.spec.name,
        status=batch_state(books, batch),
        total=len(batch.jobs) if batch.sealed else None,
        counts=job_counts(books, batch, now),
        rate_per_s=rate,
        eta_s=left / rate if rate > 0 and left and batch.sealed else None,
        elapsed_s=max(0.0, elapsed),
        workers=len(at_work),
        worker_rates={name: books.workers[name].rate.per_s(now.mono) for name in at_work},
        reason=_reason(books, batch),
        queue=batch.spec.queue,
        updated_at=now.wall,
    )


def _reason(books: Books, batch: Batch) -> str | None:
    """Why the batch does not simply run, or did not simply end."""
    queue = books.queue(batch.spec.queue)
    if batch.finished_as is None and batch.stopping is None:
        if batch.paused or batch.stalled:
            return batch.paused or batch.stalled
        if queue.paused:
            return f"queue '{queue.name}' is paused"
        if books.storage_refusing is not None:
            return f"storage refuses writes: {books.storage_refusing}"
    return ended_because(batch)
