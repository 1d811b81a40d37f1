"""The calls that bring work in: submit, extend, seal."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from dfbatch.actors.committer import Pending
from dfbatch.actors.effect_performer import EffectPerformer
from dfbatch.actors.manager_base import ManagerConfig, PoolPort
from dfbatch.actors.messages import Submit
from dfbatch.actors.recovering import spec_of_row
from dfbatch.actors.reuse_followers import Followers
from dfbatch.actors.submit_rows import batch_row, batches_table, job_tables, payload_table
from dfbatch.clock import Clock
from dfbatch.core import events
from dfbatch.core.batch import BatchSpec
from dfbatch.core.ids import new_batch_id
from dfbatch.core.resource_shape import ResourceShape
from dfbatch.core.retry import Retry
from dfbatch.errors import (
    CommitUnknown,
    DfbatchError,
    InvalidInput,
    ManagerUnavailable,
    ResourcesUnavailable,
    StorageRefused,
)

SEED_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, eq=False)
class _Arrival:
    content: str
    settled: asyncio.Future[None]


class SubmitCalls(EffectPerformer):
    """The part of the Manager that takes work in."""

    def __init__(self, config: ManagerConfig, pool: PoolPort, clock: Clock | None = None) -> None:
        super().__init__(config, pool, clock)
        self._arriving: dict[str, _Arrival] = {}
        """Submits on their way to the ledger, by batch id."""

    async def submit(self, message: Submit, verifier_sha: str) -> str:
        """Make a batch durable and start it; returns its id. A repeat of ``submit_id`` or ``key`` gives the same batch.

        Raises QueueFull, KeyConflict, StorageRefused; nothing was accepted then.
        """
        repeated = await self._repeat_of(message.submit_id)
        if repeated is not None:
            return repeated
        await self.ready_to_write()
        content_of = await self._content_of(message.key)
        await self._check_placeable(message)
        followers = await self.begin_reuse(message)
        now = self.now()
        message = replace(message, options=self._with_queue_retry(message))
        row = batch_row(message, self._fresh_id(now.wall), verifier_sha, now.wall)
        spec = spec_of_row(row, message.n_jobs)
        existing = self.state.admit(spec, content_of).existing
        if existing is not None:
            return await self._arrived(existing)
        # From here on the state knows the submit: a repeat that comes before the task has begun waits as others do.
        arrival = _Arrival(spec.content, asyncio.get_running_loop().create_future())
        self._arriving[spec.batch_id] = arrival
        await self._to_the_end(self._arrive(arrival, spec, row, message, followers))
        return spec.batch_id

    async def _repeat_of(self, submit_id: str) -> str | None:
        """The batch of an earlier call of this submit; nothing is written, so storage that refuses says nothing."""
        await self.ready()
        existing = self.state.submit_ids.get(submit_id) if submit_id else None
        return None if existing is None else await self._arrived(existing)

    async def _arrived(self, batch_id: str) -> str:
        """Acknowledged means durable, for a repeat too. Raises what kept the submit out."""
        if batch_id in self._arriving:
            await asyncio.shield(self._arriving[batch_id].settled)
        return batch_id

    async def _arrive(
        self, arrival: _Arrival, spec: BatchSpec, row: dict[str, Any], message: Submit, followers: Followers | None
    ) -> None:
        """Write the rows, then let the batch begin; on failure its place is given back."""

        def build() -> dict[str, pa.Table]:
            tables = job_tables(spec.batch_id, 0, spec.n_jobs, message.jobs, message.inputs) if spec.n_jobs else {}
            return {**tables, "batches": batches_table(row)}

        try:
            await self.durable(Pending(build, None, spec.n_jobs, urgent=True, alone=True))
        except BaseException as error:
            self.state.withdraw(spec)
            told = _told(error)
            arrival.settled.set_exception(told)
            arrival.settled.exception()  # nobody need have waited for it
            if isinstance(error, asyncio.CancelledError):
                raise
            raise told from error
        else:
            desk = self.make_desk(row)
            self._seed(desk.payload, 0, message)
            effects = self.state.handle(events.BatchSubmitted(spec), self.now())
            self.tallies.of(spec.queue).submitted += spec.n_jobs
            self.hold_followers(spec.batch_id, followers)
            self.perform(effects)
            self.adjust_pool()
            arrival.settled.set_result(None)
        finally:
            del self._arriving[spec.batch_id]

    async def _check_placeable(self, message: Submit) -> None:
        """What no node could ever run is refused, unless it repeats what was accepted once."""
        if message.key in self.state.keys:
            return
        lacks = await self.pool.lacks(ResourceShape.of(message.shape)) if message.shape else None
        if lacks is not None:
            raise ResourcesUnavailable(lacks)

    def _with_queue_retry(self, message: Submit) -> dict[str, Any]:
        """A batch without a retry policy of its own keeps the one its queue has when it is submitted."""
        queue = self.state.queues.get(message.queue)
        retry = (queue.policy.retry if queue else None) or Retry()
        return {"retry": retry.as_options(), **message.options}

    async def _content_of(self, key: str | None) -> dict[str, str]:
        """What was submitted under this key before, wherever that batch is by now."""
        batch_id = self.state.keys.get(key) if key is not None else None
        if batch_id is None:
            return {}
        if batch_id in self._arriving:
            return {batch_id: self._arriving[batch_id].content}
        if batch_id in self.state.batches:
            return {batch_id: self.state.batches[batch_id].spec.content}
        reader = self.ledger.reader
        rows = await asyncio.get_running_loop().run_in_executor(
            None, lambda: reader.read("batches", batch_id=batch_id, columns=["batch_id", "options"]).to_pylist()
        )
        return {row["batch_id"]: json.loads(row["options"]).get("content", "") for row in rows}

    async def extend(self, batch_id: str, n: int, first: int, jobs: pa.Table | None, inputs: pa.Table | None) -> int:
        """Add jobs ``first .. first + n`` to a streamed batch; returns how many it has. A repeat changes nothing.

        Raises QueueFull (come again later), InvalidInput if the batch is sealed, StorageRefused.
        """
        await self.ready_to_write()
        self.state.handle(events.ProducerSeen(batch_id), self.now())
        return await self._to_the_end(self._extend(batch_id, n, first, jobs, inputs))

    async def _extend(self, batch_id: str, n: int, first: int, jobs: pa.Table | None, inputs: pa.Table | None) -> int:
        async with self.desks[batch_id].extending:  # a repeat waits for what it repeats
            batch = self.state.batch(batch_id)
            have = len(batch.jobs)
            if first + n <= have:
                return have
            if first != have or batch.sealed:
                raise InvalidInput("batch", f"{batch_id} has {have} jobs and cannot be extended at {first}")
            self.state.admit_more(batch_id, n)
            try:
                await self.durable(
                    Pending(lambda: job_tables(batch_id, first, n, jobs, inputs), None, n, urgent=True, alone=True)
                )
            except BaseException:
                self.state.withdraw_more(batch_id, n)
                raise
            table = payload_table(n, jobs, inputs)
            if table.nbytes <= SEED_BYTES:
                await asyncio.get_running_loop().run_in_executor(
                    self.readers, self.desks[batch_id].payload.seed, table, first
                )
            desk = self.desks[batch_id]
            reuses = desk.order.reuses
            followers = await self.followers_of(desk.facts.kind, first, jobs, inputs) if reuses else None
            effects = self.state.handle(events.BatchExtended(batch_id, n, first), self.now())
            self.tallies.of(batch.spec.queue).submitted += n
            self.hold_followers(batch_id, followers)
            self.perform(effects)
            return first + n

    async def seal(self, batch_id: str, reason: str | None = None) -> None:
        """No more jobs will come. ``reason``: why not all came that were meant to."""
        await self.ready_to_write()
        self.state.batch(batch_id)
        await self.seal_durably(batch_id, reason)

    async def feeding(self, batch_id: str) -> bool:
        """A sign of life of whoever feeds a streamed batch; answers whether the batch takes more."""
        await self.ready()
        self.state.handle(events.ProducerSeen(batch_id), self.now())
        batch = self.state.batch(batch_id)
        return not batch.sealed and batch.stopping is None

    async def reading_dataset(self, reader: str, goes_on: bool = True) -> None:
        """A client reads a Ray Dataset: the pool leaves a CPU to the read. To be said again every few seconds."""
        await self.ready()
        self.dataset_reads.pop(reader, None)
        if goes_on:
            self.dataset_reads[reader] = self.now().mono
        self.spare_a_cpu()

    def _fresh_id(self, wall: float) -> str:
        taken = {*self.desks, *self._arriving, *self.state.submit_ids.values()}
        while (batch_id := new_batch_id(wall, self.rng)) in taken or self.state.is_taken(batch_id):
            pass
        return batch_id

    def _seed(self, payload: Any, first: int, message: Submit) -> None:
        """Rows just submitted are at hand: the first leases need not read them back."""
        if message.n_jobs:
            table = payload_table(message.n_jobs, message.jobs, message.inputs)
            if table.nbytes <= SEED_BYTES:
                self.readers.submit(payload.seed, table, first)


def _told(error: BaseException) -> DfbatchError:
    """What the caller of a submit hears. That nothing was accepted is said only if that is certain."""
    if isinstance(error, CommitUnknown | asyncio.CancelledError):  # the manager ends before it could be told
        return ManagerUnavailable(f"{error} The next manager knows; the same submit once more gets its answer.")
    return error if isinstance(error, DfbatchError) else StorageRefused(str(error))
