"""The one writer of a ledger: takes it over, and commits groups of rows in an order that survives any crash."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace

import pyarrow as pa

from dfbatch.clock import Clock, SystemClock
from dfbatch.errors import InvalidInput, LedgerFenced
from dfbatch.ledger import delta_log
from dfbatch.ledger.collection import Collection
from dfbatch.ledger.layout import begin_ledger, check_format, user_tables
from dfbatch.ledger.lock import MANAGER_FILE, ManagerInfo
from dfbatch.ledger.log_commits import log_commits
from dfbatch.ledger.maintenance import Maintenance
from dfbatch.ledger.retention import Retention
from dfbatch.ledger.sample_retention import SampleRetention
from dfbatch.ledger.schemas import COMMIT_ORDER, TABLES
from dfbatch.ledger.storage import Storage
from dfbatch.ledger.table import LedgerTable


@dataclass(slots=True)
class CommitGroup:
    """Rows that are acknowledged together, by table name, written in ``schemas.COMMIT_ORDER``.

    ``commit_id`` is drawn at the first commit if it is None. ``committed`` tells which tables are done, so that the
    same group may be committed again after StorageRefused.
    """

    tables: dict[str, pa.Table]
    commit_id: int | None = None
    committed: set[str] = field(default_factory=set)

    def ordered(self) -> list[str]:
        """Table names in the order of writing; those of one kind by name."""
        return sorted(self.tables, key=lambda name: (_rank(name), name))


class LedgerWriter:
    """Writes a ledger under one epoch. Used by one thread; once fenced, every call raises LedgerFenced."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self.storage = storage
        self.epoch = 0
        self._clock = clock
        self._token = secrets.token_hex(8)
        self._log = log_commits(storage)
        self._tables: dict[str, LedgerTable] = {}
        self._upkeep: dict[str, Maintenance] = {}
        self._retention = Retention(storage, self._tables, self.next_commit_id)
        self._collection = Collection(storage, self._tables)
        self._samples = SampleRetention(self._tables, self.next_commit_id)
        self._number = 0
        self._fenced: LedgerFenced | None = None

    @classmethod
    def open(cls, storage: Storage, *, clock: Clock | None = None) -> LedgerWriter:
        """A writer on the ledger under ``storage``, with every table and the marker file there.

        Raises LedgerTooNew before anything is written, and StorageRefused.
        """
        check_format(storage)
        writer = cls(storage, clock or SystemClock())
        for name, schema in TABLES.items():
            writer._open_table(name, schema.arrow)
        for name in user_tables(storage):
            writer._open_table(name, pa.schema([]))
        begin_ledger(storage)
        return writer

    def take_over(self, info: ManagerInfo) -> int:
        """Fence every table under a new epoch, and then write ``manager.json``; returns the epoch.

        ``info.epoch`` is filled in. Raises LedgerFenced if another manager takes over at the same moment.
        """
        last = max(delta_log.epoch_of(table.snapshot.commit) for table in self._tables.values())
        self.epoch = max(last, self.epoch) + 1
        self._number = 0
        try:
            for _, table in sorted(self._tables.items()):
                table.fence(self.epoch)
        except LedgerFenced as error:
            self._fenced = error
            raise
        self.storage.replace(MANAGER_FILE, replace(info, epoch=self.epoch).encode())
        return self.epoch

    def next_commit_id(self) -> int:
        """``epoch << 40 | n``, greater than every one before."""
        self._require_epoch()
        self._number += 1
        return delta_log.commit_id(self.epoch, self._number)

    def commit(self, group: CommitGroup) -> None:
        """Make every row of the group durable; returns when all are.

        Raises StorageRefused (call again with the same group: nothing is dropped and nothing doubled), LedgerFenced
        (for good), InvalidInput for a table that the ledger does not have.
        """
        if group.commit_id is None:
            group.commit_id = self.next_commit_id()
        self._require_epoch()
        for name in group.ordered():
            rows = group.tables[name]
            if name in group.committed or not len(rows):
                continue
            try:
                self._table(name, rows.schema).append(rows, group.commit_id)
            except LedgerFenced as error:
                self._fenced = error
                raise
            group.committed.add(name)
            self._collection.committed(name, rows)
            if name == "events":
                self._note_ended(rows)

    def maintain(self, now_wall: float) -> bool:
        """Do at most one bounded step of upkeep; False if nothing was due.

        A merge, a checkpoint, a sweep, the removal of retired batches, or of blobs and verifiers without a reference.
        Call it when the committer is idle. Raises StorageRefused and LedgerFenced like ``commit``, and LedgerCorrupt
        once for a table whose files cannot be merged because one of them is damaged.
        """
        self._require_epoch()
        try:
            merged = any(
                self._upkeep[name].step(now_wall, self.next_commit_id)
                for name, table in sorted(self._tables.items())
                if table.epoch == self.epoch
            )
            more = merged or self._samples.step(now_wall)
            return more or self._retention.step() or self._collection.step(now_wall)
        except LedgerFenced as error:
            self._fenced = error
            raise

    def version(self, table: str) -> int:
        """The last version of a table that this writer knows."""
        return self._tables[table].version

    def _table(self, name: str, schema: pa.Schema) -> LedgerTable:
        """The handle on a table; one of the user's is created and fenced on first use."""
        table = self._tables.get(name)
        if table is None:
            table = self._open_table(name, schema)
        if table.epoch != self.epoch:
            table.fence(self.epoch)
        return table

    def _open_table(self, name: str, schema: pa.Schema) -> LedgerTable:
        table = LedgerTable.open(self.storage, self._log, self._clock, self._token, name, schema)
        self._tables[name] = table
        self._upkeep[name] = Maintenance(self.storage, table)
        return table

    def _note_ended(self, events: pa.Table) -> None:
        pairs = list(zip(events.column("kind").to_pylist(), events.column("batch_id").to_pylist(), strict=True))
        finished = {batch_id for kind, batch_id in pairs if kind == "batch_finished" and batch_id is not None}
        self._retention.batches_retired({batch_id for kind, batch_id in pairs if kind == "retired"})
        for upkeep in self._upkeep.values() if finished else ():
            upkeep.batches_finished(finished)

    def _require_epoch(self) -> None:
        if self._fenced is not None:
            raise self._fenced
        if not self.epoch:
            raise InvalidInput("ledger", "was not taken over", "Call take_over() before the first commit")


def _rank(name: str) -> int:
    kind = name.partition("_")[0]
    if name not in TABLES and kind not in ("inputs", "outputs"):
        raise InvalidInput("tables", f"the ledger has no table '{name}'")
    return COMMIT_ORDER.index(kind)
