"""Which job killed a worker: the marked one is suspected, runs alone, and only then is charged."""

from __future__ import annotations

import numpy as np

from dfbatch.core.batch import Batch, BatchStop
from dfbatch.core.books import Books, Worker
from dfbatch.core.death import CONSTRUCTING, Death
from dfbatch.core.effects import Effect, SuspectsNoted, WorkAvailable
from dfbatch.core.ending import UNUSABLE, decide, requeue, stop_by_rule, stop_if_too_many_failed
from dfbatch.core.instant import Instant
from dfbatch.core.lease import Lease
from dfbatch.core.ready import Indices
from dfbatch.core.solitude import needs_node
from dfbatch.core.states import BatchState, JobState


def settle_death(
    books: Books, worker: Worker, mark: tuple[int, int] | None, death: Death, now: Instant, n_marked: int = 1
) -> list[Effect]:
    """Deal with the leases of a dead incarnation. ``mark``: (lease id, job index) where it was, if known.

    ``n_marked`` jobs were run in one call, the marked one first: each of them may be at fault.
    """
    books.worker_deaths += 1
    effects: list[Effect] = []
    held = list(worker.leases.values())
    marked = mark is not None and any(lease.lease_id == mark[0] for lease in held)
    for position, lease in enumerate(held):
        rest = books.unanswered(lease)
        books.close_lease(lease)
        if not len(rest):
            continue
        if mark is not None and mark == (lease.lease_id, CONSTRUCTING):
            effects += _settle_construction(books, lease, rest, worker.name, death, now)
            continue
        if marked:
            at = _marked(lease, rest, mark[1], n_marked) if mark and lease.lease_id == mark[0] else rest[:0]
        else:
            # Without a mark only the lease that was being run, the oldest, is suspect.
            at = rest if position == 0 else rest[:0]
        effects += _settle_lease(books, lease, rest, at, worker.name, death, now)
    return [*effects, WorkAvailable()]


def _marked(lease: Lease, rest: Indices, first: int, n: int) -> Indices:
    """Those of ``rest`` that were run in one call of ``n`` jobs of the lease."""
    start = np.flatnonzero(lease.indices == first)
    return rest[np.isin(rest, lease.indices[start[0] : start[0] + n])] if len(start) else rest[:0]


def _settle_lease(
    books: Books, lease: Lease, rest: Indices, suspects: Indices, worker: str, death: Death, now: Instant
) -> list[Effect]:
    batch = books.batches[lease.batch_id]
    innocent = np.setdiff1d(rest, suspects, assume_unique=True)
    effects = requeue(books, batch, innocent, f"worker {worker} died", now)
    if not len(suspects):
        return effects
    # Where the node ran out of memory its neighbours may be at fault, unless it was to have had the node to itself.
    had_its_chance = not death.of_node or needs_node(batch, suspects)
    alone = lease.solo and len(suspects) == 1 and len(lease.indices) == 1 and had_its_chance
    if alone:
        batch.jobs.deaths[suspects] += 1
    effects += requeue(books, batch, suspects, f"suspected of the death of {worker}", now, front=False)
    suspects = suspects[batch.jobs.state[suspects] == JobState.QUEUED.code]
    if not len(suspects):  # stopped with the batch, or cancelled by their handles
        return effects
    n_alone = int(batch.jobs.deaths[suspects[0]])
    if alone and n_alone >= batch.spec.policy.max_worker_deaths:
        message = death.message(n_alone)
        effects += decide(books, batch, suspects, JobState.FAILED, death.error_type, message, death.stack)
        books.place(batch, now)
        return effects + stop_if_too_many_failed(books, batch, now)
    _quarantine(batch, suspects, halve=not alone and len(suspects) > 1)
    if death.of_node:
        batch.of_node = np.union1d(batch.of_node, suspects)
    books.place(batch, now)
    effects.append(_noted(batch, suspects, worker, death))
    return effects


def _settle_construction(
    books: Books, lease: Lease, rest: Indices, worker: str, death: Death, now: Instant
) -> list[Effect]:
    """No job is to blame: the worker ended while it constructed the verifier. Where that goes on, the batch stops."""
    batch = books.batches[lease.batch_id]
    batch.n_deaths_constructing += 1
    n = batch.n_deaths_constructing
    effects = requeue(books, batch, rest, f"worker {worker} died while it constructed the verifier", now)
    rest = rest[batch.jobs.state[rest] == JobState.QUEUED.code]
    if not len(rest) or n < batch.spec.policy.max_worker_deaths:
        return effects
    ended = death.words or "died"
    message = (
        f"The worker process {ended} while it constructed the verifier, {n} times in a row. Construct the verifier "
        f"in the notebook to see why, then submit again."
    )
    effects += decide(books, batch, rest, JobState.FAILED, "VerifierUnusable", message, death.stack)
    books.place(batch, now)
    if batch.fail_fast_armed:
        return effects + stop_by_rule(
            books, batch, BatchStop(JobState.CANCELLED, BatchState.FAILED, UNUSABLE, "BatchStopped"), now
        )
    return effects + stop_if_too_many_failed(books, batch, now)


def _quarantine(batch: Batch, suspects: Indices, *, halve: bool) -> None:
    if not halve:
        batch.suspects.append(suspects)
        return
    middle = len(suspects) // 2
    batch.suspects.append(suspects[:middle])
    batch.suspects.append(suspects[middle:])


def _noted(batch: Batch, suspects: Indices, worker: str, death: Death) -> SuspectsNoted:
    jobs = batch.jobs
    return SuspectsNoted(
        batch.batch_id,
        suspects,
        jobs.generation[suspects],
        jobs.attempts[suspects],
        jobs.deaths[suspects],
        worker,
        f"the process {death.words or 'died'}",
        death.error_type,
    )
