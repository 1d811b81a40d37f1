"""The calls that bring work in: submit, extend, seal."""

from __future__ import annotations

import asyncio
from typing import Any

import pyarrow as pa

from dfbatch.actors.committer import Pending
from dfbatch.actors.effect_performer import EffectPerformer
from dfbatch.actors.messages import Submit
from dfbatch.actors.recovering import spec_of_row
from dfbatch.actors.submit_rows import batch_row, batches_table, job_tables, payload_table
from dfbatch.core import events
from dfbatch.core.ids import new_batch_id
from dfbatch.errors import InvalidInput, StorageRefused

SEED_BYTES = 64 << 20


class SubmitCalls(EffectPerformer):
    """The part of the Manager that takes work in."""

    async def submit(self, message: Submit, verifier_sha: str) -> str:
        """Make a batch durable and start it; returns its id. A repeat of ``submit_id`` or ``key`` gives the same batch.

        Raises QueueFull, KeyConflict, StorageRefused; nothing was accepted then.
        """
        await self.ready()
        if self.state.storage_refusing is not None:
            raise StorageRefused(
                f"The ledger refuses writes ({self.state.storage_refusing}); nothing was accepted. "
                f"Make room or mend the storage, then submit again."
            )
        now = self.now()
        batch_id = self._fresh_id(now.wall)
        row = batch_row(message, batch_id, verifier_sha, now.wall)
        spec = spec_of_row(row, message.n_jobs)
        admission = self.state.admit(spec, {b: s.spec.content for b, s in self.state.batches.items()})
        if admission.existing is not None:
            return admission.existing

        def build() -> dict[str, pa.Table]:
            tables = job_tables(batch_id, 0, message.n_jobs, message.jobs, message.inputs) if message.n_jobs else {}
            return {**tables, "batches": batches_table(row)}

        try:
            await self.durable(Pending(build, None, message.n_jobs, urgent=True, alone=True))
        except BaseException:
            self.state.withdraw(spec)
            raise
        desk = self.make_desk(row)
        self._seed(desk.payload, 0, message)
        self.perform(self.state.handle(events.BatchSubmitted(spec), self.now()))
        self.pool.reconcile(message.n_jobs)
        return batch_id

    async def extend(self, batch_id: str, n: int, first: int, jobs: pa.Table | None, inputs: pa.Table | None) -> int:
        """Add jobs ``first .. first + n`` to a streamed batch; returns how many it has. A repeat changes nothing."""
        await self.ready()
        batch = self.state.batch(batch_id)
        have = len(batch.jobs)
        if first + n <= have:
            return have
        if first != have or batch.sealed:
            raise InvalidInput("batch", f"{batch_id} has {have} jobs and cannot be extended at {first}")
        await self.durable(
            Pending(lambda: job_tables(batch_id, first, n, jobs, inputs), None, n, urgent=True, alone=True)
        )
        table = payload_table(n, jobs, inputs)
        if table.nbytes <= SEED_BYTES:
            await asyncio.get_running_loop().run_in_executor(
                self.readers, self.desks[batch_id].payload.seed, table, first
            )
        self.perform(self.state.handle(events.BatchExtended(batch_id, n), self.now()))
        return first + n

    async def seal(self, batch_id: str, reason: str | None = None) -> None:
        """No more jobs will come."""
        await self.ready()
        batch = self.state.batch(batch_id)
        if not batch.sealed:
            await self.noted("sealed", batch_id, {"n_jobs": len(batch.jobs), "reason": reason})
            self.perform(self.state.handle(events.BatchSealed(batch_id, reason), self.now()))

    def _fresh_id(self, wall: float) -> str:
        taken = {*self.desks, *self.state.submit_ids.values()}
        while (batch_id := new_batch_id(wall, self.rng)) in taken:
            pass
        return batch_id

    def _seed(self, payload: Any, first: int, message: Submit) -> None:
        """Rows just submitted are at hand: the first leases need not read them back."""
        if message.n_jobs:
            table = payload_table(message.n_jobs, message.jobs, message.inputs)
            if table.nbytes <= SEED_BYTES:
                self.readers.submit(payload.seed, table, first)
