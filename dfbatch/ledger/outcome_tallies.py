"""How often each verdict and each error is among the outcomes of a batch, read back from the ledger.

One column is read, in slices, and only where there is something to count: a batch of millions costs no more memory
than one slice of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfbatch.core.states import JobState
from dfbatch.ledger.columns import numbers
from dfbatch.ledger.ranges import in_ranges
from dfbatch.ledger.reading import LedgerReader

if TYPE_CHECKING:
    from dfbatch.ledger.recovery import RecoveredBatch

SLICE_ROWS = 1_000_000
MOST_ERROR_TYPES = 20


def add_tallies(reader: LedgerReader, batches: Sequence[RecoveredBatch]) -> None:
    """Fill in ``verdicts``, and ``errors`` of the present generations."""
    by_id = {batch.row["batch_id"]: batch for batch in batches}
    judged = [b for b in batches if b.row["kind"] == "verify" and len(b.result_index)]
    for rows in _slices(reader, judged, "verdict"):
        for batch_id, verdict, n in _counted(rows, "verdict"):
            by_id[batch_id].verdicts[verdict] += n
    failed = [b for b in batches if (b.result_status != JobState.SUCCEEDED.code).any()]
    for rows in _slices(reader, failed, "error_type"):
        for batch_id, error_type, n in _counted(_present(rows, by_id), "error_type"):
            by_id[batch_id].errors[error_type] += n
    for batch in failed:
        batch.errors = Counter(dict(batch.errors.most_common(MOST_ERROR_TYPES)))


def _slices(reader: LedgerReader, batches: Sequence[RecoveredBatch], column: str) -> Iterator[pa.Table]:
    """Rows that have the column: many small batches in one read, a big one in several."""
    columns = ["batch_id", "job_index", "generation", column]
    there = pc.field(column).is_valid()
    together: list[str] = []
    n_together = 0
    for batch in batches:
        batch_id, n = batch.row["batch_id"], len(batch.result_index)
        if n > SLICE_ROWS:
            for first in range(0, int(batch.result_index[-1]) + 1, SLICE_ROWS):
                span = (first, first + SLICE_ROWS)
                yield reader.read("results", batch_id=batch_id, columns=columns, index_range=span, expression=there)
            continue
        if n_together + n > SLICE_ROWS:
            yield reader.read("results", columns=columns, expression=there & pc.field("batch_id").isin(together))
            together, n_together = [], 0
        together.append(batch_id)
        n_together += n
    if len(together) == 1:
        yield reader.read("results", batch_id=together[0], columns=columns, expression=there)
    elif together:
        yield reader.read("results", columns=columns, expression=there & pc.field("batch_id").isin(together))


def _present(rows: pa.Table, by_id: dict[str, RecoveredBatch]) -> pa.Table:
    """Without rows of generations that a redrive has ended."""
    redriven = {
        batch_id: ranges
        for batch_id in pc.unique(rows.column("batch_id")).to_pylist()
        if (ranges := [e["detail"]["ranges"] for e in by_id[batch_id].events if e["kind"] == "redriven"])
    }
    if not redriven:
        return rows
    index, present = numbers(rows.column("job_index")), np.zeros(len(rows), np.int64)
    for batch_id, each in redriven.items():
        mine = numbers(pc.equal(rows.column("batch_id"), batch_id))
        for ranges in each:
            present[mine] += in_ranges(index[mine], ranges)
    return rows.filter(pa.array(numbers(rows.column("generation")) == present))


def _counted(rows: pa.Table, column: str) -> Iterator[tuple[str, str, int]]:
    found = rows.group_by(["batch_id", column]).aggregate([([], "count_all")])
    yield from zip(*(found.column(name).to_pylist() for name in ("batch_id", column, "count_all")), strict=True)
