"""The two ways to put an entry into a Delta log under exactly one version, or to be refused.

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

from dfbatch.errors import StorageRefused
from dfbatch.ledger import delta_log
from dfbatch.ledger.delta_log import Entry
from dfbatch.ledger.storage import Storage

_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


class LogCommits(Protocol):
    """Creates tables and commits entries. Both raise FileExistsError if the version is taken."""

    def create_table(self, table: str, schema: pa.Schema, configuration: Mapping[str, str], now_ms: int) -> None:
        """Write version 0."""

    def commit(self, table: str, version: int, entry: Entry, schema: pa.Schema, now_ms: int) -> None:
        """Write exactly ``version``. Raises StorageRefused if it is unknown whether it was written."""


def log_commits(storage: Storage) -> LogCommits:
    """The way that fits a storage."""
    return OwnEntries(storage) if storage.exclusive else DeltaTransactions(storage.root, storage.delta_options)


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
        self._storage.create(delta_log.log_path(table, version), delta_log.encode(actions))


class DeltaTransactions:
    """deltalake's commits, one try each. A handle is kept per table and never jumps over a version."""

    def __init__(self, root: str, storage_options: Mapping[str, str] | None = None) -> None:
        self._root = root
        self._options = dict(storage_options or {}) or None
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
            if DeltaTable.is_deltatable(self._uri(table), self._options):
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
