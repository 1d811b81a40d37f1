"""The items of a batch, read by job index: the row groups that hold them, kept in memory as long as there is room."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dfbatch.errors import LedgerCorrupt
from dfbatch.ledger.arrow_types import convert
from dfbatch.ledger.columns import Int64s, numbers, take_rows
from dfbatch.ledger.delta_log import DataFile
from dfbatch.ledger.joining import latest_of
from dfbatch.ledger.payload_memory import SHELF_BYTES, PayloadMemory, Shelf
from dfbatch.ledger.reading import LedgerReader

JOB_COLUMNS = ("job_index", "uri", "blob", "filename")


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows ``low..high`` (inclusive) of one row group; ``file`` empty for rows that were seeded."""

    file: str
    number: int
    low: int
    high: int


class _Column:
    """Rows of one table of the batch, by job index."""

    def __init__(
        self, reader: LedgerReader, batch_id: str, table: str, columns: tuple[str, ...], shelf: Shelf[_Group]
    ) -> None:
        self._reader = reader
        self._batch_id = batch_id
        self._table = table
        self._columns = list(columns)
        self._shelf = shelf
        self._groups: list[_Group] = []
        self._footers: dict[str, list[_Group]] = {}
        self._seeds = 0

    def rows(self, indices: Int64s) -> pa.Table:
        """The rows of these sorted indices, in their order. Raises LedgerCorrupt if one is not there."""
        seeded = [group for group in self._shelf.kept() if not group.file]
        for groups in (seeded, self._groups, None):
            with contextlib.suppress(FileNotFoundError):  # merged away since it was looked up
                table = self._find(indices, self._look_up() if groups is None else groups)
                if table is not None:
                    return table
        raise LedgerCorrupt(
            f"The ledger under {self._reader.storage.root} lacks rows of {self._table} for jobs "
            f"{indices[0]}..{indices[-1]} of batch {self._batch_id}. Restore the folder {self._table} from a backup."
        )

    def seed(self, table: pa.Table, first_index: int) -> None:
        self._seeds += 1
        group = _Group("", self._seeds, first_index, first_index + len(table) - 1)
        index = pa.array(np.arange(first_index, first_index + len(table), dtype=np.int64))
        rest = table.select([name for name in self._columns if name != "job_index"])
        self._shelf.put(group, rest.add_column(0, "job_index", index).select(self._columns))

    def forget(self) -> None:
        self._shelf.clear()
        self._footers, self._groups = {}, []

    def _find(self, indices: Int64s, groups: list[_Group]) -> pa.Table | None:
        needed = [
            group
            for group in groups
            if (place := np.searchsorted(indices, group.low)) < len(indices) and indices[place] <= group.high
        ]
        if not needed:
            return None
        parts = [self._load(group) for group in needed]
        whole = _cut_straight(indices, needed, parts)
        if whole is not None:
            return whole
        rows = pa.concat_tables(parts)
        index = numbers(rows.column("job_index"))
        order = latest_of(index)
        have = index[order]
        places = np.searchsorted(have, indices)
        if places[-1] >= len(have) or not bool(np.all(have[places] == indices)):
            return None
        return take_rows(rows, order[places])

    def _load(self, group: _Group) -> pa.Table:
        kept = self._shelf.get(group)
        if kept is not None:
            return kept
        snapshot = self._reader.snapshot(self._table)
        schema = snapshot.schema if snapshot else pa.schema([])
        with self._open(group.file) as file:
            table = file.read_row_group(group.number, columns=["batch_id", *self._columns])
        mine = np.flatnonzero(np.asarray(table.column("batch_id").to_numpy() == self._batch_id))
        n_read, table = len(table), take_rows(table, mine).select(self._columns)
        if len(table) < n_read and table.nbytes <= SHELF_BYTES:
            # Kept as a slice it would keep all that was read, the rows of other batches too.
            table = table.take(pa.array(np.arange(len(table))))
        columns = [convert(table.column(name), schema.field(name).type) for name in self._columns]
        table = pa.table(columns, names=self._columns)
        self._shelf.put(group, table)
        return table

    def _look_up(self) -> list[_Group]:
        """The row groups of the batch as the log has them now."""
        snapshot = self._reader.snapshot(self._table)
        files = [file for file in list(snapshot.files.values()) if file.may_hold(self._batch_id)] if snapshot else []
        self._footers = {file.path: self._footers.get(file.path) or self._footer(file) for file in files}
        self._groups = [group for file in files for group in self._footers[file.path]]
        return self._groups

    def _footer(self, file: DataFile) -> list[_Group]:
        with self._open(file.path) as opened:
            metadata = opened.metadata
            names = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
            batch, index = names.index("batch_id"), names.index("job_index")
            groups = []
            for number in range(metadata.num_row_groups):
                about = metadata.row_group(number)
                ids, bounds = about.column(batch).statistics, about.column(index).statistics
                if ids.min <= self._batch_id <= ids.max:
                    groups.append(_Group(file.path, number, bounds.min, bounds.max))
        return groups

    def _open(self, path: str) -> Any:
        filesystem, base = self._reader.storage.filesystem()
        return pq.ParquetFile(f"{base}/{self._table}/{path}", filesystem=filesystem)


