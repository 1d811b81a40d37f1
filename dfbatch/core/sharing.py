"""Chunks that take much longer than they were meant to are cut short when somebody else could use the rest.

Items may turn slow after cheap ones, and the first chunk of a batch is a guess. Who
holds such a chunk goes on with the item at hand and hands back what it has not begun.
"""

from __future__ import annotations

from functools import partial

from dfbatch.core.batch import Batch
from dfbatch.core.books import Books, Worker
from dfbatch.core.chunking import TARGET_S
from dfbatch.core.effects import Effect
from dfbatch.core.instant import Instant
from dfbatch.core.lease import Lease
from dfbatch.core.leasing import LONG_S, may_lease
from dfbatch.core.recalls import ask_to_yield, may_be_cut

OVERLONG_S = 6 * TARGET_S
"""A batch that nobody runs waits so long for the chunks of others of its priority."""


def share_out(books: Books, now: Instant) -> list[Effect]:
    """Call back what has not been begun of chunks that are old, for workers or for batches that wait."""
    effects: list[Effect] = []
    for shape in books.orders if books.storage_refusing is None else ():
        workers = books.live_workers(shape)
        chosen = _for_free_workers(books, shape, workers, now) or _for_batches_that_wait(books, shape, workers, now)
        effects += [ask_to_yield(worker, leases, now) for worker, leases in chosen]
    return effects


def _for_free_workers(
    books: Books, shape: str, workers: list[Worker], now: Instant
) -> list[tuple[Worker, list[Lease]]]:
    """What each worker that asks in vain could have of somebody else's chunk, the oldest first."""
    takers, chosen = _ask_in_vain(books, shape, workers, now), []
    for worker, spare in _unbegun(books, workers, now, LONG_S) if takers else ():
        for taker in takers:
            # Free workers are not alike: one serves other queues, another rests because a dependency does.
            leases = [x for x in spare if may_lease(books, taker, books.batches[x.batch_id], now)]
            if leases:
                takers.remove(taker)
                chosen.append((worker, leases))
                break
    return chosen


def _ask_in_vain(books: Books, shape: str, workers: list[Worker], now: Instant) -> list[Worker]:
    """Free workers for whom there is nothing in line. Those alike are looked up once."""
    found: dict[tuple[object, ...], bool] = {}
    order, vain = books.order(shape), []
    for worker in workers:
        if worker.leases or not worker.wants:
            continue
        alike = (worker.queues, worker.breakers, worker.node if books.lone or books.claims else None)
        if alike not in found:
            found[alike] = order.pick(now.mono, partial(_may_have, books, worker, now)) is not None
        if not found[alike]:
            vain.append(worker)
    return vain


def _may_have(books: Books, worker: Worker, now: Instant, batch_id: str) -> bool:
    return may_lease(books, worker, books.batches[batch_id], now)


def _unbegun(books: Books, workers: list[Worker], now: Instant, age_s: float) -> list[tuple[Worker, list[Lease]]]:
    """Workers and what they could let go of, the oldest chunk first. Nobody is asked twice for one chunk."""
    found = []
    for worker in workers:
        leases = sorted(worker.leases.values(), key=lambda lease: lease.granted_at)
        if not leases or now.mono - leases[0].granted_at < age_s:
            continue
        # The one that runs has a rest only if it holds more than the item at hand.
        spare = leases[1:] or [lease for lease in leases if lease.n_open > 1]
        spare = [lease for lease in spare if may_be_cut(books, lease)]
        if spare and all(lease.recalled_at is None for lease in leases):
            found.append((leases[0].granted_at, worker.name, worker, spare))
    return [(worker, spare) for _, _, worker, spare in sorted(found, key=lambda entry: entry[:2])]


def _for_batches_that_wait(
    books: Books, shape: str, workers: list[Worker], now: Instant
) -> list[tuple[Worker, list[Lease]]]:
    """One worker at a time makes room for a batch of equal priority that has waited long enough."""
    if any(lease.recalled_at is not None for w in workers for lease in w.leases.values()):
        return []
    order = books.order(shape)
    waiting = [books.batches[b] for p in order.priorities() for b in order.of_priority(p)]
    waiting = [b for b in waiting if not b.n_running and now.mono - b.last_claim >= OVERLONG_S]
    # Whoever is free takes it, but for those who serve other queues, or rest.
    free = [w for w in workers if not w.leases]
    waiting = [b for b in waiting if not any(may_lease(books, w, b, now) for w in free)]
    for worker, _ in _unbegun(books, workers, now, OVERLONG_S) if waiting else ():
        if any(_is_no_less(books, worker, batch) and may_lease(books, worker, batch, now) for batch in waiting):
            # Whoever runs nothing of it would only get to the waiting batch after what was fetched ahead.
            return [(worker, [lease for lease in worker.leases.values() if not lease.solo])]
    return []


def _is_no_less(books: Books, worker: Worker, batch: Batch) -> bool:
    return all(books.batches[lease.batch_id].priority <= batch.priority for lease in worker.leases.values())
