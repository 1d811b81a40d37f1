"""How chunks are leased, renewed and handed back."""

from __future__ import annotations

import numpy as np

from dfbatch.core.batch import Batch
from dfbatch.core.books import LEASE_TERM_S, Books, Worker
from dfbatch.core.chunking import TARGET_S
from dfbatch.core.effects import Effect, Granted, Recall, WorkAvailable
from dfbatch.core.ending import requeue
from dfbatch.core.events import HandedBack, Heartbeat, LeaseRequested
from dfbatch.core.instant import Instant
from dfbatch.core.lease import Lease
from dfbatch.core.ready import Indices
from dfbatch.core.resting import probe_room, rests
from dfbatch.core.solitude import clear_node, keep_node, may_run, next_suspects, waits
from dfbatch.core.states import JobState, WorkerState
from dfbatch.core.token_bucket import TokenBucket

LONG_S = 2 * TARGET_S
"""A worker that has had a chunk for so long fetches nothing ahead that a free one would begin sooner."""
SUSPECT_PATIENCE_S = 2.0
"""Suspects run alone, and busy workers fetch ahead: after this long a worker gets nothing more until it is free."""


def on_requested(books: Books, event: LeaseRequested, now: Instant) -> list[Effect]:
    """Cut a chunk for the worker, or note that it wants one."""
    worker = books.workers.get(event.worker)
    if worker is None or worker.lost_at is not None:
        return []
    worker.seen_at = now.mono
    worker.wants = True
    if (
        worker.draining
        or books.storage_refusing is not None
        or now.mono < books.hold_leases_until
        or len(worker.leases) >= worker.capacity
        or any(lease.solo for lease in worker.leases.values())
        or _is_behind_others(books, worker, now)
        or _must_run_dry(books, worker, now)
    ):
        return []
    order = books.order(worker.shape)

    def may_serve(batch_id: str) -> bool:
        batch = books.batches[batch_id]
        only_suspects = bool(batch.suspects) and not batch.ready
        not_ahead = only_suspects or batch.sizer.is_slow
        return not (not_ahead and worker.leases) and may_lease(books, worker, batch, now)

    while (batch_id := order.pick(now.mono, may_serve)) is not None:
        batch = books.batches[batch_id]
        lease = _cut(books, worker, batch, now)
        if lease is not None:
            worker.wants = False
            order.served(batch_id, now.mono)
            books.place(batch, now)
            return [Granted(lease, batch.jobs.generation[lease.indices])]
        # Only stale entries were left, which are gone now, or suspects that wait for a node: for them may_serve
        # is false, or they have claimed this node and it is false for all. So each batch is met at most once more.
        books.place(batch, now)
    return clear_node(books, worker.node, now) if books.claims else []


def may_lease(books: Books, worker: Worker, batch: Batch, now: Instant) -> bool:
    """True if the worker serves the batch's queue, its node is not kept for others, and the queue's limits let it."""
    if (worker.queues is not None and batch.spec.queue not in worker.queues) or not may_run(books, worker, batch, now):
        return False
    return not rests(books, worker, batch, now) and room_left(books, batch, now) > 0


def _is_behind_others(books: Books, worker: Worker, now: Instant) -> bool:
    """True if the worker has long been at a chunk, and another one has nothing to do."""
    if not any(now.mono - lease.granted_at >= LONG_S for lease in worker.leases.values()):
        return False
    return any(w.wants and not w.leases for w in books.live_workers(worker.shape))


def _must_run_dry(books: Books, worker: Worker, now: Instant) -> bool:
    """True if suspects have waited long enough, and would be next if only the worker held nothing."""
    if not worker.leases or not books.suspects_since:
        return False
    chosen = books.order(worker.shape).pick(now.mono, lambda b: may_lease(books, worker, books.batches[b], now))
    since = books.suspects_since.get(chosen) if chosen is not None else None
    if chosen is None or since is None or now.mono - since < SUSPECT_PATIENCE_S:
        return False
    return not waits(books, worker, books.batches[chosen], now)


def room_left(books: Books, batch: Batch, now: Instant, *, by_rate: bool = True) -> int:
    """Jobs that the limits of the batch's queue let be leased now."""
    queue = books.queue(batch.spec.queue)
    policy = queue.policy
    room = 1 << 40
    if policy.concurrency is not None:
        room = min(room, policy.concurrency - queue.n_running)
    if policy.rate_per_s is not None and by_rate:
        if queue.bucket is None:
            queue.bucket = TokenBucket.full(policy.rate_per_s, now.mono, policy.burst)
        room = min(room, queue.bucket.available(now.mono))
    return max(0, room)


def _cut(books: Books, worker: Worker, batch: Batch, now: Instant) -> Lease | None:
    """Take the next jobs of the batch: a suspect group if the worker is free for it, else a chunk."""
    room = min(room_left(books, batch, now), probe_room(worker, batch))
    if batch.suspects and not worker.leases:
        indices = next_suspects(books, worker, batch, room, now)
        if len(indices):
            books.suspects_since.pop(batch.batch_id, None)
            lease = open_lease(books, worker, batch, books.new_lease_id(), indices, now, solo=True)
            keep_node(books, worker, lease)
            return lease
        if not may_run(books, worker, batch, now):
            return None
    n_workers = len(books.live_workers(batch.spec.shape))
    size = min(batch.sizer.size(batch.n_waiting, n_workers), room)
    indices = _ordinary(batch, size)
    if not len(indices):
        return None
    return open_lease(books, worker, batch, books.new_lease_id(), indices, now)


def _ordinary(batch: Batch, size: int) -> Indices:
    """Up to ``size`` ready jobs. A suspect may have an old entry among them; it must not run in company."""
    while len(indices := batch.ready.take(size, batch.jobs.state)) and batch.suspects:
        indices = np.setdiff1d(indices, batch.quarantined(), assume_unique=True)
        if len(indices):
            break
    return indices


def open_lease(
    books: Books, worker: Worker, batch: Batch, lease_id: int, indices: Indices, now: Instant, *, solo: bool = False
) -> Lease:
    """Give queued jobs to the worker until a deadline."""
    books.move(batch, indices, JobState.RUNNING, f"leased to {worker.name}")
    batch.jobs.lease[indices] = lease_id
    deadline = now.mono + LEASE_TERM_S
    lease = Lease(lease_id, batch.batch_id, worker.name, indices, now.mono, deadline, len(indices), solo)
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
    """End a lease; its unanswered jobs are queued again, uncharged. Suspects stay suspects."""
    batch = books.batches[lease.batch_id]
    rest = books.unanswered(lease)
    books.close_lease(lease)
    effects = requeue(books, batch, rest, cause, now, front=not lease.solo)
    if lease.solo:
        waiting = rest[batch.jobs.state[rest] == JobState.QUEUED.code]
        if len(waiting):
            batch.suspects.appendleft(waiting)
        books.place(batch, now)
    return effects


def on_handed_back(books: Books, event: HandedBack, now: Instant) -> list[Effect]:
    """What is left of the lease is queued again, at the front and uncharged."""
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
    if event.draining:
        worker.draining, worker.wants, worker.state = True, False, WorkerState.DRAINING
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
