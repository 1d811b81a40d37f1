"""What leaves a ledger by policy: ended batches beyond a queue's retention, and files that nothing refers to.

A batch is retired by one ``events`` row, which stays as its record. From then on no reader shows it; its rows are
removed by rewriting files, through the writer's thread and handles, a bounded step at a time, in any number of lives.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfbatch.errors import LedgerCorrupt
from dfbatch.ledger import columns
from dfbatch.ledger.batch_table import detail_of
from dfbatch.ledger.dead_letters import DEAD_STATES, KEY_COLUMNS, dead_letter_rows
from dfbatch.ledger.delta_log import DataFile
from dfbatch.ledger.maintenance import MERGED_GROUP_ROWS, STEP_ROWS
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.storage import Storage
from dfbatch.ledger.table import LedgerTable

MOST_AT_ONCE = 1_000
"""Batches that are retired together; the others follow."""
_RECORD = ("name", "kind", "n_jobs", "priority", "key", "verifier_name", "verifier_fingerprint", "client_version")


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """Of a queue: ended batches are kept ``keep_s`` seconds, and the newest ``keep_batches``. None is for ever, all."""

    keep_s: float | None = None
    keep_batches: int | None = None


def due(reader: LedgerReader, rules: Mapping[str, RetentionRule], now_wall: float) -> list[dict[str, Any]]:
    """Ended batches beyond their queue's rule, oldest first, as ``batch_id, queue, detail`` (the record that stays).

    One with dead letters that were not purged is kept, however old.
    """
    beyond = []
    newer = dict.fromkeys(rules, 0)
    for row in sorted(reader.batches().to_pylist(), key=_ended_at, reverse=True):
        rule = rules.get(row["queue"])
        if rule is None or row["finished_at"] is None:
            continue
        newer[row["queue"]] += 1
        too_many = rule.keep_batches is not None and newer[row["queue"]] > rule.keep_batches
        too_old = rule.keep_s is not None and now_wall - row["finished_at"].timestamp() >= rule.keep_s
        if too_many or too_old:
            beyond.append(row)
    beyond = beyond[::-1][:MOST_AT_ONCE]
    failed = [row["batch_id"] for row in beyond if any(_counts(row).get(state) for state in DEAD_STATES)]
    dead = set(pc.unique(dead_letter_rows(reader, failed, KEY_COLUMNS).column("batch_id")).to_pylist())
    return [_record(row) for row in beyond if row["batch_id"] not in dead]


def _ended_at(row: dict[str, Any]) -> tuple[float, str]:
    at = row["finished_at"]
    return (at.timestamp() if at is not None else 0.0, row["batch_id"])


def _counts(row: dict[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = detail_of(row["detail"]).get("counts", {})
    return counts


def _record(row: dict[str, Any]) -> dict[str, Any]:
    about = {name: row[name] for name in _RECORD if name in row}
    ended = detail_of(row["detail"])
    about |= {"status": row["status"], "counts": ended.get("counts", {}), "verdicts": ended.get("verdicts", {})}
    about |= {name: row[name].timestamp() for name in ("submitted_at", "finished_at") if row[name] is not None}
    return {"batch_id": row["batch_id"], "queue": row["queue"], "detail": about}


class Retention:
    """Removes the rows of retired batches. Used by the writer's thread."""

    def __init__(self, storage: Storage, tables: Mapping[str, LedgerTable], next_commit_id: Callable[[], int]) -> None:
        self._storage = storage
        self._tables = tables
        self._next_commit_id = next_commit_id
        self._retired: set[str] = set()
        self._work: Iterator[None] | None = None
        self._resumed = False
        self._damaged: set[str] = set()
        self._at = ""
        """The file at which the work is."""

    def batches_retired(self, batch_ids: Collection[str]) -> None:
        """Have the rows of these batches removed."""
        self._retired |= set(batch_ids)
        self._work = None

    def step(self) -> bool:
        """Do one bounded step; False if there is nothing to do. Raises StorageRefused and LedgerFenced like a commit.

        What an earlier manager left undone is found at the first call. A step that failed is tried again; LedgerCorrupt
        is raised once for a table, and its rows are left to the next manager.
        """
        if not self._resumed:
            self._resumed = True
            self._retired |= left_undone(LedgerReader(self._storage))
        if not self._retired:
            return False
        work = self._work if self._work is not None else self._remove(sorted(self._retired))
        self._work = None  # until the step has succeeded
        try:
            ended = next(work, _END) is _END
        except (pa.ArrowInvalid, OSError) as error:
            self._damaged.add(self._at.partition("/")[0])
            raise LedgerCorrupt(
                f"The data file {self._at} cannot be read, so rows of retired batches stay in it: {error}"
            ) from error
        if ended:
            self._retired.clear()
            return False
        self._work = work
        return True

    def _remove(self, ids: list[str]) -> Iterator[None]:
        """The row in ``batches`` goes last: as long as it is there, the work is known to be unfinished."""
        names = [name for name in sorted(self._tables) if name not in ("events", "batches")]
        for name in names:
            table = self._tables[name]
            if name not in self._damaged and "batch_id" in table.snapshot.schema.names:
                yield from self._remove_from(table, ids)
        if not self._damaged:
            yield from self._remove_from(self._tables["batches"], ids)

    def _remove_from(self, table: LedgerTable, ids: list[str]) -> Iterator[None]:
        clean: set[str] = set()
        while suspects := [f for f in table.snapshot.files.values() if f.path not in clean and _may_hold_any(f, ids)]:
            file = suspects[0]
            self._at = f"{table.name}/{file.path}"
            if file.batches is not None and file.batches[0] == file.batches[1]:
                self._exchange(table, [], file)
                yield
                continue
            keep = self._kept_rows(table, file, ids)
            yield
            if keep.all():
                clean.add(file.path)
                continue
            parts: list[DataFile] = []
            if keep.any():
                for rows in self._slices(table, file, keep):
                    name = file.path.partition("-")[0]
                    parts.append(self._write(table, rows, name))
                    clean.add(parts[-1].path)
                    yield
            # A merge may have put another file in its place meanwhile; that one is looked at next.
            if file.path in table.snapshot.files:
                self._exchange(table, parts, file)
                yield

    def _exchange(self, table: LedgerTable, parts: list[DataFile], file: DataFile) -> None:
        table.exchange_files(parts, [file], self._next_commit_id(), drops_rows=True)

    def _write(self, table: LedgerTable, rows: pa.Table, name: str) -> DataFile:
        return table.write_file(rows, 0, data_change=False, name=name, row_group_size=MERGED_GROUP_ROWS)

    def _kept_rows(self, table: LedgerTable, file: DataFile, ids: list[str]) -> Any:
        """For each row of the file whether it stays."""
        with self._open(table, file) as parquet:
            column = parquet.read(columns=["batch_id"]).column("batch_id")
        gone = pc.is_in(column.cast(pa.string()), value_set=pa.array(ids, pa.string()))
        return ~gone.to_numpy().astype(np.bool_)

    def _slices(self, table: LedgerTable, file: DataFile, keep: Any) -> Iterator[pa.Table]:
        """The rows that stay, in pieces of at most STEP_ROWS and whole row groups."""
        with self._open(table, file) as parquet:
            sizes = [parquet.metadata.row_group(k).num_rows for k in range(parquet.num_row_groups)]
            starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
            group = 0
            while group < len(sizes):
                last = max(group + 1, int(np.searchsorted(starts, starts[group] + STEP_ROWS, side="right")) - 1)
                mine = keep[starts[group] : starts[last]]
                if mine.any():
                    rows = parquet.read_row_groups(list(range(group, last)))
                    yield columns.decoded(rows, table.snapshot.stored_schema).filter(pa.array(mine))
                group = last

    def _open(self, table: LedgerTable, file: DataFile) -> Any:
        filesystem, base = self._storage.filesystem()
        return pq.ParquetFile(f"{base}/{table.name}/{file.path}", filesystem=filesystem)


_END = object()


def left_undone(reader: LedgerReader) -> set[str]:
    """Batches that were retired but whose rows are not all removed."""
    events = reader.read("events", columns=["batch_id", "kind"], expression=pc.field("kind") == "retired")
    retired = set(events.column("batch_id").to_pylist())
    if not retired:
        return set()
    return retired.intersection(reader.read("batches", columns=["batch_id"]).column("batch_id").to_pylist())


def _may_hold_any(file: DataFile, ids: list[str]) -> bool:
    if file.batches is None:
        return True
    place = bisect_left(ids, file.batches[0])
    return place < len(ids) and ids[place] <= file.batches[1]
