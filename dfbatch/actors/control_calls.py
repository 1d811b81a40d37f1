"""The calls of operators: pause, resume, cancel, redrive, priorities, limits, the number of workers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dfbatch.actors.recovering import encode_ranges, recovered_event, stop_detail
from dfbatch.actors.submit_calls import SubmitCalls
from dfbatch.core import control, events
from dfbatch.core.batch import BatchStop
from dfbatch.core.states import BatchState, JobState
from dfbatch.errors import UnknownId
from dfbatch.ledger.recovery import recover_batch


class ControlCalls(SubmitCalls):
    """The part of the Manager that operators talk to."""

    async def pause(self, batch_id: str) -> None:
        await self.ready_to_write()
        batch = self.state.batch(batch_id)
        if batch.paused is None or batch.finished_as is not None:
            self.perform(self.state.handle(events.BatchPaused(batch_id), self.now()))
            await self.noted("paused", batch_id, {"reason": "paused"})

    async def resume(self, batch_id: str) -> None:
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
        await self.ready_to_write()
        self.perform(self.state.handle(events.JobsCancelled(batch_id, np.array([index], np.int64)), self.now()))

    async def set_priority(self, batch_id: str, priority: int) -> None:
        await self.ready_to_write()
        self.state.batch(batch_id)
        await self.noted("priority", batch_id, {"priority": priority})
        self.perform(self.state.handle(events.PriorityChanged(batch_id, priority), self.now()))

    async def redrive(self, batch_id: str, indices: npt.NDArray[np.int64] | None = None) -> int:
        """Begin the next generation of jobs that failed, expired or were cancelled; returns how many."""
        await self.ready_to_write()
        if batch_id not in self.state.batches:
            await self._bring_back(batch_id)
        batch = self.state.batch(batch_id)
        while batch.jobs.n_terminal > int(batch.durable.sum()):
            # Outcomes on their way to the ledger settle first: a generation ends before the next begins.
            await asyncio.sleep(0.02)
        can = control.redrivable(self.state, batch_id)
        chosen = can if indices is None else np.intersect1d(can, indices)
        if not len(chosen):
            return 0
        await self.noted("redriven", batch_id, {"ranges": encode_ranges(chosen)})
        desk = self.desks[batch_id]
        desk.errors.clear()
        self.perform(self.state.handle(events.Redriven(batch_id, chosen), self.now()))
        return len(chosen)

    async def _bring_back(self, batch_id: str) -> None:
        """An ended batch that is no longer in memory, read back from the ledger."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, recover_batch, self.ledger.reader, batch_id)
        if found is None:
            raise UnknownId(f"There is no batch '{batch_id}' in this ledger. client.batches() lists those there are.")
        self.make_desk(found.row)
        self.state.handle(recovered_event(found, False), self.now())

    async def set_queue(self, queue: str, changes: Mapping[str, Any], paused: bool | None = None) -> dict[str, Any]:
        """Change limits of a queue; they persist. Returns the policy in force."""
        await self.ready_to_write()
        policy = self.state.queue(queue).policy.changed(**changes) if changes else None
        detail = {"policy": policy.as_options() if policy else None, "paused": paused}
        await self.noted("queue_changed", None, detail, queue)
        self.perform(self.state.handle(events.QueueChanged(queue, policy, paused), self.now()))
        return self.state.queue(queue).policy.as_options()

    async def scale(self, low: int, high: int) -> None:
        await self.ready()
        self.pool.set_limits(low, high)
        self.pool.reconcile(self.workers_wanted())
