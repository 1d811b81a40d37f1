"""Workers that do nothing while there is work for them: the sign of a fault that no single state shows."""

from __future__ import annotations

from dfbatch.core.books import Books, Worker
from dfbatch.core.instant import Instant
from dfbatch.core.leasing import may_lease
from dfbatch.core.resting import state_of
from dfbatch.core.states import WorkerState

IDLE_S = 3.0
"""A worker that has been free for so long while it could have worked is not just between two chunks."""


class IdleWatch:
    """Looks at the books now and then, and remembers since when a free worker could have had work."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], float] = {}

    def look(self, books: Books, now: Instant) -> None:
        """To be called every second or so."""
        before, self._since = self._since, {}
        if books.storage_refusing is not None or not any(len(order) for order in books.orders.values()):
            return
        for worker in books.live_workers():
            if state_of(worker) is WorkerState.IDLE and not worker.leases and _could_work(books, worker, now):
                key = (worker.name, worker.incarnation)
                self._since[key] = before.get(key, now.mono)

    def is_idle_but_backlog(self, worker: Worker, now: Instant) -> bool:
        """True if it has been free for seconds though jobs that it may take are queued."""
        since = self._since.get((worker.name, worker.incarnation))
        return since is not None and not worker.leases and now.mono - since >= IDLE_S


def _could_work(books: Books, worker: Worker, now: Instant) -> bool:
    line = books.order(worker.shape)
    return line.pick(now.mono, lambda b: may_lease(books, worker, books.batches[b], now)) is not None
