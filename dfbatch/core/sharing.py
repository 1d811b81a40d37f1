"""Chunks that take much longer than they were meant to are cut short when somebody else could use the rest.

Items may turn slow after cheap ones, and the first chunk of a batch is a guess. Who
holds such a chunk goes on with the item at hand and hands back what it has not begun.
"""

from __future__ import annotations

from dfbatch.core.batch import Batch
from dfbatch.core.books import Books, Worker
from dfbatch.core.chunking import TARGET_S
from dfbatch.core.effects import Effect, Recall
from dfbatch.core.instant import Instant
from dfbatch.core.lease import Lease
from dfbatch.core.leasing import LONG_S, may_lease

OVERLONG_S = 6 * TARGET_S
"""A batch that nobody runs waits so long for the chunks of others of its priority."""


def share_out(books: Books, now: Instant) -> list[Effect]:
    """Call back what has not been begun of chunks that are old, for workers or for batches that wait."""
    effects: list[Effect] = []
    for shape in books.orders if books.storage_refusing is None else ():
        workers = books.live_workers(shape)
        idle = [w for w in workers if w.wants and not w.leases]
        if idle:
            takers = idle if not _has_work(books, shape, idle[0], now) else []
            chosen = _unbegun(books, workers, now, LONG_S, takers)[: len(takers)]
        elif any(not w.leases for w in workers):
            chosen = []
        else:
            chosen = _for_batches_that_wait(books, shape, workers, now)
        effects += [_recall(worker, leases, now) for worker, leases in chosen]
    return effects


def _has_work(books: Books, shape: str, worker: Worker, now: Instant) -> bool:
    order = books.order(shape)
    return order.pick(now.mono, lambda b: may_lease(books, worker, books.batches[b], now)) is not None


def _unbegun(
    books: Books, workers: list[Worker], now: Instant, age_s: float, takers: list[Worker]
) -> list[tuple[Worker, list[Lease]]]:
    """Workers and what they could let go of, the oldest chunk first. Nobody is asked twice for one chunk."""
    found = []
    for worker in workers:
        leases = sorted(worker.leases.values(), key=lambda lease: lease.granted_at)
        if not leases or now.mono - leases[0].granted_at < age_s:
            continue
        # The one that runs has a rest only if it holds more than the item at hand.
        spare = leases[1:] or [lease for lease in leases if lease.n_open > 1]
        spare = [lease for lease in spare if _may_go(books, lease, takers, now)]
        if spare and all(lease.recalled_at is None for lease in leases):
            found.append((leases[0].granted_at, worker.name, worker, spare))
    return [(worker, spare) for _, _, worker, spare in sorted(found, key=lambda entry: entry[:2])]


def _may_go(books: Books, lease: Lease, takers: list[Worker], now: Instant) -> bool:
    batch = books.batches[lease.batch_id]
    if lease.solo or lease.recalled_at is not None or batch.paused is not None or batch.stopping is not None:
        return False
    return not takers or any(may_lease(books, taker, batch, now) for taker in takers)


def _for_batches_that_wait(
    books: Books, shape: str, workers: list[Worker], now: Instant
) -> list[tuple[Worker, list[Lease]]]:
    """One worker at a time makes room for a batch of equal priority that has waited long enough."""
    if any(lease.recalled_at is not None for w in workers for lease in w.leases.values()):
        return []
    order = books.order(shape)
    waiting = [books.batches[b] for p in order.priorities() for b in order.of_priority(p)]
    waiting = [b for b in waiting if not b.n_running and now.mono - b.last_claim >= OVERLONG_S]
    for worker, _ in _unbegun(books, workers, now, OVERLONG_S, []):
        if any(_is_no_less(books, worker, batch) and may_lease(books, worker, batch, now) for batch in waiting):
            # Whoever runs nothing of it would only get to the waiting batch after what was fetched ahead.
            return [(worker, [lease for lease in worker.leases.values() if not lease.solo])]
    return []


def _is_no_less(books: Books, worker: Worker, batch: Batch) -> bool:
    return all(books.batches[lease.batch_id].priority <= batch.priority for lease in worker.leases.values())


def _recall(worker: Worker, leases: list[Lease], now: Instant) -> Effect:
    for lease in leases:
        lease.recalled_at = now.mono
    return Recall(worker.name, tuple(lease.lease_id for lease in leases), "yield")
