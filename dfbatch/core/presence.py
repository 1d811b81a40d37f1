"""Which workers are there: they say hello, adopt what they still hold, leave, or are lost."""

from __future__ import annotations

import numpy as np

from dfbatch.core.books import Books, Worker
from dfbatch.core.death import death_by_notice
from dfbatch.core.effects import Effect, LeaseVerdicts, Recall, WorkAvailable
from dfbatch.core.events import HeldLease, WorkerHello, WorkerLeft, WorkerLost
from dfbatch.core.instant import Instant
from dfbatch.core.job_table import JobTable
from dfbatch.core.leasing import open_lease, room_left, take_back
from dfbatch.core.ready import Indices
from dfbatch.core.recalls import JOBS_CANCELLED, holds_cancelled
from dfbatch.core.solitude import is_taken, keep_node
from dfbatch.core.states import JobState, WorkerState
from dfbatch.core.suspicion import settle_death


def on_hello(books: Books, event: WorkerHello, now: Instant) -> list[Effect]:
    """A worker introduces itself: settle what its last incarnation left, keep what it still holds."""
    effects: list[Effect] = []
    old = books.workers.get(event.worker)
    replaced = old is not None and old.incarnation != event.incarnation
    if old is not None and replaced:
        effects += settle_death(books, old, event.mark, event.death or old.death, now, event.n_marked)
    if old is None or replaced:
        books.workers[event.worker] = _newcomer(event, 0 if old is None else old.restarts + 1, now)
    worker = books.workers[event.worker]
    worker.seen_at, worker.lost_at = now.mono, None
    worker.rate.start(now.mono)
    # A process that has just started in the place of another holds nothing, whatever it says.
    kept = [held for held in event.held if not replaced and _keep(books, worker, held, now)]
    kept_ids = frozenset(held.lease_id for held in kept)
    for lease in [x for x in worker.leases.values() if x.lease_id not in kept_ids]:
        effects += take_back(books, lease, "not held any more", now)
    if not worker.draining:
        worker.state = WorkerState.RUNNING if worker.leases else WorkerState.IDLE
    effects.append(LeaseVerdicts(event.worker, kept_ids))
    halted = tuple(held.lease_id for held in kept if _is_halted(books, held.batch_id))
    if halted:
        effects.append(Recall(event.worker, halted, "paused"))
    # They were cancelled while nobody could tell the worker.
    cut = tuple(held.lease_id for held in kept if holds_cancelled(books.batches[held.batch_id], held.indices))
    if cut:
        effects.append(Recall(event.worker, cut, JOBS_CANCELLED))
    return [*effects, WorkAvailable()]


def _newcomer(event: WorkerHello, restarts: int, now: Instant) -> Worker:
    return Worker(
        event.worker,
        event.incarnation,
        event.shape,
        event.queues,
        event.node,
        event.capacity,
        seen_at=now.mono,
        started_at=now.mono,
        restarts=restarts,
    )


def _is_halted(books: Books, batch_id: str) -> bool:
    batch = books.batches[batch_id]
    return batch.paused is not None or books.queue(batch.spec.queue).paused


def _keep(books: Books, worker: Worker, held: HeldLease, now: Instant) -> bool:
    """True if the worker may go on with the lease. One that is not known here is adopted, if its jobs are free."""
    known = books.leases.get(held.lease_id)
    if known is not None:
        return known.worker == worker.name
    batch = books.batches.get(held.batch_id)
    if batch is None or batch.stopping is not None or held.lease_id <= 0:
        return False
    if any(lease.solo for lease in worker.leases.values()) or (held.solo and worker.leases):
        return False
    if is_taken(books, worker, now):
        return False
    free = _free_jobs(batch.jobs, held)
    if not len(free) or len(free) > room_left(books, batch, now, by_rate=False):
        return False
    batch.clear_suspicion(free)  # they wait no more; if the lease comes back, its suspects are suspects again
    lease = open_lease(books, worker, batch, held.lease_id, free, now, solo=held.solo)
    if lease.solo:
        keep_node(books, worker, lease)
    books.place(batch, now)
    return True


def _free_jobs(jobs: JobTable, held: HeldLease) -> Indices:
    """Those of the lease that nobody else has and that have no outcome, each once, sorted."""
    indices, first = np.unique(held.indices, return_index=True)
    if len(held.generation) != len(held.indices):
        return indices[:0]
    inside = (indices >= 0) & (indices < len(jobs))
    indices, generation = indices[inside], held.generation[first[inside]]
    free = (jobs.state[indices] == JobState.QUEUED.code) & (jobs.generation[indices] == generation)
    return np.asarray(indices[free])


def on_lost(books: Books, event: WorkerLost, now: Instant) -> list[Effect]:
    """The process ended: its leases wait a little, until its next incarnation says where it died."""
    worker = books.workers.get(event.worker)
    if worker is None or worker.incarnation != event.incarnation or worker.lost_at is not None:
        return []
    worker.lost_at = now.mono
    worker.death = death_by_notice(event.cause)
    worker.state = WorkerState.LOST
    worker.wants = False
    return []


def on_left(books: Books, event: WorkerLeft, now: Instant) -> list[Effect]:
    """It ended in good order: whatever it held goes back unharmed."""
    worker = books.workers.get(event.worker)
    if worker is None or worker.incarnation != event.incarnation:
        return []
    effects: list[Effect] = []
    for lease in list(worker.leases.values()):
        effects += take_back(books, lease, "worker left", now)
    del books.workers[event.worker]
    return [*effects, WorkAvailable()]
