"""The calls about queues and what failed in them: policies, pause, redrive, purge."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from dfbatch.actors.control_calls import ControlCalls
from dfbatch.actors.manager_base import ManagerConfig, PoolPort
from dfbatch.actors.recovering import encode_ranges, recovered_event
from dfbatch.actors.rows_on_their_way import await_rows_of
from dfbatch.clock import Clock
from dfbatch.core import control, events
from dfbatch.core.batch import Batch
from dfbatch.core.dead_letters import dead_letters
from dfbatch.core.policy import QueuePolicy
from dfbatch.core.ready import Indices
from dfbatch.core.submitting import check_length
from dfbatch.errors import DfbatchError, StorageRefused, UnknownId
from dfbatch.ledger.columns import numbers, sort_by_key
from dfbatch.ledger.dead_letters import KEY_COLUMNS, common_rows, dead_letter_rows, split_by_batch
from dfbatch.ledger.recovery import recover_batches

ROWS_PATIENCE_S = 5.0
"""A redrive or purge waits for outcomes that are on their way to the ledger, unless none arrives for so long."""
_AT_ONCE = 64
"""Batches that are read back together."""
_TRIES = 5
_REQUESTS_KEPT = 10_000
"""Answers to requests that are remembered, for callers who lost theirs."""
_logger = logging.getLogger("dfbatch.manager")


class QueueCalls(ControlCalls):
    """The part of the Manager that keeps queues and their dead letters.

    Changes that the ledger must know before they are carried out go one after the
    other: two of them at once could each rest on what the other is about to change.
    """

    def __init__(self, config: ManagerConfig, pool: PoolPort, clock: Clock | None = None) -> None:
        super().__init__(config, pool, clock)
        self._changing = asyncio.Lock()
        self.requests: OrderedDict[str, int] = OrderedDict()
        """How many jobs each redrive and purge concerned, by the id that its caller drew."""

    async def set_queue(self, queue: str, changes: Mapping[str, Any], paused: bool | None = None) -> dict[str, Any]:
        """Change limits of a queue; they persist. Returns the policy in force. Raises InvalidInput."""
        await self.ready_to_write()
        async with self._changing:
            known = self.state.queues.get(queue)
            policy = (known.policy if known else QueuePolicy()).changed(**changes) if changes else None
            if policy is not None or paused is not None:
                detail = {"policy": policy.as_options() if policy else None, "paused": paused}
                await self.noted("queue_changed", None, detail, queue)
                self.perform(self.state.handle(events.QueueChanged(queue, policy, paused), self.now()))
            return self.state.queue(queue).policy.as_options()

    async def cancel(self, batch_id: str, reason: str = "") -> None:
        """Every job without an outcome becomes ``cancelled``; durable as one row, however many jobs there are."""
        async with self._changing:
            await super().cancel(batch_id, reason)

    async def cancel_job(self, batch_id: str, index: int) -> None:
        """See ``ControlCalls.cancel_job``. In the ledger it stands in order with what is redriven."""
        await self.ready_to_write()
        await self._to_the_end(self._cancel_job(batch_id, index))

    async def _cancel_job(self, batch_id: str, index: int) -> None:
        async with self._changing:
            await super().cancel_job(batch_id, index)

    async def redrive(self, batch_id: str, indices: Indices | None = None, request: str = "") -> int:
        """Begin the next generation of jobs that failed, expired or were cancelled; returns how many.

        A repeat of ``request`` begins none, and gets the same answer, in a later life of the manager too.
        Raises QueueFull if the queue has no room for them, InvalidInput while the batch is being stopped.
        """
        await self.ready_to_write()
        return await self._to_the_end(self._redrive(batch_id, indices, request))

    async def redrive_dead(self, queue: str, keys: pa.Table, request: str = "") -> int:
        """Redrive those of the ``keys`` (``batch_id, job_index, generation``) that still are dead letters.

        The generations make a repeated call harmless, and ``request`` gives it the same answer. All or nothing:
        raises QueueFull, InvalidInput while one of the batches is being stopped, UnknownId for an unknown queue.
        """
        await self.ready_to_write()
        return await self._to_the_end(self._redrive_dead(queue, keys, request))

    async def purge_dead(self, queue: str, keys: pa.Table, request: str = "") -> int:
        """Give up those of the ``keys`` that still are dead letters; returns how many. Their results stay.

        A repeat of ``request`` gets the same answer.
        """
        await self.ready_to_write()
        return await self._to_the_end(self._purge_dead(queue, keys, request))

    # ------------------------------------------------------------------------------------ inside

    async def _redrive(self, batch_id: str, indices: Indices | None, request: str) -> int:
        async with self._changing:
            if request in self.requests:  # a repeat; what it redrove may have failed again since
                return self.requests[request]
            if batch_id not in self.state.batches:
                await self._bring_back(batch_id)
            batch = self.state.batch(batch_id)
            await self._await_rows(batch_id, indices, to_the_last=True)
            can = control.redrivable(self.state, batch_id)
            chosen = can if indices is None else np.intersect1d(can, indices)
            await self._begin_again(batch.spec.queue, {batch_id: chosen} if len(chosen) else {}, request)
            return self._answer(request, len(chosen))

    async def _redrive_dead(self, queue: str, keys: pa.Table, request: str) -> int:
        async with self._changing:
            n = await self._begin_again(queue, await self._still_dead(queue, keys), request)
            return self._answer(request, n)

    async def _purge_dead(self, queue: str, keys: pa.Table, request: str) -> int:
        async with self._changing:
            chosen = await self._still_dead(queue, keys)
            await self._noted_each("purged", queue, chosen, request)
            for batch_id, indices in chosen.items():
                self.perform(self.state.handle(events.Purged(batch_id, indices), self.now()))
            return self._answer(request, sum(map(len, chosen.values())))

    def _answer(self, request: str, n: int) -> int:
        """What was done for a request in all. A manager may have died before it had done everything."""
        if not request:
            return n
        self.requests[request] = self.requests.get(request, 0) + n
        while len(self.requests) > _REQUESTS_KEPT:
            self.requests.popitem(last=False)
        return self.requests[request]

    async def _still_dead(self, queue: str, keys: pa.Table) -> dict[str, Indices]:
        """Sorted indices by batch; batches that have none are left out. Raises UnknownId."""
        if queue not in self.state.queues:
            there = ", ".join(sorted(self.state.queues)) or "none yet"
            raise UnknownId(f"There is no queue '{queue}' in this ledger. Queues: {there}.")
        given = split_by_batch(sort_by_key(keys.select(list(KEY_COLUMNS))))
        for batch_id, mine in given.items():
            await self._await_rows(batch_id, numbers(mine.column("job_index")))
        shelved = [b for b in given if b in self.state.shelved and self.state.shelved[b].queue == queue]
        in_ledger: dict[str, pa.Table] = {}
        if shelved:
            reader = self.ledger.reader
            rows = await asyncio.get_running_loop().run_in_executor(
                None, dead_letter_rows, reader, shelved, KEY_COLUMNS
            )
            in_ledger = split_by_batch(rows)
        chosen = {}
        for batch_id, mine in given.items():
            batch = self.state.batches.get(batch_id)
            if batch is not None and batch.spec.queue == queue:
                chosen[batch_id] = _of_batch(batch, mine)
            elif batch_id in in_ledger:
                chosen[batch_id] = numbers(common_rows(in_ledger[batch_id], mine).column("job_index"))
        return {batch_id: indices for batch_id, indices in chosen.items() if len(indices)}

    async def _await_rows(self, batch_id: str, indices: Indices | None, to_the_last: bool = False) -> None:
        """What is not in the ledger yet can be neither redriven nor purged. Raises StorageRefused if nothing arrives.

        ``to_the_last``: if every job has ended, wait for all of them.
        """
        batch = self.state.batches.get(batch_id)
        if batch is None:
            return

        async def rows() -> None:
            while to_the_last and batch.jobs.n_open == 0 and batch.jobs.n_terminal > int(batch.durable.sum()):
                await asyncio.sleep(0.02)
            await await_rows_of(self.state, batch_id, indices)

        waiting, n_durable = asyncio.ensure_future(rows()), int(batch.durable.sum())
        try:
            while not (await asyncio.wait({waiting}, timeout=ROWS_PATIENCE_S))[0]:
                n_before, n_durable = n_durable, int(batch.durable.sum())
                if n_durable == n_before:
                    # Other changes wait behind this one, those of other batches too.
                    raise StorageRefused(
                        f"The ledger has not taken the last outcomes of batch {batch_id} yet, so nothing was changed. "
                        f"See client.health(), and try again in a moment."
                    )
            waiting.result()
        finally:
            waiting.cancel()

    async def _begin_again(self, queue: str, chosen: dict[str, Indices], request: str) -> int:
        """The next generation of these jobs: checked, durable, and then carried out."""
        n = sum(map(len, chosen.values()))
        for batch_id, indices in chosen.items():
            if batch_id in self.state.batches:
                control.check_redrive(self.state, batch_id, indices)
        check_length(self.state, queue, n)
        for batch_id, indices in chosen.items():
            self.state.reserve(queue, batch_id, len(indices))
        try:
            await self._noted_each("redriven", queue, chosen, request)
        finally:
            for batch_id, indices in chosen.items():
                self.state.reserve(queue, batch_id, -len(indices))
        for batch_id, indices in chosen.items():
            if batch_id in self.state.batches:
                self.desks[batch_id].errors.clear()
                self.perform(self.state.handle(events.Redriven(batch_id, indices, noted=True), self.now()))
        await self._reopen([batch_id for batch_id in chosen if batch_id not in self.state.batches])
        return n

    async def _noted_each(self, kind: str, queue: str, chosen: Mapping[str, Indices], request: str) -> None:
        """One row in ``events`` per batch, all durable on return. They are put in one go, so they share commits."""
        details = {
            batch_id: {"ranges": encode_ranges(indices), "n": len(indices), "request": request}
            for batch_id, indices in chosen.items()
        }
        await asyncio.gather(*(self.noted(kind, batch_id, detail, queue) for batch_id, detail in details.items()))

    async def _bring_back(self, batch_id: str) -> None:
        """An ended batch that is no longer in memory, read back from the ledger. Raises UnknownId."""
        await self._reopen([batch_id])
        if batch_id not in self.state.batches:
            raise UnknownId(f"There is no batch '{batch_id}' in this ledger. client.batches() lists those there are.")

    async def _reopen(self, batch_ids: list[str]) -> None:
        """Batches as the ledger has them; those that it says were redriven are open and go on."""
        for start in range(0, len(batch_ids), _AT_ONCE):
            for found in await self._read_back(batch_ids[start : start + _AT_ONCE]):
                batch_id = found.row["batch_id"]
                desk = self.make_recovered_desk(found)
                effects = self.state.handle(recovered_event(found, False), self.now())
                if self.state.batch(batch_id).finished_as is None:
                    self.perform(effects)
                else:
                    desk.ended.set()
        self.adjust_pool()

    async def _read_back(self, batch_ids: list[str]) -> list[Any]:
        """Storage may be out of reach for a moment; what is durable is carried out all the same."""
        loop = asyncio.get_running_loop()
        for wait_s in (0.2 * 2**n for n in range(_TRIES - 1)):
            try:
                return await loop.run_in_executor(None, recover_batches, self.ledger.reader, batch_ids)
            except (DfbatchError, OSError) as error:
                _logger.warning("Batches cannot be read back yet: %s", error)
                await asyncio.sleep(wait_s)
        return await loop.run_in_executor(None, recover_batches, self.ledger.reader, batch_ids)


def _of_batch(batch: Batch, keys: pa.Table) -> Indices:
    """Those of the keys that are dead letters of the batch in its jobs' present generations."""
    index, generation = numbers(keys.column("job_index")), numbers(keys.column("generation"))
    known = (index >= 0) & (index < len(batch.jobs))
    index, generation = index[known], generation[known]
    return np.intersect1d(dead_letters(batch), index[batch.jobs.generation[index] == generation])
