"""How the manager does: facts for ``client.health()``, answered in every state."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from dfbatch.actors.metrics_sampler import MetricsSampler
from dfbatch.actors.opening import OpenedLedger
from dfbatch.core import resting, snapshots
from dfbatch.core.metrics import open_breakers
from dfbatch.errors import DfbatchError
from dfbatch.version import __version__

DISK_PATIENCE_S = 2.0
"""A disk that does not say within this time how much is free is left out; a network mount may hang."""


class HealthCalls(MetricsSampler):
    """The part of the Manager that says how it does."""

    async def health(self) -> dict[str, Any]:
        """Plain facts; ``dfbatch.client.health`` says what they mean. Never raises."""
        await self.ensure_started()
        state, now, committing = self.state, self.now(), self.committing
        stalled = {b.batch_id: b.stalled for b in state.batches.values() if b.stalled}
        workers = state.workers.values()
        return {
            "status": self.status,
            "reason": self.reason or state.storage_refusing or self._pool_reason(),
            "epoch": state.epoch,
            "version": __version__,
            "uptime_s": now.mono - self.running_since if self.status == "running" else 0.0,
            "recovery_s": self.recovery_s,
            "storage_path": self.config.storage_path,
            "storage_refusing": state.storage_refusing,
            "free_bytes": await _free_bytes(self.opened),
            "backlog_rows": committing.backlog_rows if committing is not None else 0,
            "workers": len(state.live_workers()),
            "workers_by_state": dict(Counter(resting.state_of(worker).value for worker in workers)),
            "idle_but_backlog": [w.name for w in workers if self.idle_watch.is_idle_but_backlog(w, now)],
            "worker_deaths": state.worker_deaths,
            "open_batches": sum(b.finished_as is None for b in state.batches.values()),
            "stalled": stalled,
            "queues": snapshots.queue_stats(state, now),
            "open_breakers": dict(Counter(open_breakers(state))),
            "duplicates_suppressed": state.duplicates_suppressed,
            "last_sample_age_s": now.mono - self.sampled_at if self.status == "running" else None,
        }

    def _pool_reason(self) -> str:
        return self.pool_error and (
            f"Workers cannot be started ({self.pool_error}). "
            f"Cancel the batch that asks for them, and correct what it needs."
        )


async def _free_bytes(opened: OpenedLedger | None) -> int | None:
    """Room on the storage, None where nobody knows."""
    if opened is None:
        return None
    asking = asyncio.get_running_loop().run_in_executor(None, opened.storage.free_bytes)
    try:
        return await asyncio.wait_for(asyncio.shield(asking), DISK_PATIENCE_S)
    except (TimeoutError, OSError, DfbatchError):
        return None
