"""Everything the manager knows, and the few ways its parts hang together. No rules of order in here."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

import numpy as np

from dfbatch.core.batch import Batch
from dfbatch.core.breaker_seen import BreakerSeen
from dfbatch.core.death import UNKNOWN, Death
from dfbatch.core.instant import Instant
from dfbatch.core.lease import Claim, Lease
from dfbatch.core.order import ServiceOrder
from dfbatch.core.policy import QueuePolicy
from dfbatch.core.rate import RateMeter
from dfbatch.core.ready import Indices
from dfbatch.core.states import FIRST_TERMINAL_CODE, JobState, WorkerState
from dfbatch.core.token_bucket import TokenBucket
from dfbatch.errors import UnknownId

LEASE_TERM_S = 60.0
"""Longer than a manager takes to come back, so that its restart expires nobody."""
MARK_GRACE_S = 30.0
"""How long the leases of a dead worker wait for its next incarnation to say where it died.

On a busy machine a process of Ray takes 20 s to start; without its word a hang or a memory limit goes down as a crash.
"""
FINISHED_KEPT = 1_000
"""Ended batches whose columns stay in memory; older ones are read from the ledger."""
FINISHED_JOBS_KEPT = 4_000_000
"""Jobs of ended batches that stay in memory, unless one batch alone has more."""
SUBMIT_IDS_KEPT = 100_000
"""Submits that are recognised when they are repeated; a repeat comes within a minute or so."""


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


@dataclass(frozen=True, slots=True)
class ShelvedBatch:
    """An ended batch that is not in memory and has ``n_dead`` dead letters in the ledger."""

    queue: str
    n_dead: int


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
    death: Death = UNKNOWN
    """What the notice of its death said, if there was one."""
    n_done: int = 0
    breakers: tuple[BreakerSeen, ...] = ()
    """Its circuit breakers, as it last told of them."""
    rate: RateMeter = field(default_factory=RateMeter)


class Books:
    """Batches, queues, workers and leases of one manager."""

    def __init__(self, epoch: int = 1, rng: np.random.Generator | None = None) -> None:
        self.epoch = epoch
        self.rng = rng if rng is not None else np.random.default_rng(epoch)
        self.batches: dict[str, Batch] = {}
        self.finished: OrderedDict[str, None] = OrderedDict()
        self.n_finished_jobs = 0
        self.queues: dict[str, Queue] = {}
        self.workers: dict[str, Worker] = {}
        self.leases: dict[int, Lease] = {}
        self.orders: dict[str, ServiceOrder] = {}
        self.submit_ids: OrderedDict[str, str] = OrderedDict()
        self.keys: dict[str, str] = {}
        self.reserved: dict[str, int] = {}
        """Jobs that were admitted and are not durable yet, by batch."""
        self.past_ids: OrderedDict[str, None] = OrderedDict()
        """Ids of batches that left memory, so that none is drawn twice."""
        self.shelved: dict[str, ShelvedBatch] = {}
        """Ended batches that are not in memory but have dead letters."""
        self.suspects_since: dict[str, float] = {}
        """Monotonic, by batch in line: since when suspects wait for a worker that holds nothing."""
        self.claims: dict[str, Claim] = {}
        """By batch in line: the node for which its suspects wait, or waited for too long."""
        self.lone: dict[str, Lease] = {}
        """By node: the suspects that have it to themselves."""
        self.pool_troubles: dict[str, str] = {}
        """Why no worker of a shape can be had, by its key."""
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

    def is_taken(self, batch_id: str) -> bool:
        """True if a batch has, or had not long ago, this id."""
        return batch_id in self.batches or batch_id in self.reserved or batch_id in self.past_ids

    def remember(self, batch_id: str, submit_id: str, key: str | None) -> None:
        """Repeats of this submit lead to its batch."""
        if submit_id:
            self.submit_ids[submit_id] = batch_id
            while len(self.submit_ids) > SUBMIT_IDS_KEPT:
                self.submit_ids.popitem(last=False)
        if key is not None:
            self.keys[key] = batch_id

    def reserve(self, queue: str, batch_id: str, n: int) -> None:
        """Count ``n`` more jobs (fewer, if negative) as admitted; never below none for the batch."""
        before = self.reserved.pop(batch_id, 0)
        after = max(0, before + n)
        if after:
            self.reserved[batch_id] = after
        self.queue(queue).n_reserved += after - before

    def order(self, shape: str) -> ServiceOrder:
        """The line of the batches that workers of a shape could serve."""
        return self.orders.setdefault(shape, ServiceOrder())

    def new_lease_id(self) -> int:
        """A number that no other lease of any life of the manager has."""
        self._next_lease += 1
        return self._next_lease

    def place(self, batch: Batch, now: Instant) -> None:
        """Put the batch in line, or out of it, by what is true of it now."""
        order = self.order(batch.spec.shape)
        if not batch.has_ready_work() or now.mono < batch.starts_at or self.queue(batch.spec.queue).paused:
            order.remove(batch.batch_id)
            self._forget_suspects(batch)
            return
        order.add(batch.batch_id, batch.priority, now.mono)
        if batch.suspects:
            self.suspects_since.setdefault(batch.batch_id, now.mono)
        else:
            self._forget_suspects(batch)

    def _forget_suspects(self, batch: Batch) -> None:
        """None of the batch is in line."""
        self.suspects_since.pop(batch.batch_id, None)
        self.claims.pop(batch.batch_id, None)

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
            if self.lone.get(worker.node) is lease:
                del self.lone[worker.node]
            worker.leases.pop(lease.lease_id, None)
            if not worker.leases and worker.state is WorkerState.RUNNING:
                worker.state = WorkerState.IDLE

    def unanswered(self, lease: Lease) -> Indices:
        """Jobs of the lease that still wait for its outcome."""
        jobs = self.batches[lease.batch_id].jobs
        return np.asarray(lease.indices[jobs.lease[lease.indices] == lease.lease_id])

    def live_workers(self, shape: str | None = None) -> list[Worker]:
        return [
            w
            for w in self.workers.values()
            if w.lost_at is None and not w.draining and (shape is None or w.shape == shape)
        ]

    def validate(self) -> None:
        """Check every invariant; raises AssertionError. For tests: it walks all jobs."""
        for lease in self.leases.values():
            assert lease.n_open == len(self.unanswered(lease)) > 0, f"lease {lease.lease_id} holds nothing"
            assert lease.lease_id in self.workers[lease.worker].leases, "a lease without its worker"
        for worker in self.workers.values():
            assert all(self.leases.get(k) is v for k, v in worker.leases.items()), "a worker with a lease nobody knows"
            alone = any(lease.solo for lease in worker.leases.values())
            assert not alone or len(worker.leases) == 1, "suspects with company"
        for node, lease in self.lone.items():
            assert lease.solo, "a node kept for others than suspects"
            assert self.leases.get(lease.lease_id) is lease, "a node kept for a lease that ended"
            assert self.workers[lease.worker].node == node != "", "another node is kept"
        assert all(self.batches[b].has_ready_work() for b in self.claims), "a node claimed for nothing"
        for batch in self.batches.values():
            self._validate_batch(batch)
        for queue in self.queues.values():
            mine = [b for b in self.batches.values() if b.spec.queue == queue.name]
            assert queue.n_open == sum(b.jobs.n_open for b in mine), "open jobs of a queue"
            assert queue.n_running == sum(b.n_running for b in mine), "running jobs of a queue"
            assert queue.n_reserved >= 0, "reserved jobs of a queue"
        assert sum(q.n_reserved for q in self.queues.values()) == sum(self.reserved.values()), "reserved jobs"

    def _validate_batch(self, batch: Batch) -> None:
        jobs = batch.jobs
        assert (jobs.counts == jobs.recount()).all(), "counts of states"
        running = jobs.state == JobState.RUNNING.code
        assert (jobs.lease[running] > 0).all(), "a running job without a lease"
        assert (jobs.lease[~running] <= 0).all(), "a lease on a job that does not run"
        assert all(int(i) in self.leases for i in np.unique(jobs.lease[running])), "a lease nobody knows"
        durable = batch.durable
        assert ((durable >= 0) & (durable <= jobs.counts)).all(), "more durable than ended"
        assert not durable[:FIRST_TERMINAL_CODE].any(), "durable before its end"
        held = np.empty(0, np.int64) if batch.held is None else np.flatnonzero(batch.held)
        reachable = np.concatenate([batch.ready.entries(), batch.quarantined(), held])
        assert np.isin(jobs.in_states(JobState.QUEUED), reachable).all(), "a queued job that nobody will lease"
        waiting = np.concatenate([np.empty(0, np.int64), *(piece for _, _, piece in batch.delayed)])
        assert np.isin(jobs.in_states(JobState.RETRYING), waiting).all(), "a retry that never comes"
        is_open = jobs.state < FIRST_TERMINAL_CODE
        assert (jobs.attempts[is_open] < batch.spec.policy.retry.max_attempts).all(), "a try too many"
        assert batch.stopping is None or not jobs.count(JobState.QUEUED, JobState.RETRYING), "a stopped batch waits"
        in_line = batch.batch_id in self.order(batch.spec.shape)
        assert not in_line or batch.has_ready_work(), "in line without work"
