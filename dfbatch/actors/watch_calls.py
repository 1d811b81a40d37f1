"""The calls that look and change nothing: progress, jobs, workers, queues, health."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

from dfbatch.actors.effect_performer import EffectPerformer
from dfbatch.core import snapshots
from dfbatch.core.progress import ProgressSnapshot
from dfbatch.core.states import JobState
from dfbatch.errors import UnknownId


class WatchCalls(EffectPerformer):
    """The part of the Manager that observers talk to."""

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
            "steps": self.step_book.of(batch_id, index, int(jobs.generation[index]), state),
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
                    "pid": self.pids.get(worker.name),
                    "shape": worker.shape,
                    "leases": len(worker.leases),
                    "current_job": f"{current[0]}-{current[1]}" if current else None,
                    "memory_bytes": beat.rss if beat is not None else None,
                    "restarts": worker.restarts,
                    "jobs_done": worker.n_done,
                    "rate_per_s": worker.rate.per_s(self.now().mono),
                    "seen_s_ago": round(self.now().mono - worker.seen_at, 3),
                }
            )
        return found

    async def queues(self) -> list[dict[str, Any]]:
        """What is in each queue, and its limits."""
        await self.ready()
        return snapshots.queue_stats(self.state, self.now())

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
