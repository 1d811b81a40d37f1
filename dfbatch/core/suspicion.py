"""Which job killed a worker: the marked one is suspected, runs alone, and only then is charged."""

from __future__ import annotations

import numpy as np

from dfbatch.core.batch import Batch
from dfbatch.core.books import Books, Worker
from dfbatch.core.effects import Effect, SuspectsNoted, WorkAvailable
from dfbatch.core.ending import decide, requeue, stop_if_too_many_failed
from dfbatch.core.instant import Instant
from dfbatch.core.lease import Lease
from dfbatch.core.ready import Indices
from dfbatch.core.states import JobState


def settle_death(books: Books, worker: Worker, mark: tuple[int, int] | None, now: Instant) -> list[Effect]:
    """Deal with the leases of a dead incarnation. ``mark``: (lease id, job index) where it was, if known."""
    books.worker_deaths += 1
    effects: list[Effect] = []
    held = list(worker.leases.values())
    marked = mark is not None and any(lease.lease_id == mark[0] for lease in held)
    for position, lease in enumerate(held):
        rest = books.unanswered(lease)
        books.close_lease(lease)
        if not len(rest):
            continue
        if marked:
            at = rest[rest == mark[1]] if mark is not None and lease.lease_id == mark[0] else rest[:0]
        else:
            # Without a mark only the lease that was being run, the oldest, is suspect.
            at = rest if position == 0 else rest[:0]
        effects += _settle_lease(books, lease, rest, at, worker.name, now)
    return [*effects, WorkAvailable()]


def _settle_lease(
    books: Books, lease: Lease, rest: Indices, suspects: Indices, worker: str, now: Instant
) -> list[Effect]:
    batch = books.batches[lease.batch_id]
    innocent = np.setdiff1d(rest, suspects, assume_unique=True)
    effects = requeue(books, batch, innocent, f"worker {worker} died", now)
    if not len(suspects):
        return effects
    alone = lease.solo and len(suspects) == 1 and len(lease.indices) == 1
    if alone:
        batch.jobs.deaths[suspects] += 1
    effects += requeue(books, batch, suspects, f"suspected of the death of {worker}", now, front=False)
    suspects = suspects[batch.jobs.state[suspects] == JobState.QUEUED.code]
    if not len(suspects):  # stopped with the batch, or cancelled by their handles
        return effects
    if alone and int(batch.jobs.deaths[suspects[0]]) >= batch.spec.policy.max_worker_deaths:
        message = (
            f"The worker process died {int(batch.jobs.deaths[suspects[0]])} times while this item ran alone. "
            f"Look at the item itself, or raise max_worker_deaths."
        )
        effects += decide(books, batch, suspects, JobState.FAILED, "WorkerCrash", message)
        books.place(batch, now)
        return effects + stop_if_too_many_failed(books, batch, now)
    _quarantine(batch, suspects, halve=not alone and len(suspects) > 1)
    books.place(batch, now)
    effects.append(_noted(batch, suspects, worker))
    return effects


def _quarantine(batch: Batch, suspects: Indices, *, halve: bool) -> None:
    if not halve:
        batch.suspects.append(suspects)
        return
    middle = len(suspects) // 2
    batch.suspects.append(suspects[:middle])
    batch.suspects.append(suspects[middle:])


def _noted(batch: Batch, suspects: Indices, worker: str) -> SuspectsNoted:
    jobs = batch.jobs
    return SuspectsNoted(
        batch.batch_id,
        suspects,
        jobs.generation[suspects],
        jobs.attempts[suspects],
        jobs.deaths[suspects],
        worker,
        "worker died",
    )