def _cut_straight(indices: Int64s, groups: list[_Group], parts: list[pa.Table]) -> pa.Table | None:
    """The rows without any search, for neighbours out of groups without gaps: what nearly every lease asks for."""
    first, last = int(indices[0]), int(indices[-1])
    if last - first + 1 != len(indices):
        return None
    cut, place = [], first
    for group, part in sorted(zip(groups, parts, strict=True), key=lambda pair: pair[0].low):
        if group.low > place or len(part) != group.high - group.low + 1:
            return None
        if place <= min(last, group.high):
            n = min(last, group.high) - place + 1
            cut.append(part.slice(place - group.low, n))
            place += n
    return pa.concat_tables(cut) if place == last + 1 else None


class PayloadReader:
    """Items of one batch. Used by one thread, with all others of the same ``memory``, which bounds what they keep.

    ``max_bytes`` bounds what is kept of each table of this batch.
    ``is_media``: the batch has rows in ``jobs``; one of a user's items has only its inputs.
    """

    def __init__(
        self,
        reader: LedgerReader,
        batch_id: str,
        inputs_table: str | None,
        *,
        is_media: bool = True,
        memory: PayloadMemory | None = None,
        max_bytes: int = SHELF_BYTES,
    ) -> None:
        memory = PayloadMemory() if memory is None else memory
        self._jobs = self._inputs = None
        if is_media or inputs_table is None:
            self._jobs = _Column(reader, batch_id, "jobs", JOB_COLUMNS, Shelf(memory, batch_id, max_bytes))
        if inputs_table is not None:
            shelf = Shelf[_Group](memory, batch_id, max_bytes)
            self._inputs = _Column(reader, batch_id, inputs_table, ("job_index", "input"), shelf)

    def slice(self, indices: Int64s) -> pa.Table:
        """Columns ``job_index, uri, blob, filename`` and, if the batch has inputs, ``input``.

        ``indices``: sorted int64. Raises LedgerCorrupt if a job is not in the ledger.
        """
        if self._jobs is not None:
            rows = self._jobs.rows(indices)
        else:
            nothing = pa.nulls(len(indices), pa.string())
            rows = pa.table([pa.array(indices), *[nothing] * (len(JOB_COLUMNS) - 1)], names=list(JOB_COLUMNS))
        if self._inputs is None:
            return rows
        return rows.append_column("input", self._inputs.rows(indices).column("input"))

    def seed(self, table: pa.Table, first_index: int) -> None:
        """Keep rows that were just submitted: ``uri, blob, filename`` and ``input``, job ``first_index`` first."""
        if self._jobs is not None:
            self._jobs.seed(table, first_index)
        if self._inputs is not None:
            self._inputs.seed(table, first_index)

    def forget(self) -> None:
        """Keep nothing in memory; what is asked for later is read from the ledger."""
        for column in (self._jobs, self._inputs):
            if column is not None:
                column.forget()
