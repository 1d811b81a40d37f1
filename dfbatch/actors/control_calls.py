"""The calls of operators about batches and workers: pause, resume, cancel, priorities, the number of workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dfbatch.actors import pool_orders
from dfbatch.actors.breaker_book import ORDER_KIND
from dfbatch.actors.breakers import FORCE_OPEN, LONGEST_NAME, RESET
from dfbatch.actors.pool_orders import PoolOrder
from dfbatch.actors.recovering import encode_ranges, stop_detail
from dfbatch.actors.submit_calls import SubmitCalls
from dfbatch.core import control, events
from dfbatch.core.batch import BatchStop
from dfbatch.core.states import BatchState, JobState
from dfbatch.errors import InvalidInput


class ControlCalls(SubmitCalls):
    """The part of the Manager that operators talk to."""

    async def pause(self, batch_id: str) -> None:
        """Lease nothing of the batch until it is resumed. Raises InvalidInput if it has ended."""
        await self.ready_to_write()
        batch = self.state.batch(batch_id)
        if batch.paused is None or batch.finished_as is not None:
            self.perform(self.state.handle(events.BatchPaused(batch_id), self.now()))
            await self.noted("paused", batch_id, {"reason": "paused"})

    async def resume(self, batch_id: str) -> None:
        """Let a paused batch go on; durable before it is carried out."""
        await self.ready_to_write()
        if self.state.batch(batch_id).paused is not None:
            await self.noted("resumed", batch_id, {})
            self.perform(self.state.handle(events.BatchResumed(batch_id), self.now()))

    async def cancel(self, batch_id: str, reason: str = "") -> None:
        """Every job without an outcome becomes ``cancelled``; durable as one row, however many jobs there are."""
        await self.ready_to_write()
        batch = self.state.batch(batch_id)
        if batch.finished_as is not None or batch.stopping is not None:
            return
        stop = BatchStop(JobState.CANCELLED, BatchState.CANCELLED, reason or "Cancelled by the user.")
        await self.noted("stopped", batch_id, stop_detail(stop))
        if not batch.sealed:
            await self.seal(batch_id)
        self.perform(self.state.handle(events.BatchStopped(batch_id, stop), self.now()))

    async def cancel_job(self, batch_id: str, index: int) -> None:
        """A job that was not begun becomes ``cancelled``; one that runs keeps its outcome, but is not tried again.

        Durable before it is carried out. Raises InvalidInput for a job that is not there; one that has ended stays.
        """
        await self.ready_to_write()
        indices = control.without_outcome(self.state, batch_id, np.array([index], np.int64))
        if not len(indices):
            return
        await self.noted("jobs_cancelled", batch_id, {"ranges": encode_ranges(indices)})
        if batch_id in self.state.batches:
            self.perform(self.state.handle(events.JobsCancelled(batch_id, indices), self.now()))

    async def order_breaker(self, name: str, order: str) -> None:
        """``force_open`` or ``reset`` the circuit breakers of a dependency on every worker; noted before it is done."""
        await self.ready_to_write()
        if order not in (FORCE_OPEN, RESET):
            raise InvalidInput("order", f"{order!r} is nothing that a breaker obeys", "Give force_open or reset")
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            raise InvalidInput(
                "breaker",
                "is no name of a dependency",
                f"Give the name used in ctx.breaker(), {LONGEST_NAME} characters at most",
            )
        at = self.now().wall
        await self.noted(ORDER_KIND, None, {"dependency": name, "order": order, "at": at})
        self.breaker_book.order(name, at, order)

    async def set_priority(self, batch_id: str, priority: int) -> None:
        """Serve the batch with another priority from now on; greater is sooner."""
        await self.ready_to_write()
        self.state.batch(batch_id)
        await self.noted("priority", batch_id, {"priority": priority})
        self.perform(self.state.handle(events.PriorityChanged(batch_id, priority), self.now()))

    async def drain(self) -> None:
        """Every worker, those of ``dfbatch worker`` too, leaves after the item at hand; the pool starts none again.

        Durable before it is carried out; for how long it holds see ``scale``.
        """
        await self.ready_to_write()
        there = {name: worker.incarnation for name, worker in self.state.workers.items()}
        await self.noted(pool_orders.KIND, None, PoolOrder(0, 0, there).detail(self.config.session))
        self.pool.set_limits(0, 0)
        self.leaving.update(self.state.workers)
        self.wake_all()

    async def scale(self, low: int, high: int) -> None:
        """Keep from ``low`` to ``high`` workers from now on; durable before it is carried out.

        It holds while this manager lives, over its restarts after a crash too. One that is created anew, by the next
        ``connect(workers=...)`` after a shutdown, goes by the limits it is created with: yesterday's drain must not
        leave the user of today without workers. The two are told apart by ``config.session``, see ``pool_orders``.
        """
        await self.ready_to_write()
        await self.noted(pool_orders.KIND, None, PoolOrder(low, high).detail(self.config.session))
        self.pool.set_limits(low, high)
        self.adjust_pool()

    def obey_last_order(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Go on as operators told this manager in the life before this one; before any worker is started."""
        order = pool_orders.last_order(rows, self.config.session)
        if order is not None:
            self.pool.set_limits(order.low, order.high)
            self.drained.update(order.leaving)
