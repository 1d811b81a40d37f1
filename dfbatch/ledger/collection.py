"""Collects blobs and verifiers that no batch refers to any more.

A file goes when it was found unreferenced twice, a day apart, and is older than a day: whoever stores bytes that are
there already makes them young again (``blobs.put``), so a submit on its way never loses them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfbatch.errors import StorageRefused, StorageUnusable
from dfbatch.ledger.storage import Storage
from dfbatch.ledger.table import LedgerTable

COLLECT_EVERY_S = 6 * 3_600.0
GRACE_S = 86_400.0
MARKS_FILE = "unreferenced.json"
"""When each file was first found without a reference."""
_REFERENCES = {"blobs": ("jobs", "blob"), "verifiers": ("batches", "verifier_sha")}
"""By folder the table and column that name its files."""
_DELETED_AT_ONCE = 64


class Collection:
    """Used by the writer's thread."""

    def __init__(self, storage: Storage, tables: Mapping[str, LedgerTable]) -> None:
        self._storage = storage
        self._tables = tables
        self._looked_at: float | None = None
        self._work: Iterator[None] | None = None
        self._found: dict[str, set[str]] = {}

    def committed(self, name: str, rows: pa.Table) -> None:
        """Rows became durable: what they refer to is not collected, even if a look is under way."""
        for folder, (table, column) in _REFERENCES.items():
            if name == table and self._found.get(folder) and column in rows.column_names:
                self._found[folder] -= _values(rows.column(column))

    def step(self, now_wall: float) -> bool:
        """Do one bounded step; False if nothing is due. Raises StorageRefused."""
        if self._work is None:
            if self._looked_at is not None and 0 <= now_wall - self._looked_at < COLLECT_EVERY_S:
                return False
            self._looked_at = now_wall
            self._work = self._collect(now_wall)
        work, self._work = self._work, None  # a step that fails ends the look; the next one begins anew
        try:
            for _ in work:
                self._work = work
                return True
        except (pa.ArrowInvalid, OSError, StorageUnusable) as error:
            self._found = {}
            raise StorageRefused(f"Files without a reference could not be looked for: {error}") from error
        self._found = {}
        return False

    def _collect(self, now_wall: float) -> Iterator[None]:
        old = now_wall - GRACE_S
        for folder in _REFERENCES:
            listed = self._storage.list(folder)
            self._found[folder] = {i.path.rpartition("/")[2] for i in listed if i.mtime < old}
        marks = self._marks()
        if not any(self._found.values()):
            return
        for folder, (name, column) in _REFERENCES.items():
            if self._found[folder]:
                yield from self._forget_referenced(folder, self._tables[name], column)
        kept: dict[str, float] = {}
        for folder, names in self._found.items():
            doomed = sorted(n for n in names if marks.get(f"{folder}/{n}", now_wall) <= old)
            for start in range(0, len(doomed), _DELETED_AT_ONCE):
                self._delete(folder, doomed[start : start + _DELETED_AT_ONCE], old)
                yield
            left = names.difference(doomed)
            kept |= {f"{folder}/{n}": marks.get(f"{folder}/{n}", now_wall) for n in left}
        if kept != marks:
            self._storage.replace(MARKS_FILE, json.dumps(kept).encode())

    def _forget_referenced(self, folder: str, table: LedgerTable, column: str) -> Iterator[None]:
        filesystem, base = self._storage.filesystem()
        for file in list(table.snapshot.files.values()):
            with pq.ParquetFile(f"{base}/{table.name}/{file.path}", filesystem=filesystem) as parquet:
                for batch in parquet.iter_batches(batch_size=262_144, columns=[column]):
                    self._found[folder] -= _values(batch.column(column))
            yield

    def _delete(self, folder: str, names: list[str], old: float) -> None:
        """Each is looked at once more: somebody may have stored, or submitted, the same bytes in this moment."""
        if not all(table.is_newest() for table in self._tables.values()):
            return  # another manager has gone on from here
        for name in names:
            changed_at = self._storage.modified(f"{folder}/{name}")
            if name in self._found[folder] and changed_at is not None and changed_at < old:
                self._storage.delete(f"{folder}/{name}")

    def _marks(self) -> dict[str, float]:
        try:
            found = json.loads(self._storage.read(MARKS_FILE))
        except (FileNotFoundError, ValueError):
            return {}
        return {str(k): float(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _values(column: pa.Array | pa.ChunkedArray) -> set[str]:
    return {value for value in pc.unique(column.cast(pa.string())).to_pylist() if value is not None}
