"""Room for urgent work: a chunk of lesser work is called back before its end."""

from __future__ import annotations

from dfbatch.core.books import Books, Worker
from dfbatch.core.effects import Effect
from dfbatch.core.instant import Instant
from dfbatch.core.leasing import may_lease
from dfbatch.core.recalls import ask_to_yield

YIELD_AFTER_S = 0.1
"""An urgent job waits this long for a chunk to end before the chunk is asked to make room."""
YIELD_PATIENCE_S = 2.0
"""A worker that was asked to yield gets this long for the item it is at before another one is asked."""


def make_room(books: Books, now: Instant) -> list[Effect]:
    """If all workers are taken by lesser work while an urgent batch waits, one of them is asked to yield."""
    effects: list[Effect] = []
    for shape in books.orders:
        worker = None if books.storage_refusing is not None else _who_yields(books, shape, now)
        if worker is not None:
            effects.append(ask_to_yield(worker, worker.leases.values(), now))
    return effects


def _who_yields(books: Books, shape: str, now: Instant) -> Worker | None:
    """The worker with the oldest chunk, unless one has just been asked. Nobody is asked twice for one chunk."""
    top = books.order(shape).top_priority()
    workers = books.live_workers(shape)
    busy = [w for w in workers if w.leases]
    if top is None or not busy:
        return None
    leases = [lease for w in busy for lease in w.leases.values()]
    if any(x.recalled_at is not None and now.mono - x.recalled_at < YIELD_PATIENCE_S for x in leases):
        return None
    # A batch that runs somewhere gets on; one that runs nowhere waits for somebody else's chunk.
    urgent = [batch for b in books.order(shape).of_priority(top) if not (batch := books.batches[b]).n_running]
    # Whoever is free takes it, but for those who serve other queues, or rest because a dependency does.
    urgent = [b for b in urgent if not any(may_lease(books, w, b, now) for w in workers if not w.leases)]
    willing = [
        w
        for w in busy
        if all(x.recalled_at is None and books.batches[x.batch_id].priority < top for x in w.leases.values())
        and now.mono - _oldest(w) >= YIELD_AFTER_S
        and any(may_lease(books, w, batch, now) for batch in urgent)
    ]
    return min(willing, key=_oldest, default=None)


def _oldest(worker: Worker) -> float:
    return min(lease.granted_at for lease in worker.leases.values())
