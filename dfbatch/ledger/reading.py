"""Reading a ledger: files are chosen by the statistics in the log, and read by Arrow's own file system.

deltalake's readers are not used: they call back into Rust while the interpreter ends and abort about every second
process.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from dfbatch.errors import LedgerCorrupt, LedgerError
from dfbatch.ledger import columns as ordering
from dfbatch.ledger import delta_log
from dfbatch.ledger.arrow_types import convert
from dfbatch.ledger.batch_table import TOLD_ONLY, with_status
from dfbatch.ledger.delta_log import DataFile
from dfbatch.ledger.joining import join_inputs, join_outputs, select_generation, unified_outputs
from dfbatch.ledger.layout import check_format, user_tables
from dfbatch.ledger.schemas import TABLES
from dfbatch.ledger.snapshot import Snapshot, in_key_order, load_snapshot, refresh
from dfbatch.ledger.storage import Storage

_T = TypeVar("_T")
_JOIN_COLUMNS = ("job_index", "generation", "commit_id", "outputs")


class LedgerReader:
    """Reads what is committed, whoever writes. May be used by several threads.

    ``intact_only``: a damaged log entry or data file is left out instead of raising LedgerCorrupt; ``damage`` then
    says what was left out.
    """

    def __init__(self, storage: Storage, *, intact_only: bool = False) -> None:
        check_format(storage)
        self.storage = storage
        self.damage: dict[str, str] = {}
        self._intact_only = intact_only
        self._snapshots: dict[str, Snapshot] = {}
        self._lock = threading.Lock()

    def table_names(self) -> list[str]:
        """Names of the tables that are there, ours and the user's."""
        return [name for name in [*TABLES, *user_tables(self.storage)] if self.snapshot(name) is not None]

    def snapshot(self, name: str) -> Snapshot | None:
        """The table as it is now; None if there is no such table. Belongs to the reader: look, do not change."""
        with self._lock:
            known = self._snapshots.get(name)
            if known is None or self._intact_only:
                found = load_snapshot(self.storage, name, intact_only=self._intact_only)
            else:
                found = refresh(self.storage, known)
            if found is not None:
                self._snapshots[name] = found
                if found.damage:
                    self.damage[name] = found.damage
            return found

    def read(
        self,
        name: str,
        *,
        batch_id: str | None = None,
        columns: Sequence[str] | None = None,
        index_range: tuple[int, int] | None = None,
        expression: Any = None,
    ) -> pa.Table:
        """Rows of one table, sorted by (batch_id, job_index) if it has that key and both columns are asked for.

        ``index_range``: half-open range of job_index. ``expression``: a further ``pyarrow.compute`` filter. Raises
        LedgerError if there is no such table, LedgerCorrupt if a file of it is damaged.
        """

        def once() -> pa.Table:
            snapshot = self._require(name)
            files = [file for file in list(snapshot.files.values()) if file.may_hold(batch_id, index_range)]
            where = _filter(snapshot.schema, batch_id, index_range, expression, files)
            return self._scan(snapshot, files, columns, where)

        return _sorted(self._again(once))

    def results(
        self,
        batch_id: str,
        *,
        columns: Sequence[str] | None = None,
        generation: int | Literal["latest", "all"] = "latest",
        index_range: tuple[int, int] | None = None,
    ) -> pa.Table:
        """The outcomes of a batch with ``input`` and ``output``, sorted by job_index.

        ``index_range``: half-open range of job_index.
        ``generation``: "latest" is one row per job, a number the rows of that generation, "all" every row.
        ``columns`` may name ``input`` and ``output``; they are there only if some job of the batch has one.
        """
        wanted = None if columns is None else list(columns)
        stored = None
        if wanted is not None:
            stored = list(dict.fromkeys([name for name in wanted if name not in ("input", "output")]))
            stored += [name for name in _JOIN_COLUMNS if name not in stored]
        rows = self.read("results", batch_id=batch_id, columns=stored, index_range=index_range)
        rows = select_generation(rows, generation)
        if wanted is None or "input" in wanted:
            rows = self._with_inputs(rows, batch_id)
        if wanted is None or "output" in wanted:
            rows = self._with_outputs(rows, batch_id)
        return rows if wanted is None else rows.select([name for name in wanted if name in rows.column_names])

    def joined(self, rows: pa.Table, batch_id: str) -> pa.Table:
        """Some rows of ``results`` of one batch with their ``input`` and ``output``."""
        return self._with_outputs(self._with_inputs(rows, batch_id), batch_id)

    def batches(self) -> pa.Table:
        """The batches, oldest first, with ``status``, ``finished_at`` and ``detail`` (JSON) of their last event."""
        return with_status(self.read("batches"), self.read("events", expression=~pc.field("kind").isin(TOLD_ONLY)))

    def tail(
        self, name: str, after_version: int, *, batch_id: str | None = None, columns: Sequence[str] | None = None
    ) -> tuple[int, list[pa.Table]]:
        """``(version, tables)``: the rows of each commit after ``after_version``, for readers that follow a table.

        Merges are not seen. If the log of that time is gone, all live rows come as one table: a reader that was away
        for more than a day sees rows again.
        """
        snapshot = self._require(name)
        last = snapshot.version
        try:
            found = [
                self._scan(snapshot, [file], columns, _filter(snapshot.schema, batch_id, None, None, [file]))
                for file in self._added(name, after_version, last)
                if file.may_hold(batch_id)
            ]
        except FileNotFoundError:
            return last, [self.read(name, batch_id=batch_id, columns=columns)]
        return last, [table for table in found if len(table)]

    def files(self, batch_id: str) -> list[dict[str, Any]]:
        """Data files that hold rows of a batch: ``table, path, size, rows`` (all in it) ``, batch_rows, batches``."""
        found = []
        for name in self.table_names():
            snapshot = self._require(name)
            if "batch_id" not in snapshot.schema.names:
                continue
            for file in list(snapshot.files.values()):
                if not file.may_hold(batch_id):
                    continue
                rows = len(self._scan(snapshot, [file], ["batch_id"], pc.field("batch_id") == batch_id))
                if rows:
                    path = f"{name}/{file.path}"
                    about = {"table": name, "path": path, "size": file.size, "rows": file.rows, "batch_rows": rows}
                    found.append(about)
        return found

    def _with_inputs(self, rows: pa.Table, batch_id: str) -> pa.Table:
        of_batch = self.read("batches", batch_id=batch_id, columns=["batch_id", "inputs"])
        name = next((name for name in reversed(of_batch.column("inputs").to_pylist()) if name), None)
        if name is None or not len(rows):
            return rows
        span = _span(rows)
        return join_inputs(rows, self.read(name, batch_id=batch_id, columns=["job_index", "input"], index_range=span))

    def _with_outputs(self, rows: pa.Table, batch_id: str) -> pa.Table:
        names = sorted(name for name in pc.unique(rows.column("outputs")).to_pylist() if name)
        if not names:
            return rows
        keys = ["job_index", "generation", "commit_id", "output"]
        span = _span(rows)
        found = [self.read(n, batch_id=batch_id, columns=keys, index_range=span) for n in names]
        return join_outputs(rows, unified_outputs(found))

    def _added(self, name: str, after: int, last: int) -> Iterator[DataFile]:
        for version in range(after + 1, last + 1):
            path = delta_log.log_path(name, version)
            yield from (file for file in delta_log.parse(self.storage.read(path), path).adds if file.data_change)

    def _require(self, name: str) -> Snapshot:
        found = self.snapshot(name)
        if found is None:
            raise LedgerError(f"There is no table '{name}' in the ledger under {self.storage.root}.")
        return found

    def _scan(
        self, snapshot: Snapshot, files: Sequence[DataFile], columns: Sequence[str] | None, where: Any
    ) -> pa.Table:
        """Read files in the order of their keys. Raises FileNotFoundError if one is gone."""
        schema, stored = snapshot.schema, snapshot.stored_schema
        names = list(columns) if columns is not None else stored.names
        filesystem, base = self.storage.filesystem()
        ordered = in_key_order(files, stored)
        if self._intact_only:
            ordered = list(self._intact(snapshot.table, ordered))
        paths = [f"{base}/{snapshot.table}/{file.path}" for file in ordered]
        try:
            dataset = _datasets().FileSystemDataset.from_paths(
                paths, schema=stored, format=_datasets().ParquetFileFormat(), filesystem=filesystem
            )
            table = dataset.to_table(columns=names, filter=where)
        except FileNotFoundError:
            raise
        except (pa.ArrowInvalid, OSError) as error:
            raise LedgerCorrupt(f"A data file of the table {snapshot.table} is damaged: {error}") from error
        wanted = [schema.field(name).type for name in names]
        if all(column.type.equals(kind) for column, kind in zip(table.columns, wanted, strict=True)):
            return table
        return pa.table([convert(c, kind) for c, kind in zip(table.columns, wanted, strict=True)], names=names)

    def _intact(self, table: str, files: Iterable[DataFile]) -> Iterator[DataFile]:
        filesystem, base = self.storage.filesystem()
        for file in files:
            path = f"{table}/{file.path}"
            try:
                _datasets().ParquetFileFormat().make_fragment(f"{base}/{path}", filesystem=filesystem).to_table()
            except (pa.ArrowInvalid, OSError) as error:
                self.damage[path] = f"The data file {path} is damaged or missing: {error}"
            else:
                yield file

    def _again(self, once: Callable[[], _T]) -> _T:
        """A file may vanish between listing and reading, by a merge more than a day ago: then list again, once."""
        with contextlib.suppress(FileNotFoundError):
            return once()
        with self._lock:
            self._snapshots.clear()
        try:
            return once()
        except FileNotFoundError as error:
            raise LedgerCorrupt(f"A data file of the ledger is missing: {error}. Restore it from a backup.") from error


def _datasets() -> Any:
    """``pyarrow.dataset``, which imports pandas where it is installed: not before something is read."""
    import pyarrow.dataset

    return pyarrow.dataset


def _span(rows: pa.Table) -> tuple[int, int]:
    """The half-open range of job_index of some rows, so that only their part of other tables is read."""
    index = ordering.numbers(rows.column("job_index"))
    return (int(index.min()), int(index.max()) + 1) if len(index) else (0, 0)


def _filter(
    schema: pa.Schema,
    batch_id: str | None,
    index_range: tuple[int, int] | None,
    expression: Any,
    files: Sequence[DataFile],
) -> Any:
    """The filter that is left to do when files were chosen by statistics; None if there is nothing."""
    where = expression
    if batch_id is not None and any(file.batches != (batch_id, batch_id) for file in files):
        part = pc.field("batch_id") == batch_id
        where = part if where is None else where & part
    if index_range is not None and "job_index" in schema.names:
        part = (pc.field("job_index") >= index_range[0]) & (pc.field("job_index") < index_range[1])
        where = part if where is None else where & part
    return where


def _sorted(table: pa.Table) -> pa.Table:
    if "batch_id" in table.column_names:
        return ordering.sort_by_key(table)
    return table
