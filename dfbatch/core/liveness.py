"""What time alone brings about: expiry, due retries, deadlines, yields, and the alarm that nothing moves."""

from __future__ import annotations

from dfbatch.core.batch import Batch, BatchStop
from dfbatch.core.books import LEASE_TERM_S, MARK_GRACE_S, Books
from dfbatch.core.effects import Effect, Note, WorkAvailable
from dfbatch.core.ending import ask_for_seal, stop_by_rule
from dfbatch.core.events import PoolTroubled, Tick
from dfbatch.core.instant import Instant
from dfbatch.core.leasing import take_back
from dfbatch.core.resting import all_rest
from dfbatch.core.sharing import share_out
from dfbatch.core.solitude import may_run
from dfbatch.core.states import JobState
from dfbatch.core.suspicion import settle_death
from dfbatch.core.yielding import make_room

SILENT_S = 2 * LEASE_TERM_S
STALL_S = 15.0
"""Work that nobody claims for this long is stalled."""
WALL_JUMP_S = 5.0


def on_tick(books: Books, event: Tick, now: Instant) -> list[Effect]:
    """Everything that is due by now, the deaths and expiries first, what could be shared out last."""
    effects: list[Effect] = []
    effects += _notice_wall_jump(books, now)
    effects += _settle_the_lost(books, now)
    effects += _expire_leases(books, now)
    effects += _forget_the_silent(books, now)
    for batch in list(books.batches.values()):
        if batch.finished_as is None:
            effects += _batch_tick(books, batch, now)
    effects += make_room(books, now)
    effects += share_out(books, now)
    if any(len(order) for order in books.orders.values()) and any(w.wants for w in books.workers.values()):
        effects.append(WorkAvailable())
    return effects


def on_pool_troubled(books: Books, event: PoolTroubled, now: Instant) -> list[Effect]:
    """What is wrong with the pool shows in the batches at the next tick."""
    books.pool_troubles = dict(event.reasons)
    return []


def _notice_wall_jump(books: Books, now: Instant) -> list[Effect]:
    last, books.last_wall = books.last_wall, now
    if last is None:
        return []
    jump = (now.wall - last.wall) - (now.mono - last.mono)
    return [Note("clock_jumped", detail={"seconds": round(jump, 3)})] if abs(jump) > WALL_JUMP_S else []


def _settle_the_lost(books: Books, now: Instant) -> list[Effect]:
    """Workers that died and did not come back in time: no mark is known."""
    effects: list[Effect] = []
    for worker in list(books.workers.values()):
        if worker.lost_at is not None and now.mono - worker.lost_at >= MARK_GRACE_S:
            effects += settle_death(books, worker, None, worker.death, now)
            del books.workers[worker.name]
    return effects


def _expire_leases(books: Books, now: Instant) -> list[Effect]:
    effects: list[Effect] = []
    for lease in list(books.leases.values()):
        worker = books.workers.get(lease.worker)
        waiting_for_mark = worker is not None and worker.lost_at is not None
        if now.mono >= lease.deadline and not waiting_for_mark:
            effects += [*take_back(books, lease, "lease expired", now), WorkAvailable()]
            note = {"lease": lease.lease_id, "jobs": len(lease.indices)}
            effects.append(Note("lease_expired", batch_id=lease.batch_id, worker=lease.worker, detail=note))
    return effects


def _forget_the_silent(books: Books, now: Instant) -> list[Effect]:
    """Workers that vanished without a word. They count as idle hands otherwise; one that comes back says hello."""
    silent = [
        w.name
        for w in books.workers.values()
        if not w.leases and w.lost_at is None and now.mono - w.seen_at >= SILENT_S
    ]
    for name in silent:
        del books.workers[name]
    return [Note("worker_silent", worker=name) for name in silent]


def _batch_tick(books: Books, batch: Batch, now: Instant) -> list[Effect]:
    effects: list[Effect] = []
    due = batch.due(now.mono)
    if len(due):
        books.move(batch, due, JobState.QUEUED, "retry due")
        sent_back = batch.jobs.returns[due] > 0
        batch.ready.prepend(due[~sent_back])
        # Others may probe the dependency next, so that no item goes back again and again.
        batch.ready.append(due[sent_back])
        effects.append(WorkAvailable())
    if batch.expires_at is not None and now.mono >= batch.expires_at and batch.stopping is None:
        reason = "The deadline of the batch passed."
        effects += stop_by_rule(books, batch, BatchStop(JobState.EXPIRED, None, reason, "DeadlinePassed"), now)
    effects += _miss_producer(books, batch, now)
    if batch.finished_as is None:
        books.place(batch, now)
        batch.stalled = stall_reason(books, batch, now)
    return effects


def _miss_producer(books: Books, batch: Batch, now: Instant) -> list[Effect]:
    """A stream whose producer is silent for too long is sealed with what it has."""
    silence = now.mono - batch.fed_at
    arriving = books.reserved.get(batch.batch_id, 0) > 0
    if batch.seal_asked or arriving or silence < batch.spec.policy.producer_silence_s:
        return []
    reason = (
        f"producer_lost: nothing was heard for {silence:.0f} s of the process that streams the items. "
        f"The {len(batch.jobs):,} jobs it had handed over are finished."
    )
    return ask_for_seal(batch, reason)


def stall_reason(books: Books, batch: Batch, now: Instant) -> str | None:
    """Why nobody claims the work of the batch, or None if nothing is wrong."""
    if batch.paused is not None or batch.stopping is not None or now.mono < batch.starts_at:
        return None
    if (resting := all_rest(books, batch)) is not None:
        return resting
    if batch.resting_since is not None and now.mono - batch.resting_since >= STALL_S:
        return "a dependency does not answer: its circuit breaker sends every item back"
    if batch.n_waiting == 0 or batch.n_running:
        return None
    trouble = books.pool_troubles.get(batch.spec.shape)
    if trouble is not None and not books.live_workers(batch.spec.shape):
        return trouble  # nothing is gained by waiting until it may be said
    if now.mono - batch.last_claim < STALL_S:
        return None
    queue = books.queue(batch.spec.queue)
    if books.storage_refusing is not None:
        return f"storage refuses writes: {books.storage_refusing}"
    if queue.paused:
        return f"queue '{queue.name}' is paused"
    if queue.policy.rate_per_s is not None and queue.bucket is not None and queue.bucket.available(now.mono) == 0:
        return f"queue '{queue.name}' is limited to {queue.policy.rate_per_s:g} jobs a second"
    if queue.policy.concurrency is not None and queue.n_running >= queue.policy.concurrency:
        return f"queue '{queue.name}' runs at its limit of {queue.policy.concurrency} jobs"
    workers = books.live_workers(batch.spec.shape)
    if not workers:
        return "no worker is there to run it"
    if all(w.queues is not None and batch.spec.queue not in w.queues for w in workers):
        return f"no worker serves queue '{queue.name}'"
    if not all(may_run(books, worker, batch, now) for worker in workers):
        return "a node is kept free for an item that may have used up the memory of one, and runs there alone"
    return "all workers are busy with other batches"
