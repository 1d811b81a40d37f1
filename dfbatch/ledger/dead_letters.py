"""Dead letters as the ledger has them: failed and expired outcomes that nobody has redriven or purged since."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dfbatch.core.states import JobState
from dfbatch.ledger.batch_table import detail_of
from dfbatch.ledger.columns import numbers, take_rows
from dfbatch.ledger.ranges import Ranges, in_ranges
from dfbatch.ledger.reading import LedgerReader

DEAD_STATES = (JobState.FAILED.value, JobState.EXPIRED.value)
KEY_COLUMNS = ("batch_id", "job_index", "generation")
_FEW_BATCHES = 8
"""So many batches are read one by one, by the statistics of the files; more of them in one scan."""


def batches_with_failures(reader: LedgerReader, queue: str) -> list[str]:
    """Batches of a queue, oldest first, that may have dead letters: some job failed, or they have not ended."""
    table = reader.batches().select(["batch_id", "queue", "detail"])
    found = []
    for batch_id, of_queue, detail in zip(*(column.to_pylist() for column in table.columns), strict=True):
        counts = detail_of(detail).get("counts") if detail else None
        if of_queue == queue and (counts is None or any(counts.get(state) for state in DEAD_STATES)):
            found.append(batch_id)
    return found


def dead_letter_rows(
    reader: LedgerReader, batch_ids: Collection[str], columns: Sequence[str] | None = None
) -> pa.Table:
    """Rows of ``results`` that are dead letters, sorted by (batch_id, job_index).

    ``columns`` must include KEY_COLUMNS; None is all of them.
    """
    dead = pc.field("status").isin(list(DEAD_STATES))
    rows = read_batches(reader, "results", batch_ids, columns, dead)
    return rows.filter(pa.array(_still_dead(reader, rows))) if len(rows) else rows


def read_batches(
    reader: LedgerReader, name: str, batch_ids: Collection[str], columns: Sequence[str] | None, expression: Any = None
) -> pa.Table:
    """Rows of some batches, sorted by (batch_id, job_index)."""
    ids = sorted(set(batch_ids))
    if len(ids) > _FEW_BATCHES:
        id_field = pc.field("batch_id")
        where = id_field.isin(ids) & (id_field >= ids[0]) & (id_field <= ids[-1])
        where = where if expression is None else where & expression
        return reader.read(name, columns=columns, expression=where)
    if not ids:
        return reader.read(name, columns=columns, batch_id="")
    parts = [reader.read(name, batch_id=batch_id, columns=columns, expression=expression) for batch_id in ids]
    return pa.concat_tables(parts)


def split_by_batch(rows: pa.Table) -> dict[str, pa.Table]:
    """Rows that are sorted by batch, as one table a batch."""
    ids = np.asarray(rows.column("batch_id").to_pylist(), dtype=object)
    cuts = np.flatnonzero(ids[1:] != ids[:-1]) + 1
    starts, ends = [0, *cuts.tolist()], [*cuts.tolist(), len(ids)]
    return {ids[a]: rows.slice(a, b - a) for a, b in zip(starts, ends, strict=True) if b > a}


def _still_dead(reader: LedgerReader, rows: pa.Table) -> npt.NDArray[np.bool_]:
    """A row is of the past if its job was redriven since: each redrive begins the next generation."""
    redriven: dict[str, list[Ranges]] = {}
    purged: dict[str, list[Ranges]] = {}
    kinds = {"redriven": redriven, "purged": purged}
    events = reader.read(
        "events", columns=["batch_id", "kind", "detail"], expression=pc.field("kind").isin(list(kinds))
    )
    for batch_id, kind, detail in zip(*(column.to_pylist() for column in events.columns), strict=True):
        if batch_id is not None:
            kinds[kind].setdefault(batch_id, []).append(detail_of(detail).get("ranges", []))
    parts = []
    for batch_id, mine in split_by_batch(rows).items():
        index, generation = numbers(mine.column("job_index")), numbers(mine.column("generation"))
        present = sum((in_ranges(index, r) for r in redriven.get(batch_id, ())), np.zeros(len(index), np.int64))
        given_up = sum((in_ranges(index, r) for r in purged.get(batch_id, ())), np.zeros(len(index), np.int64))
        parts.append((generation == present) & (given_up == 0))
    return np.concatenate(parts)


def common_rows(one: pa.Table, other: pa.Table) -> pa.Table:
    """The rows of ``one`` (keys of one batch) that are in ``other`` too."""
    widest = 1 + max((int(numbers(t.column("generation")).max(initial=0)) for t in (one, other)), default=0)
    mine, theirs = (
        numbers(t.column("job_index")).astype(np.int64) * widest + numbers(t.column("generation")) for t in (one, other)
    )
    return take_rows(one, np.flatnonzero(np.isin(mine, theirs)))
