"""Waiting for the committer's news: whoever reads the ledger may know of an outcome before the manager does."""

from __future__ import annotations

import asyncio

import numpy as np

from dfbatch.core.books import Books
from dfbatch.core.ready import Indices

_LOOK_S = 0.01


async def await_rows_of(books: Books, batch_id: str, indices: Indices | None = None) -> None:
    """Return when the rows are durable that were on their way for these jobs, or for all, when it was called.

    Rows that follow are not waited for. A batch that is being stopped is not waited for either: it refuses what
    needs its rows.
    """
    batch = books.batches.get(batch_id)
    if batch is None:
        return
    awaited = batch.unwritten()
    if indices is not None:
        awaited = np.intersect1d(awaited, indices)
    while len(awaited) and books.batches.get(batch_id) is batch:
        if batch.stopping is not None and batch.finished_as is None:
            return
        await asyncio.sleep(_LOOK_S)
        awaited = np.intersect1d(awaited, batch.unwritten())
