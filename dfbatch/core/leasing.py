"""How chunks are leased, renewed, handed back, and taken from workers that are gone."""

from __future__ import annotations

import numpy as np

from dfbatch.core.batch import Batch
from dfbatch.core.books import LEASE_TERM_S, Books, Worker
from dfbatch.core.effects import Effect, Granted, LeaseVerdicts, Recall, WorkAvailable
from dfbatch.core.ending import requeue
from dfbatch.core.events import HandedBack, Heartbeat, HeldLease, LeaseRequested, WorkerHello, WorkerLeft, WorkerLost
from dfbatch.core.instant import Instant
from dfbatch.core.lease import Lease
from dfbatch.core.ready import Indices
from dfbatch.core.states import JobState, WorkerState
from dfbatch.core.suspicion import settle_death
from dfbatch.core.token_bucket import TokenBucket


def on_hello(books: Books, event: WorkerHello, now: Instant) -> list[Effect]:
    """A worker introduces itself: settle what its last incarnation left, keep what it still holds."""
    effects: list[Effect] = []
    old = books.workers.get(event.worker)
    restarts = 0
    if old is not None and old.incarnation != event.incarnation:
        effects += settle_death(books, old, event.mark, now)
        restarts = old.restarts + 1
    if old is None or old.incarnation != event.incarnation:
        books.workers[event.worker] = Worker(
            event.worker,
            event.incarnation,
            event.shape,
            event.queues,
            event.node,
            event.capacity,
            now.mono,
            now.mono,
            restarts=restarts,
        )
    worker = books.workers[event.worker]
    worker.seen_at, worker.lost_at = now.mono, None
    kept = [held.lease_id for held in event.held if _keep(books, worker, held, now)]
    gone = [lease for lease in worker.leases.values() if lease.lease_id not in kept]
    for lease in gone:
        effects += take_back(books, lease, "not held any more", now)
    return [*effects, LeaseVerdicts(event.worker, frozenset(kept)), WorkAvailable()]


def _keep(books: Books, worker: Worker, held: HeldLease, now: Instant) -> bool:
    """Adopt a lease that was granted by an earlier manager, if its jobs are free."""
    if held.lease_id in books.leases:
        return books.leases[held.lease_id].worker == worker.name
    batch = books.batches.get(held.batch_id)
    if batch is None or not len(held.indices):
        return False
    jobs = batch.jobs
    inside = held.indices[held.indices < len(jobs)]
    free = (jobs.state[inside] == JobState.QUEUED.code) & (jobs.generation[inside] == held.generation[: len(inside)])
    if len(inside) != len(held.indices) or not free.all() or batch.stopping is not None:
        return False
    _open_lease(books, worker, batch, held.lease_id, held.indices, now, solo=held.solo)
    return True


def on_requested(books: Books, event: LeaseRequested, now: Instant) -> list[Effect]:
    """Cut a chunk for the worker, or note that it wants one."""
    worker = books.workers.get(event.worker)
    if worker is None:
        return []
    worker.seen_at = now.mono
    worker.wants = True
    if (
        worker.draining
        or books.storage_refusing is not None
        or now.mono < books.hold_leases_until
        or len(worker.leases) >= worker.capacity
        or any(lease.solo for lease in worker.leases.values())
    ):
        return []
    order = books.order(worker.shape)

    def may_serve(batch_id: str) -> bool:
        batch = books.batches[batch_id]
        if worker.queues is not None and batch.spec.queue not in worker.queues:
            return False
        only_suspects = bool(batch.suspects) and not batch.ready
        return not (only_suspects and worker.leases) and _room(books, batch, now) > 0

    while (batch_id := order.pick(now.mono, may_serve)) is not None:
        batch = books.batches[batch_id]
        lease = _cut(books, worker, batch, now)
        if lease is None:
            # Only stale entries were left; what remains is suspects, for a worker that holds nothing.
            books.place(batch, now)
            if batch_id in order and worker.leases:
                return []
            continue
        worker.wants = False
        order.served(batch_id, now.mono)
        books.place(batch, now)
        return [Granted(lease, batch.jobs.generation[lease.indices])]
    return []


