"""From the work in the books to the workers it is worth, by shape."""

from __future__ import annotations

from collections.abc import Mapping

from dfbatch.actors.batch_desk import BatchDesk
from dfbatch.core.batch import Batch
from dfbatch.core.books import Books
from dfbatch.core.instant import Instant
from dfbatch.core.leasing import room_left
from dfbatch.core.pool_size import Backlog, Demand, cost_of, workers_for
from dfbatch.core.resource_shape import ResourceShape


def demands(books: Books, desks: Mapping[str, BatchDesk], now: Instant) -> list[Demand]:
    """One for every shape with open work, the most urgent first, then the one that came first."""
    usual = _usual_costs(books)
    begun = _begun(books)
    shapes: dict[str, ResourceShape] = {}
    backlogs: dict[str, list[Backlog]] = {}
    for batch in sorted(books.batches.values(), key=lambda b: -b.priority):
        if batch.finished_as is None and batch.batch_id in desks:
            key = batch.spec.shape
            shapes.setdefault(key, desks[batch.batch_id].shape)
            backlogs.setdefault(key, []).append(_backlog(books, batch, usual, begun, now))
    found = [Demand(shape, workers_for(backlogs[key])) for key, shape in shapes.items()]
    return sorted(found, key=lambda demand: demand.n_wanted == 0)


def _backlog(
    books: Books, batch: Batch, usual: Mapping[tuple[str, str], float], begun: Mapping[str, float], now: Instant
) -> Backlog:
    waiting, most = 0, batch.n_running
    if batch.has_ready_work() and now.mono >= batch.starts_at and not books.queue(batch.spec.queue).paused:
        waiting = batch.n_waiting
        # A limit of the queue is one of its workers too.
        most += min(waiting, room_left(books, batch, now))
    at_it_s = now.mono - begun[batch.batch_id] if batch.batch_id in begun else 0.0
    cost_s = cost_of(batch.sizer.cost_s, usual.get((batch.spec.queue, batch.spec.shape)), at_it_s)
    return Backlog(waiting + batch.n_running, most, cost_s)


def _usual_costs(books: Books) -> dict[tuple[str, str], float]:
    """By queue and shape: what an item of the newest batch took of which any came back."""
    return {
        (batch.spec.queue, batch.spec.shape): batch.sizer.cost_s
        for batch in books.batches.values()
        if batch.sizer.cost_s is not None
    }


def _begun(books: Books) -> dict[str, float]:
    """By batch: since when its oldest lease is out (monotonic)."""
    begun: dict[str, float] = {}
    for lease in books.leases.values():
        begun[lease.batch_id] = min(lease.granted_at, begun.get(lease.batch_id, lease.granted_at))
    return begun
