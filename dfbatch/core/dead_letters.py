"""Dead letters: jobs that failed or expired, and that nobody has redriven or purged since.

Batches that left memory leave the number of theirs behind (``Books.shelved``), so
that a queue's count needs no look into the ledger.
"""

from __future__ import annotations

import numpy as np

from dfbatch.core.batch import Batch
from dfbatch.core.books import Books, ShelvedBatch
from dfbatch.core.effects import Effect
from dfbatch.core.events import Purged
from dfbatch.core.instant import Instant
from dfbatch.core.ready import Indices
from dfbatch.core.states import JobState


def dead_letters(batch: Batch) -> Indices:
    """The dead letters of a batch whose rows are durable, sorted."""
    ended = batch.jobs.in_states(JobState.FAILED, JobState.EXPIRED)
    return without_purged(batch, np.setdiff1d(ended, batch.unwritten(), assume_unique=True))


def without_purged(batch: Batch, indices: Indices) -> Indices:
    """Those of the sorted, distinct ``indices`` that were not purged."""
    return np.setdiff1d(indices, batch.purged, assume_unique=True) if len(batch.purged) else indices


def n_dead_letters(batch: Batch) -> int:
    """How many dead letters ``dead_letters`` would give, without a look at the jobs."""
    durable = batch.durable
    return int(durable[JobState.FAILED.code] + durable[JobState.EXPIRED.code]) - len(batch.purged)


def shelve(books: Books, batch_id: str, queue: str, n_dead: int) -> None:
    """Remember how many dead letters a batch has that is not in memory."""
    books.queue(queue)
    if n_dead > 0:
        books.shelved[batch_id] = ShelvedBatch(queue, n_dead)
    else:
        books.shelved.pop(batch_id, None)


def on_purged(books: Books, event: Purged, now: Instant) -> list[Effect]:
    """These dead letters are none any more. Others among the indices are left as they are."""
    batch = books.batches.get(event.batch_id)
    if batch is not None:
        mine = np.intersect1d(dead_letters(batch), event.indices)
        batch.purged = np.union1d(batch.purged, mine)
        return []
    shelved = books.shelved.get(event.batch_id)
    if shelved is not None:
        shelve(books, event.batch_id, shelved.queue, shelved.n_dead - len(event.indices))
    return []
