"""The calls of clients: submit, watch, pause, cancel, redrive, list."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dfbatch.actors.committer import Pending
from dfbatch.actors.effect_performer import CallTag, EffectPerformer
from dfbatch.actors.messages import Submit
from dfbatch.actors.recovering import encode_ranges, recovered_event, spec_of_row, stop_detail
from dfbatch.actors.submit_rows import batch_row, batches_table, job_tables, payload_table
from dfbatch.core import control, events, snapshots
from dfbatch.core.batch import BatchStop
from dfbatch.core.ids import new_batch_id
from dfbatch.core.progress import ProgressSnapshot
from dfbatch.core.states import BatchState, JobState
from dfbatch.errors import InvalidInput, StorageRefused, UnknownId
from dfbatch.ledger.recovery import recover_batch

SEED_BYTES = 64 << 20


class ClientCalls(EffectPerformer):
    """The part of the Manager that clients talk to."""

    # ----------------------------------------------------------------------------------- submit

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
            await self._durable(Pending(build, None, message.n_jobs, urgent=True, alone=True))
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
        await self._durable(
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
            await self._noted("sealed", batch_id, {"n_jobs": len(batch.jobs), "reason": reason})
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

    async def _durable(self, pending: Pending) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        pending.tag = CallTag(future)
        self.committer.put(pending)
        await future

    async def _noted(
        self, kind: str, batch_id: str | None, detail: Mapping[str, Any], queue: str | None = None
    ) -> None:
        """A row in ``events``, durable on return."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.note(kind, batch_id, queue, detail=detail, tag=CallTag(future))
        await future

    # ------------------------------------------------------------------------------------ watch

    async def progress(self, batch_id: str, wait_s: float = 0.0) -> ProgressSnapshot:
        """The batch now, or when it ends within ``wait_s`` seconds. Raises UnknownId for one not in memory."""
        await self.ready()
        desk = self.desks.get(batch_id)
        if desk is None:
            raise UnknownId(f"Batch '{batch_id}' is not at work here.")
        if wait_s > 0 and not desk.ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(desk.ended.wait(), wait_s)
        return self._snapshot(batch_id)

    async def active(self) -> list[ProgressSnapshot]:
        """Every batch in memory."""
        await self.ready()
        return [self._snapshot(batch_id) for batch_id in self.state.batches]

    async def job(self, batch_id: str, index: int) -> dict[str, Any]:
        """State of one job: ``state, attempts, worker_deaths, generation, steps``."""
        await self.ready()
        batch = self.state.batch(batch_id)
        jobs = batch.jobs
        if not 0 <= index < len(jobs):
            raise UnknownId(f"Batch '{batch_id}' has {len(jobs)} jobs; there is no job '{batch_id}-{index}'.")
        state = JobState.of(int(jobs.state[index]))
        if state is JobState.QUEUED and batch.paused is not None:
            state = JobState.PAUSED
        return {
            "state": state.value,
            "attempts": int(jobs.attempts[index]),
            "worker_deaths": int(jobs.deaths[index]),
            "generation": int(jobs.generation[index]),
            "steps": self.desks[batch_id].steps.get(index, []),
        }

    async def workers(self) -> list[dict[str, Any]]:
        """Each worker: name, state, node, what it works on and since when, memory, restarts, jobs done."""
        await self.ready()
        found = []
        for worker in self.state.workers.values():
            beat = self.beats.get(worker.name)
            current = beat.current if beat is not None and worker.leases else None
            found.append(
                {
                    "worker": worker.name,
                    "state": worker.state.value,
                    "node": worker.node,
                    "shape": worker.shape,
                    "leases": len(worker.leases),
                    "current_job": f"{current[0]}-{current[1]}" if current else None,
                    "memory_bytes": beat.rss if beat is not None else None,
                    "restarts": worker.restarts,
                    "jobs_done": worker.n_done,
                    "seen_s_ago": round(self.now().mono - worker.seen_at, 3),
                }
            )
        return found

    async def queues(self) -> list[dict[str, Any]]:
        await self.ready()
        return [
            {
                "queue": q.name,
                "paused": q.paused,
                "waiting": q.n_open - q.n_running,
                "running": q.n_running,
                "policy": q.policy.as_options(),
            }
            for q in self.state.queues.values()
        ]

    async def health(self) -> dict[str, Any]:
        """How the manager does; answered in every state."""
        await self.ensure_started()
        committing = self.committing
        stalled = {b.batch_id: b.stalled for b in self.state.batches.values() if b.stalled}
        return {
            "status": self.status,
            "reason": self.reason or self.state.storage_refusing or "",
            "epoch": self.state.epoch,
            "workers": len(self.state.live_workers()),
            "open_batches": sum(b.finished_as is None for b in self.state.batches.values()),
            "stalled": stalled,
            "duplicates_suppressed": self.state.duplicates_suppressed,
            "worker_deaths": self.state.worker_deaths,
            "backlog_rows": committing.backlog_rows if committing is not None else 0,
            "recovery_s": self.recovery_s,
        }

    def _snapshot(self, batch_id: str) -> ProgressSnapshot:
        desk = self.desks[batch_id]
        found = snapshots.progress(self.state, batch_id, self.now())
        return replace(found, verdicts=dict(desk.verdicts), errors=dict(desk.errors))

    # ---------------------------------------------------------------------------------- control

    async def pause(self, batch_id: str) -> None:
        await self.ready()
        batch = self.state.batch(batch_id)
        if batch.paused is None or batch.finished_as is not None:
            self.perform(self.state.handle(events.BatchPaused(batch_id), self.now()))
            await self._noted("paused", batch_id, {"reason": "paused"})

    async def resume(self, batch_id: str) -> None:
        await self.ready()
        if self.state.batch(batch_id).paused is not None:
            await self._noted("resumed", batch_id, {})
            self.perform(self.state.handle(events.BatchResumed(batch_id), self.now()))

    async def cancel(self, batch_id: str, reason: str = "") -> None:
        """Every job without an outcome becomes ``cancelled``; durable as one row, however many jobs there are."""
        await self.ready()
        batch = self.state.batch(batch_id)
        if batch.finished_as is not None or batch.stopping is not None:
            return
        stop = BatchStop(JobState.CANCELLED, BatchState.CANCELLED, reason or "Cancelled by the user.")
        await self._noted("stopped", batch_id, stop_detail(stop))
        if not batch.sealed:
            await self.seal(batch_id)
        self.perform(self.state.handle(events.BatchStopped(batch_id, stop), self.now()))

    async def cancel_job(self, batch_id: str, index: int) -> None:
        await self.ready()
        self.perform(self.state.handle(events.JobsCancelled(batch_id, np.array([index], np.int64)), self.now()))

    async def set_priority(self, batch_id: str, priority: int) -> None:
        await self.ready()
        self.state.batch(batch_id)
        await self._noted("priority", batch_id, {"priority": priority})
        self.perform(self.state.handle(events.PriorityChanged(batch_id, priority), self.now()))

    async def redrive(self, batch_id: str, indices: npt.NDArray[np.int64] | None = None) -> int:
        """Begin the next generation of jobs that failed, expired or were cancelled; returns how many."""
        await self.ready()
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
        await self._noted("redriven", batch_id, {"ranges": encode_ranges(chosen)})
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
        await self.ready()
        policy = self.state.queue(queue).policy.changed(**changes) if changes else None
        detail = {"policy": policy.as_options() if policy else None, "paused": paused}
        await self._noted("queue_changed", None, detail, queue)
        self.perform(self.state.handle(events.QueueChanged(queue, policy, paused), self.now()))
        return self.state.queue(queue).policy.as_options()

    async def scale(self, low: int, high: int) -> None:
        await self.ready()
        self.pool.set_limits(low, high)
        self.pool.reconcile(self.workers_wanted())

    def workers_wanted(self) -> int:
        """Workers for the work that could run now; the pool keeps it within its limits."""
        waiting = running = 0
        for batch in self.state.batches.values():
            if batch.finished_as is None:
                running += batch.n_running
                waiting += batch.n_waiting if batch.has_ready_work() else 0
        return waiting + running
