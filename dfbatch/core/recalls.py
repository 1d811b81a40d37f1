"""Chunks that are called back before their end, for work that waits: what a worker has not begun, it hands back."""

from __future__ import annotations

from collections.abc import Iterable

from dfbatch.core.books import Books, Worker
from dfbatch.core.effects import Recall
from dfbatch.core.instant import Instant
from dfbatch.core.lease import Lease


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
