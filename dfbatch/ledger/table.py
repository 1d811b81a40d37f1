"""One table as its writer holds it: a version, and commits that are either the next one or refused.

The handle never looks for the newest version: what it did not commit itself it learns only by being refused. That is
what keeps a manager that was replaced from writing once more.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from dfbatch.clock import Clock
from dfbatch.errors import LedgerCorrupt, LedgerFenced, StorageRefused
from dfbatch.ledger import columns, delta_log
from dfbatch.ledger.arrow_types import storable_schema
from dfbatch.ledger.delta_log import DataFile, Entry
from dfbatch.ledger.log_commits import LogCommits
from dfbatch.ledger.schemas import TABLES
from dfbatch.ledger.snapshot import ARROW_SCHEMA_KEY, Snapshot, encode_schema, last_checkpoint, load_snapshot
from dfbatch.ledger.storage import Storage

LOW_CARDINALITY = (
    "batch_id",
    "queue",
    "kind",
    "media_type",
    "status",
    "verdict",
    "error_class",
    "error_type",
    "worker_id",
    "node",
    "verifier_fingerprint",
    "model_fingerprint",
    "outputs",
    "reasons.list.element",
    "findings.list.element.detector",
    "findings.list.element.version",
    "findings.list.element.reason",
    "provenance.state",
    "provenance.trust_list",
)
"""Columns of few distinct values; a dictionary on any other costs more time than it saves space."""

_PAYLOAD_ROWS = 131_072
_OUTCOME_ROWS = 65_536

MERGE_FILES = 64
"""So many small files of a table are merged into one."""

FREE_NAMES_PROVE_S = 21_600.0
"""After so long without a commit it is looked up whether the log went on; must be well below the grace of a sweep."""

_RECENT_BYTES = 16 << 20
"""Small tables just written stay in memory up to this sum, because reading 64 files takes longer than a merge may."""


class LedgerTable:
    """The writer's handle on one table. Used by one thread."""

    def __init__(self, storage: Storage, log: LogCommits, clock: Clock, token: str, snapshot: Snapshot) -> None:
        self.name = snapshot.table
        self.snapshot = snapshot
        self.epoch = 0
        self._storage = storage
        self._log = log
        self._clock = clock
        self._token = token
        self._schema = snapshot.stored_schema
        self._pending: dict[int, DataFile] = {}
        self._landed: set[int] = set()
        self._current_at = clock.now()
        self._recent: OrderedDict[str, tuple[pa.Table, int]] = OrderedDict()
        self._recent_bytes = 0

    @classmethod
    def open(
        cls, storage: Storage, log: LogCommits, clock: Clock, token: str, name: str, schema: pa.Schema
    ) -> LedgerTable:
        """The table of this name, created with ``schema`` if there is none yet."""
        snapshot = load_snapshot(storage, name)
        if snapshot is None:
            configuration = {} if name in TABLES else {ARROW_SCHEMA_KEY: encode_schema(schema)}
            try:
                log.create_table(name, storable_schema(schema), configuration, int(clock.now().wall * 1000))
            except FileExistsError:
                storage.sync(delta_log.log_path(name, 0))
            snapshot = load_snapshot(storage, name)
        if snapshot is None:
            raise LedgerCorrupt(f"The table {name} was created and is not there; check the storage under it.")
        return cls(storage, log, clock, token, snapshot)

    @property
    def version(self) -> int:
        """Number of the newest log entry that this writer knows."""
        return self.snapshot.version

    def fence(self, epoch: int) -> None:
        """Take the table over for ``epoch``: from here on every older manager is refused.

        Raises LedgerFenced if a manager of the same or a newer epoch was faster.
        """
        if delta_log.epoch_of(self.snapshot.commit) >= epoch:
            raise LedgerFenced(self.name, epoch, delta_log.epoch_of(self.snapshot.commit))
        self.epoch = epoch
        self._commit(Entry(commit=delta_log.commit_id(epoch, 0), token=self._token))

    def append(self, table: pa.Table, commit: int) -> int:
        """Add rows as one file, sorted by key; returns the version.

        May be called again with the same ``commit`` after StorageRefused: rows never appear twice.
        """
        if commit in self._landed:
            self._landed.discard(commit)
            return self.version
        file = self._pending.get(commit)
        if file is None:
            rows = columns.sort_by_key(columns.conform(table, self._schema, self.name))
            file = self._pending[commit] = self.write_file(rows, commit)
            self._remember(file, rows)
        version = self._commit(Entry(adds=[file], commit=commit, token=self._token))
        self._pending.pop(commit, None)
        self._landed.discard(commit)
        return version

    def exchange_files(
        self, added: Sequence[DataFile], removed: Sequence[DataFile], commit: int, *, drops_rows: bool = False
    ) -> int:
        """Put files in the place of others that hold the same rows or, with ``drops_rows``, more."""
        now_ms = self._now_ms()
        removes = [(file.path, now_ms) for file in removed]
        entry = Entry(adds=list(added), removes=removes, commit=commit, token=self._token, drops_rows=drops_rows)
        version = self._commit(entry)
        for file in removed:
            self._forget(file.path)
        return version

    def write_file(
        self,
        table: pa.Table,
        commit: int,
        *,
        data_change: bool = True,
        name: str | None = None,
        row_group_size: int | None = None,
    ) -> DataFile:
        """Write rows that already have the stored columns; no one sees them before they are in the log.

        File names begin with the commit, or with ``name``, so that they sort as their rows were written.
        """
        ordered = columns.sort_by_key(table)
        path = f"{name or format(commit, '016x')}-{secrets.token_hex(4)}.parquet"
        rows = _PAYLOAD_ROWS if self.name.startswith(("jobs", "inputs")) else row_group_size or _OUTCOME_ROWS
        dictionary = {*columns.encoded_columns(ordered), *LOW_CARDINALITY}
        size = self._storage.write_parquet(
            f"{self.name}/{path}", ordered, row_group_size=rows, dictionary_columns=sorted(dictionary)
        )
        batches, indices = columns.bounds(ordered)
        return DataFile(path, size, len(ordered), self._now_ms(), batches, indices, data_change)

    def rows_of(self, files: Sequence[DataFile]) -> pa.Table:
        """All rows of some files, in the order of the files; those just written are still in memory."""
        filesystem, base = self._storage.filesystem()
        tables = []
        for file in files:
            rows, _ = self._recent.get(file.path, (None, 0))
            try:
                if rows is None:
                    rows = pq.read_table(f"{base}/{self.name}/{file.path}", filesystem=filesystem, partitioning=None)
                tables.append(columns.decoded(rows, self._schema))
            except (pa.ArrowInvalid, KeyError, OSError) as error:
                raise LedgerCorrupt(f"The data file {self.name}/{file.path} is damaged: {error}") from error
            if len(rows) != file.rows:
                raise LedgerCorrupt(f"The data file {self.name}/{file.path} lacks rows that the log says it has.")
        return pa.concat_tables(tables)

    def _remember(self, file: DataFile, rows: pa.Table) -> None:
        size = rows.nbytes
        if size > _RECENT_BYTES // MERGE_FILES:
            return
        self._recent[file.path] = rows, size
        self._recent_bytes += size
        while self._recent_bytes > _RECENT_BYTES:
            self._forget(next(iter(self._recent)))

    def _forget(self, path: str) -> None:
        _, size = self._recent.pop(path, (None, 0))
        self._recent_bytes -= size

    def pending_paths(self) -> set[str]:
        """Files written whose commit was not acknowledged yet."""
        return {file.path for file in self._pending.values()}

    def is_newest(self) -> bool:
        """False if another manager has gone on from here."""
        if self._storage.exists(delta_log.log_path(self.name, self.version + 1)):
            return False
        return last_checkpoint(self._storage, self.name) <= self.version

    def _commit(self, entry: Entry) -> int:
        while True:
            version = self.version + 1
            try:
                self._log.commit(self.name, version, entry, self._schema, self._now_ms())
            except FileExistsError:
                if self._catch_up(version) == entry.commit:
                    return version
            else:
                self._require_recent(version)
                self.snapshot.apply(version, entry)
                return version

    def _catch_up(self, version: int) -> int | None:
        """Learn what took ``version``; returns its commit id if this manager wrote it. Raises LedgerFenced."""
        path = delta_log.log_path(self.name, version)
        try:
            entry = delta_log.parse(self._storage.read(path), path)
        except FileNotFoundError as error:
            self._require_unreplaced(version)
            raise StorageRefused(f"{path} was refused by the storage, but is not there. It is tried again.") from error
        mine = entry.commit is not None and entry.token == self._token
        other = delta_log.epoch_of(entry.commit or 0)
        if not mine and other >= self.epoch:
            raise LedgerFenced(self.name, self.epoch, other)
        if mine:
            self._storage.sync(path)
        self.snapshot.apply(version, entry)
        if mine and entry.commit in self._pending:
            self._pending.pop(entry.commit)
            self._landed.add(entry.commit)
        return entry.commit if mine else None

    def _require_recent(self, version: int) -> None:
        """After a long sleep a free name proves nothing: a successor may have used it and swept it away since."""
        now = self._clock.now()
        slept = max(now.wall - self._current_at.wall, now.mono - self._current_at.mono)
        if slept > FREE_NAMES_PROVE_S or now.wall < self._current_at.wall:
            self._require_unreplaced(version)
        self._current_at = now

    def _require_unreplaced(self, version: int) -> None:
        if last_checkpoint(self._storage, self.name) < version:
            return
        newest = load_snapshot(self._storage, self.name)
        raise LedgerFenced(self.name, self.epoch, delta_log.epoch_of(newest.commit) if newest else 0)

    def _now_ms(self) -> int:
        return int(self._clock.now().wall * 1000)
