"""Which batches may leave the ledger, and what is forgotten of them then."""

from __future__ import annotations

from collections.abc import Collection

from dfbatch.core.books import Books
from dfbatch.core.dead_letters import n_dead_letters


def may_retire(books: Books, batch_id: str) -> bool:
    """True for a batch that has ended and has no dead letters."""
    if batch_id in books.reserved or batch_id in books.shelved:
        return False
    batch = books.batches.get(batch_id)
    return batch is None or (batch.finished_as is not None and n_dead_letters(batch) == 0)


def retire(books: Books, batch_ids: Collection[str]) -> None:
    """Forget batches whose rows leave the ledger. Their keys may be used again; their ids are not drawn again soon."""
    gone = set(batch_ids)
    for batch_id in gone:
        batch = books.batches.pop(batch_id, None)
        if batch is not None:
            books.finished.pop(batch_id, None)
            books.n_finished_jobs -= len(batch.jobs)
        books.past_ids[batch_id] = None
    for key in [key for key, batch_id in books.keys.items() if batch_id in gone]:
        del books.keys[key]
