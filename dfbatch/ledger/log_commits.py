"""The two ways to put an entry into a Delta log under exactly one version, or to be refused.

A write that failed may have been carried out all the same: the entry has its name, and only the sync of its folder
failed, or the answer was lost. So after a failure the log is read: ``StorageRefused`` means that the entry is not
there, ``CommitUnknown`` that it is there or cannot be looked for, and that nobody may be told either way yet.

``OwnEntries`` creates the entry's file through a storage whose ``create`` is a compare-and-swap. ``DeltaTransactions``
lets deltalake do it on stores where only its conditional puts are one (S3, GCS, Azure).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Protocol

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction, Transaction

from dfbatch.errors import CommitUnknown, LedgerCorrupt, StorageRefused, StorageUnusable
from dfbatch.ledger import delta_log
from dfbatch.ledger.delta_log import Entry
from dfbatch.ledger.storage import Storage

_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


class LogCommits(Protocol):
    """Creates tables and commits entries. Both raise FileExistsError if the version is taken."""

    def create_table(self, table: str, schema: pa.Schema, configuration: Mapping[str, str], now_ms: int) -> None:
        """Write version 0."""

    def commit(self, table: str, version: int, entry: Entry, schema: pa.Schema, now_ms: int) -> None:
        """Write exactly ``version``; a repeat of an entry that is there makes it durable.

        Raises StorageRefused if it was not written, CommitUnknown if that cannot be told.
        """


def log_commits(storage: Storage) -> LogCommits:
    """The way that fits a storage."""
    return OwnEntries(storage) if storage.exclusive else DeltaTransactions(storage)


class OwnEntries:
    """Our own JSON, through the storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def create_table(self, table: str, schema: pa.Schema, configuration: Mapping[str, str], now_ms: int) -> None:
        actions = delta_log.creation(str(uuid.uuid4()), Schema.from_arrow(schema).to_json(), configuration, now_ms)
        created = [delta_log.commit_info("CREATE TABLE", "", now_ms), *actions]
        self._storage.create(delta_log.log_path(table, 0), delta_log.encode(created))

    def commit(self, table: str, version: int, entry: Entry, schema: pa.Schema, now_ms: int) -> None:
        actions = [
            delta_log.commit_info(_operation(entry), entry.token or "", now_ms),
            delta_log.transaction(entry.commit or 0, now_ms),
            *({"remove": delta_log.removal(p, now_ms, data_change=entry.drops_rows)} for p, _ in entry.removes),
            *({"add": file.add()} for file in entry.adds),
        ]
        path = delta_log.log_path(table, version)
        try:
            self._storage.create(path, delta_log.encode(actions))
        except (FileExistsError, StorageRefused) as error:
            if not _stands(self._storage, path, entry, error):
                raise
            _make_durable(self._storage, path)


class DeltaTransactions:
    """deltalake's commits, one try each. A handle is kept per table and never jumps over a version."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._root = storage.root
        self._options = dict(storage.delta_options) or None
        self._handles: dict[str, DeltaTable] = {}

    def create_table(self, table: str, schema: pa.Schema, configuration: Mapping[str, str], now_ms: int) -> None:
        try:
            DeltaTable.create(
                self._uri(table),
                Schema.from_arrow(schema),
                mode="error",
                configuration=dict(configuration),
                storage_options=self._options,
                raise_if_key_not_exists=False,
            )
        except DeltaError as error:
            if self._storage.exists(delta_log.log_path(table, 0)):
                raise FileExistsError(table) from error
            raise StorageRefused(f"The table {self._uri(table)} could not be created: {error}.") from error
        except OSError as error:
            raise StorageRefused(f"The table {self._uri(table)} could not be created: {error}.") from error

    def commit(self, table: str, version: int, entry: Entry, schema: pa.Schema, now_ms: int) -> None:
        try:
            self._handle(table, version - 1).create_write_transaction(
                [*map(_add_action, entry.adds), *_remove_actions(entry, now_ms)],
                "append",
                Schema.from_arrow(schema),
                commit_properties=CommitProperties(
                    custom_metadata={delta_log.TOKEN_KEY: entry.token or ""},
                    max_commit_retries=0,
                    app_transactions=[Transaction(delta_log.APP_ID, entry.commit or 0, now_ms)],
                ),
                post_commithook_properties=PostCommitHookProperties(
                    create_checkpoint=False, cleanup_expired_logs=False
                ),
            )
        except CommitFailedError as error:
            raise FileExistsError(delta_log.log_path(table, version)) from error
        except (DeltaError, OSError) as error:
            self._handles.pop(table, None)
            if not _stands(self._storage, delta_log.log_path(table, version), entry, error):
                raise StorageRefused(f"{self._uri(table)} could not be written: {error}. It is tried again.") from error

    def _handle(self, table: str, version: int) -> DeltaTable:
        handle = self._handles.get(table)
        if handle is None:
            handle = DeltaTable(self._uri(table), version=version, storage_options=self._options)
            self._handles[table] = handle
        elif handle.version() != version:
            handle.load_as_version(version)
        return handle

    def _uri(self, table: str) -> str:
        return f"{self._root}/{table}"


def _stands(storage: Storage, path: str, entry: Entry, why: Exception) -> bool:
    """True if the entry at ``path`` is this very commit. Raises CommitUnknown if it cannot be looked for."""
    try:
        found = delta_log.parse(storage.read(path), path)
    except FileNotFoundError:
        return False
    except LedgerCorrupt:
        return False  # not ours: an entry gets its name only when it is whole
    except StorageUnusable as error:
        raise CommitUnknown(f"It is not known whether {path} was written ({why}; {error}).") from error
    return entry.commit is not None and found.commit == entry.commit and found.token == entry.token


def _make_durable(storage: Storage, path: str) -> None:
    try:
        storage.sync(path)
    except StorageRefused as error:
        raise CommitUnknown(f"{path} was written, but may not outlast a power failure ({error}).") from error


def _add_action(file: delta_log.DataFile) -> AddAction:
    return AddAction(file.path, file.size, {}, file.modified_ms, file.data_change, file.stats())


def _remove_actions(entry: Entry, now_ms: int) -> list[Any]:
    return [
        RemoveAction(path=path, deletion_timestamp=now_ms, data_change=entry.drops_rows) for path, _ in entry.removes
    ]


def _operation(entry: Entry) -> str:
    if entry.drops_rows:
        return "DELETE"
    return "OPTIMIZE" if entry.removes else "WRITE"
