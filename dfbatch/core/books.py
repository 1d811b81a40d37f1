"""Everything the manager knows, and the few ways its parts hang together. No rules of order in here."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

import numpy as np

from dfbatch.core.batch import Batch
from dfbatch.core.instant import Instant
from dfbatch.core.lease import Lease
from dfbatch.core.order import ServiceOrder
from dfbatch.core.policy import QueuePolicy
from dfbatch.core.ready import Indices
from dfbatch.core.states import JobState, WorkerState
from dfbatch.core.token_bucket import TokenBucket
from dfbatch.errors import UnknownId

LEASE_TERM_S = 60.0
"""Longer than a manager takes to come back, so that its restart expires nobody."""
MARK_GRACE_S = 8.0
"""How long the leases of a dead worker wait for its next incarnation to say where it died."""
FINISHED_KEPT = 1_000
"""Ended batches whose columns stay in memory; older ones are read from the ledger."""


@dataclass
class Queue:
    """A named partition of work. ``n_open``: jobs without an outcome; ``n_running``: leased ones."""

    name: str
    policy: QueuePolicy = field(default_factory=QueuePolicy)
    paused: bool = False
    n_open: int = 0
    n_reserved: int = 0
    n_running: int = 0
    bucket: TokenBucket | None = None


@dataclass
class Worker:
    """A worker seen from the manager. ``lost_at``: its process ended; its leases wait for a mark."""

    name: str
    incarnation: str
    shape: str
    queues: tuple[str, ...] | None
    node: str
    capacity: int
    seen_at: float
    started_at: float
    state: WorkerState = WorkerState.IDLE
    leases: dict[int, Lease] = field(default_factory=dict)
    lost_at: float | None = None
    draining: bool = False
    wants: bool = False
    restarts: int = 0
    n_done: int = 0


class Books:
    """Batches, queues, workers and leases of one manager."""

    def __init__(self, epoch: int = 1, rng: np.random.Generator | None = None) -> None:
        self.epoch = epoch
        self.rng = rng if rng is not None else np.random.default_rng(epoch)
        self.batches: dict[str, Batch] = {}
        self.finished: OrderedDict[str, None] = OrderedDict()
        self.queues: dict[str, Queue] = {}
        self.workers: dict[str, Worker] = {}
        self.leases: dict[int, Lease] = {}
        self.orders: dict[str, ServiceOrder] = {}
        self.submit_ids: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.storage_refusing: str | None = None
        self.hold_leases_until = 0.0
        """Monotonic: after a recovery, workers get this long to say what they still hold."""
        self.duplicates_suppressed = 0
        self.worker_deaths = 0
        self.last_wall: Instant | None = None
        self.stories: deque[str] = deque(maxlen=200)
        self._next_lease = epoch << 32

    def batch(self, batch_id: str) -> Batch:
        """Raises UnknownId if it is not in memory."""
        try:
            return self.batches[batch_id]
        except KeyError:
            raise UnknownId(f"There is no batch '{batch_id}' here. client.batches() lists the known ones.") from None

    def queue(self, name: str) -> Queue:
        """The queue, made on first use."""
        if name not in self.queues:
            self.queues[name] = Queue(name)
        return self.queues[name]

    def order(self, shape: str) -> ServiceOrder:
        return self.orders.setdefault(shape, ServiceOrder())

    def new_lease_id(self) -> int:
        self._next_lease += 1
        return self._next_lease

    def place(self, batch: Batch, now: Instant) -> None:
        """Put the batch in line, or out of it, by what is true of it now."""
        order = self.order(batch.spec.shape)
        if batch.has_ready_work() and now.wall >= batch.not_before and not self.queue(batch.spec.queue).paused:
            order.add(batch.batch_id, batch.priority, now.mono)
        else:
            order.remove(batch.batch_id)

    def move(self, batch: Batch, indices: Indices, to: JobState, cause: str) -> None:
        """Move jobs, keeping the queue's counts."""
        queue = self.queue(batch.spec.queue)
        open_before, running_before = batch.jobs.n_open, batch.n_running
        batch.jobs.move(indices, to, cause)
        queue.n_open += batch.jobs.n_open - open_before
        queue.n_running += batch.n_running - running_before

    def close_lease(self, lease: Lease) -> None:
        """Forget a lease; its jobs have been dealt with."""
        self.leases.pop(lease.lease_id, None)
        worker = self.workers.get(lease.worker)
        if worker is not None:
            worker.leases.pop(lease.lease_id, None)
            if not worker.leases and worker.state is WorkerState.RUNNING:
                worker.state = WorkerState.IDLE

    def unanswered(self, lease: Lease) -> Indices:
        """Jobs of the lease that still wait for its outcome."""
        jobs = self.batches[lease.batch_id].jobs
        return lease.indices[jobs.lease[lease.indices] == lease.lease_id]

    def live_workers(self, shape: str | None = None) -> list[Worker]:
        return [
            w
            for w in self.workers.values()
            if w.lost_at is None and not w.draining and (shape is None or w.shape == shape)
        ]

    def validate(self) -> None:
        """Check every invariant; raises AssertionError. For tests: it walks all jobs."""
        held: dict[str, Indices] = {}
        for lease in self.leases.values():
            assert lease.n_open == len(self.unanswered(lease)) > 0, f"lease {lease.lease_id} holds nothing"
            assert lease.lease_id in self.workers[lease.worker].leases, "a lease without its worker"
        for batch in self.batches.values():
            jobs = batch.jobs
            assert (jobs.counts == jobs.recount()).all(), "counts of states"
            running = np.flatnonzero(jobs.state == JobState.RUNNING.code)
            assert (jobs.lease[running] != 0).all(), "a running job without a lease"
            assert not jobs.lease[jobs.state != JobState.RUNNING.code].any(), "a lease on a job that does not run"
            assert all(int(i) in self.leases for i in np.unique(jobs.lease[running])), "a lease nobody knows"
            assert (batch.durable <= jobs.counts).all() or not batch.durable.any(), "more durable than ended"
            held[batch.batch_id] = running
        for queue in self.queues.values():
            mine = [b for b in self.batches.values() if b.spec.queue == queue.name]
            assert queue.n_open == sum(b.jobs.n_open for b in mine), "open jobs of a queue"
            assert queue.n_running == sum(b.n_running for b in mine), "running jobs of a queue"
