"""Chunks that are called back before their end: what a worker has not begun, it hands back."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dfbatch.core.batch import Batch
from dfbatch.core.books import Books, Worker
from dfbatch.core.effects import Recall
from dfbatch.core.instant import Instant
from dfbatch.core.lease import Lease
from dfbatch.core.ready import Indices
from dfbatch.core.states import JobState

JOBS_CANCELLED = "jobs cancelled"
"""Reason of a recall: what was not begun of the chunk comes back, and those of it that were cancelled end there."""


def may_be_cut(books: Books, lease: Lease) -> bool:
    """True if the rest of the chunk may be called back for others. Nobody is asked twice for one chunk."""
    batch = books.batches[lease.batch_id]
    return not lease.solo and lease.recalled_at is None and batch.paused is None and batch.stopping is None


def ask_to_yield(worker: Worker, leases: Iterable[Lease], now: Instant) -> Recall:
    """Have the worker hand back what it has not begun of these, which is noted on them."""
    asked = tuple(leases)
    for lease in asked:
        lease.recalled_at = now.mono
    return Recall(worker.name, tuple(lease.lease_id for lease in asked), "yield")


def recall_cancelled(books: Books, batch: Batch, leased: Indices) -> list[Recall]:
    """Have the workers of these jobs hand back what they have not begun, suspects too; the item at hand goes on.

    It leaves ``recalled_at`` alone: nobody makes room, so the worker's other chunks may still be asked for. A chunk
    may be called back again, which changes nothing. Those of a batch that is being stopped have been called back.
    """
    if batch.stopping is not None:
        return []
    by_worker: dict[str, list[int]] = {}
    for lease_id in np.unique(batch.jobs.lease[leased]).tolist():
        by_worker.setdefault(books.leases[lease_id].worker, []).append(lease_id)
    return [Recall(worker, tuple(ids), JOBS_CANCELLED) for worker, ids in by_worker.items()]


def holds_cancelled(batch: Batch, held: Indices) -> bool:
    """True if one of the jobs that a worker holds was cancelled, and not with the whole batch."""
    if batch.stopping is not None:
        return False
    inside = held[(held >= 0) & (held < len(batch.jobs))]
    ended = (batch.jobs.state[inside] == JobState.CANCELLED.code).any()
    return bool(ended) or bool(np.isin(inside, list(batch.cancel_asked)).any())
