"""The calls that look and change nothing: progress, jobs, workers, queues, health."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

from dfbatch.actors.breaker_book import shown_breakers
from dfbatch.actors.effect_performer import EffectPerformer
from dfbatch.core import resting, snapshots
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
        """Each worker: name, state, node, what it works on and since when (wall seconds), memory, restarts, jobs done.

        ``queues``: those it serves, None is all. ``idle_but_backlog``: see ``core.idleness``.
        """
        await self.ready()
        found, now = [], self.now()
        for worker in self.state.workers.values():
            beat = self.beats.get(worker.name)
            if beat is not None and beat.incarnation != worker.incarnation:
                beat = None  # of a process that is gone
            current = beat.current if beat is not None else None
            if current is not None and all(lease.batch_id != current[0] for lease in worker.leases.values()):
                current = None
            found.append(
                {
                    "worker": worker.name,
                    "state": resting.state_of(worker).value,
                    "node": worker.node,
                    "pid": self.pids.get(worker.name),
                    "shape": worker.shape,
                    "queues": None if worker.queues is None else list(worker.queues),
                    "leases": len(worker.leases),
                    "current_job": f"{current[0]}-{current[1]}" if current else None,
                    "current_since": current[2] if current else None,
                    "memory_bytes": beat.rss if beat is not None else None,
                    "restarts": worker.restarts,
                    "jobs_done": worker.n_done,
                    "rate_per_s": worker.rate.per_s(now.mono),
                    "idle_but_backlog": self.idle_watch.is_idle_but_backlog(worker, now),
                    "seen_s_ago": round(now.mono - worker.seen_at, 3),
                    "breakers": shown_breakers(worker.breakers, self.now().mono),
                }
            )
        return found

    async def queues(self) -> list[dict[str, Any]]:
        """What is in each queue, and its limits."""
        await self.ready()
        return snapshots.queue_stats(self.state, self.now())

    def _snapshot(self, batch_id: str) -> ProgressSnapshot:
        desk = self.desks[batch_id]
        found = snapshots.progress(self.state, batch_id, self.now())
        return replace(found, verdicts=dict(desk.verdicts), errors=dict(desk.errors))
