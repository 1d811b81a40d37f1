"""One table as it was after some version: its live files, replayed from the log."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dfbatch.errors import LedgerCorrupt
from dfbatch.ledger import delta_log
from dfbatch.ledger.arrow_types import storable_schema
from dfbatch.ledger.delta_log import DataFile, Entry
from dfbatch.ledger.schemas import TABLES
from dfbatch.ledger.storage import Storage

ARROW_SCHEMA_KEY = "dfbatch.arrow_schema"
"""Table property with the Arrow schema of the user's columns, so that they read back with the types they had."""


LAST_CHECKPOINT = "_last_checkpoint"


@dataclass(slots=True)
class Snapshot:
    """``files`` by path, in the order they were added. ``commit``: the newest manager's commit, 0 if there is none."""

    table: str
    version: int = -1
    files: dict[str, DataFile] = field(default_factory=dict)
    tombstones: dict[str, int] = field(default_factory=dict)
    commit: int = 0
    token: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    checkpoint: int = -1
    damage: str = ""

    @property
    def schema(self) -> pa.Schema:
        """Columns as the ledger's readers see them."""
        return table_schema(self.table, self.metadata)

    @property
    def stored_schema(self) -> pa.Schema:
        """Columns as they are in the Parquet files."""
        return storable_schema(self.schema)

    def apply(self, version: int, entry: Entry) -> None:
        """Go on to ``version``."""
        for path, deleted_ms in entry.removes:
            self.files.pop(path, None)
            self.tombstones[path] = deleted_ms
        for added in entry.adds:
            self.files[added.path] = added
            self.tombstones.pop(added.path, None)
        if entry.commit is not None:
            self.commit, self.token = entry.commit, entry.token
        self.metadata = entry.metadata or self.metadata
        self.protocol = entry.protocol or self.protocol
        self.version = version


def in_key_order(files: Iterable[DataFile], schema: pa.Schema) -> list[DataFile]:
    """Files by the key of their first row; by commit (which their names begin with) where rows have no such key."""
    if "job_index" not in schema.names:
        return sorted(files, key=lambda file: file.path)
    return sorted(files, key=lambda file: (file.batches or ("", ""), file.indices or (0, 0), file.path))


def table_schema(table: str, metadata: dict[str, Any]) -> pa.Schema:
    """The Arrow schema of a table: ours by name, the user's from its properties."""
    if table in TABLES:
        return TABLES[table].arrow
    text = (metadata.get("configuration") or {}).get(ARROW_SCHEMA_KEY)
    if text is None:
        raise LedgerCorrupt(f"The table {table} does not tell its columns; it was not written by dfbatch.")
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def encode_schema(schema: pa.Schema) -> str:
    """An Arrow schema as text, as the configuration of a table keeps it."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def load_snapshot(storage: Storage, table: str, *, intact_only: bool = False) -> Snapshot | None:
    """Replay the log of a table; None if there is no such table.

    A damaged entry raises LedgerCorrupt, naming it; with ``intact_only`` the snapshot is the one before it, and
    ``damage`` says why.
    """
    names = [info.path.rpartition("/")[2] for info in storage.list(delta_log.log_folder(table))]
    versions = sorted(int(name[:20]) for name in names if len(name) == 25 and name[:20].isdecimal())
    checkpoints = sorted(int(name[:20]) for name in names if name[20:] == ".checkpoint.parquet")
    if not versions and not checkpoints:
        return None
    snapshot = _load_checkpoint(storage, table, checkpoints) if checkpoints else Snapshot(table)
    try:
        for version in versions:
            if version > snapshot.version:
                _advance(storage, snapshot, version)
    except LedgerCorrupt as error:
        if not intact_only:
            raise
        snapshot.damage = str(error)
    return snapshot


def refresh(storage: Storage, snapshot: Snapshot) -> Snapshot:
    """Bring a snapshot up to date in place, entry by entry; returns it, or a fresh one if it was too far behind."""
    while True:
        try:
            _advance(storage, snapshot, snapshot.version + 1)
        except FileNotFoundError:
            break
    if last_checkpoint(storage, snapshot.table) <= snapshot.version:
        return snapshot
    return load_snapshot(storage, snapshot.table) or snapshot


def last_checkpoint(storage: Storage, table: str) -> int:
    """Version of the checkpoint that the log points to, -1 if there is none."""
    try:
        return int(json.loads(storage.read(f"{delta_log.log_folder(table)}/{LAST_CHECKPOINT}"))["version"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return -1


def _advance(storage: Storage, snapshot: Snapshot, version: int) -> None:
    path = delta_log.log_path(snapshot.table, version)
    if version != snapshot.version + 1:
        missing = delta_log.log_path(snapshot.table, snapshot.version + 1)
        raise LedgerCorrupt(f"The log entry {missing} is missing, but there are later ones. Restore it from a backup.")
    snapshot.apply(version, delta_log.parse(storage.read(path), path))


def checkpoint_path(table: str, version: int) -> str:
    """The checkpoint of one version of a table."""
    return f"{delta_log.log_folder(table)}/{version:020d}.checkpoint.parquet"


def _load_checkpoint(storage: Storage, table: str, checkpoints: list[int]) -> Snapshot:
    """The newest checkpoint that can be read; none of ours is ever half-written, but disks do fail."""
    for version in reversed(checkpoints):
        path = checkpoint_path(table, version)
        try:
            rows = pq.read_table(pa.BufferReader(storage.read(path)))
        except (pa.ArrowInvalid, OSError):
            continue
        snapshot = Snapshot(table, checkpoint=version)
        snapshot.apply(version, _entry_of_checkpoint(rows))
        return snapshot
    return Snapshot(table)


def _entry_of_checkpoint(rows: pa.Table) -> Entry:
    entry = Entry()
    wanted = [name for name in ("txn", "add", "remove", "metaData", "protocol") if name in rows.column_names]
    for row in rows.select(wanted).to_pylist():
        if add := row.get("add"):
            entry.adds.append(DataFile.of_add(add))
        elif remove := row.get("remove"):
            entry.removes.append((remove["path"], int(remove.get("deletionTimestamp") or 0)))
        elif (txn := row.get("txn")) and txn["appId"] == delta_log.APP_ID:
            entry.commit = int(txn["version"])
        elif metadata := row.get("metaData"):
            entry.metadata = metadata | {"configuration": dict(metadata.get("configuration") or ())}
        elif protocol := row.get("protocol"):
            entry.protocol = {name: value for name, value in protocol.items() if value is not None}
    return entry
