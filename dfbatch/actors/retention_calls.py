"""Retention: now and then the manager looks which ended batches are beyond the policy of their queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from dfbatch.actors.manager_base import ManagerConfig, PoolPort
from dfbatch.actors.queue_calls import QueueCalls
from dfbatch.clock import Clock
from dfbatch.core.retention import may_retire, retire
from dfbatch.errors import DfbatchError
from dfbatch.ledger.retention import RetentionRule, due

LOOK_EVERY_S = 60.0
NOTES_S = 2.0
"""That a batch has ended is written a moment later; who asks for the retention waits so long for it."""
_logger = logging.getLogger("dfbatch.manager")


class RetentionCalls(QueueCalls):
    """The part of the Manager that retires batches. Their rows are removed by the committer when it is idle."""

    def __init__(self, config: ManagerConfig, pool: PoolPort, clock: Clock | None = None) -> None:
        super().__init__(config, pool, clock)
        self._look_at = 0.0
        """Monotonic: when to look next."""
        self._retiring = asyncio.Lock()
        """What is due is looked up again when the last to retire has written: a batch leaves one record."""

    async def set_queue(self, queue: str, changes: Mapping[str, Any], paused: bool | None = None) -> dict[str, Any]:
        """As of queues; a new retention is looked at soon."""
        policy = await super().set_queue(queue, changes, paused)
        self._look_at = 0.0
        return policy

    def retire_when_due(self) -> None:
        """Called at every tick; looks once a minute, if nothing waits to be written."""
        now = self.now().mono
        if now < self._look_at or self.committer.backlog_rows or self.state.storage_refusing is not None:
            return
        self._look_at = now + LOOK_EVERY_S
        if self._rules():
            self.spawn(self._try_to_retire())

    async def retire(self) -> int:
        """Retire what is beyond the policies now; returns how many batches. Each leaves a ``retired`` event."""
        await self.ready_to_write()
        until = asyncio.get_running_loop().time() + NOTES_S
        while self.committer.backlog_rows and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.01)
        return await self._to_the_end(self._retire())

    async def _try_to_retire(self) -> None:
        try:
            await self._retire()
        except (DfbatchError, OSError) as error:
            _logger.warning("The retention of queues could not be carried out, and is tried again: %s", error)

    async def _retire(self) -> int:
        async with self._retiring:
            rules, reader, wall = self._rules(), self.ledger.reader, self.now().wall
            found = await asyncio.get_running_loop().run_in_executor(None, due, reader, rules, wall) if rules else []
            async with self._changing:
                records = [record for record in found if may_retire(self.state, record["batch_id"])]
                # In one go, so that they share commits; a batch leaves memory only when that is durable.
                await asyncio.gather(*(self.noted("retired", r["batch_id"], r["detail"], r["queue"]) for r in records))
                retire(self.state, [record["batch_id"] for record in records])
                for record in records:
                    self.drop_desk(record["batch_id"])
            return len(records)

    def _rules(self) -> dict[str, RetentionRule]:
        return {
            queue.name: RetentionRule(queue.policy.retention_s, queue.policy.retention_batches)
            for queue in self.state.queues.values()
            if queue.policy.retention_s is not None or queue.policy.retention_batches is not None
        }