def _room(books: Books, batch: Batch, now: Instant) -> int:
    """Jobs that the limits of the batch's queue let be leased now."""
    queue = books.queue(batch.spec.queue)
    policy = queue.policy
    room = 1 << 40
    if policy.concurrency is not None:
        room = min(room, policy.concurrency - queue.n_running)
    if policy.rate_per_s is not None:
        if queue.bucket is None:
            queue.bucket = TokenBucket.full(policy.rate_per_s, now.mono, policy.burst)
        room = min(room, queue.bucket.available(now.mono))
    return max(0, room)


def _cut(books: Books, worker: Worker, batch: Batch, now: Instant) -> Lease | None:
    """Take the next jobs of the batch: a suspect group if the worker is free for it, else a chunk."""
    room = _room(books, batch, now)
    if batch.suspects and not worker.leases:
        indices = _next_suspects(batch)
        if len(indices):
            return _open_lease(books, worker, batch, books.new_lease_id(), indices, now, solo=True)
    n_workers = len(books.live_workers(batch.spec.shape))
    size = min(batch.sizer.size(batch.n_waiting, n_workers), room)
    indices = batch.ready.take(size, batch.jobs.state)
    if not len(indices):
        return None
    return _open_lease(books, worker, batch, books.new_lease_id(), indices, now)


def _next_suspects(batch: Batch) -> Indices:
    while batch.suspects:
        group = batch.suspects.popleft()
        group = group[batch.jobs.state[group] == JobState.QUEUED.code]
        if len(group):
            return group
    return np.empty(0, np.int64)


def _open_lease(
    books: Books, worker: Worker, batch: Batch, lease_id: int, indices: Indices, now: Instant, *, solo: bool = False
) -> Lease:
    books.move(batch, indices, JobState.RUNNING, f"leased to {worker.name}")
    batch.jobs.lease[indices] = lease_id
    lease = Lease(
        lease_id, batch.batch_id, worker.name, indices, now.mono, now.mono + LEASE_TERM_S, len(indices), solo
    )
    books.leases[lease_id] = lease
    worker.leases[lease_id] = lease
    worker.state = WorkerState.DRAINING if worker.draining else WorkerState.RUNNING
    queue = books.queue(batch.spec.queue)
    if queue.bucket is not None:
        queue.bucket.take(len(indices))
    batch.last_claim = now.mono
    batch.stalled = None
    return lease


def take_back(books: Books, lease: Lease, cause: str, now: Instant) -> list[Effect]:
    """End a lease; its unanswered jobs are queued again, uncharged."""
    batch = books.batches[lease.batch_id]
    rest = books.unanswered(lease)
    books.close_lease(lease)
    return requeue(books, batch, rest, cause, now)


def on_handed_back(books: Books, event: HandedBack, now: Instant) -> list[Effect]:
    lease = books.leases.get(event.lease_id)
    if lease is None or lease.worker != event.worker:
        return []
    return [*take_back(books, lease, "handed back", now), WorkAvailable()]


def on_heartbeat(books: Books, event: Heartbeat, now: Instant) -> list[Effect]:
    """Renew the leases the worker holds; tell it which of them are its own no more."""
    worker = books.workers.get(event.worker)
    if worker is None:
        return []
    worker.seen_at = now.mono
    foreign = []
    for lease_id in event.lease_ids:
        lease = books.leases.get(lease_id)
        if lease is None or lease.worker != event.worker:
            foreign.append(lease_id)
            continue
        lease.deadline = now.mono + LEASE_TERM_S
        if books.batches[lease.batch_id].stopping is not None:
            foreign.append(lease_id)
    return [Recall(event.worker, tuple(foreign), "no longer yours")] if foreign else []


def on_lost(books: Books, event: WorkerLost, now: Instant) -> list[Effect]:
    """The process ended: its leases wait a little, until its next incarnation says where it died."""
    worker = books.workers.get(event.worker)
    if worker is None or worker.incarnation != event.incarnation or worker.lost_at is not None:
        return []
    worker.lost_at = now.mono
    worker.state = WorkerState.LOST
    return []


def on_left(books: Books, event: WorkerLeft, now: Instant) -> list[Effect]:
    worker = books.workers.get(event.worker)
    if worker is None or worker.incarnation != event.incarnation:
        return []
    effects: list[Effect] = []
    for lease in list(worker.leases.values()):
        effects += take_back(books, lease, "worker left", now)
    del books.workers[event.worker]
    return [*effects, WorkAvailable()]
