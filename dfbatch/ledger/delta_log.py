"""Entries of a Delta log, written and read by ourselves: one JSON action a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from dfbatch.errors import LedgerCorrupt

APP_ID = "manager"
"""The application id under which a manager records ``epoch << 40 | commit_no`` in every table."""

TOKEN_KEY = "dfbatchManager"
"""Key in ``commitInfo`` of a random word of the writing manager: two managers could draw the same epoch."""

COUNT_KEY = "dfbatchActions"
"""Key in ``commitInfo`` of the number of actions, because an entry that lost whole lines is still JSON."""

_COMMIT_BITS = 40

Action = dict[str, Any]


def log_folder(table: str) -> str:
    """Where the log of a table is."""
    return f"{table}/_delta_log"


def log_path(table: str, version: int) -> str:
    """The entry of one version of a table."""
    return f"{table}/_delta_log/{version:020d}.json"


def commit_id(epoch: int, number: int) -> int:
    """``epoch << 40 | number``: greater for every later commit of any manager."""
    return epoch << _COMMIT_BITS | number


def epoch_of(commit: int) -> int:
    """The epoch of the manager that made a commit."""
    return commit >> _COMMIT_BITS


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file of a table and what its add action says of it. Bounds are None where they are unknown."""

    path: str
    size: int
    rows: int
    modified_ms: int
    batches: tuple[str, str] | None = None
    indices: tuple[int, int] | None = None
    data_change: bool = True

    def may_hold(self, batch_id: str | None, index_range: tuple[int, int] | None = None) -> bool:
        """False if statistics rule out rows of this batch with ``index_range[0] <= job_index < index_range[1]``."""
        if batch_id is not None and self.batches and not self.batches[0] <= batch_id <= self.batches[1]:
            return False
        return not (index_range and self.indices) or (
            self.indices[1] >= index_range[0] and self.indices[0] < index_range[1]
        )

    def add(self, *, data_change: bool | None = None) -> Action:
        """The add action for this file."""
        return {
            "path": self.path,
            "partitionValues": {},
            "size": self.size,
            "modificationTime": self.modified_ms,
            "dataChange": self.data_change if data_change is None else data_change,
            "stats": self.stats(),
        }

    def stats(self) -> str:
        """Statistics as JSON text."""
        bounds = [(name, b) for name, b in (("batch_id", self.batches), ("job_index", self.indices)) if b is not None]
        return json.dumps(
            {
                "numRecords": self.rows,
                "minValues": {name: low for name, (low, _) in bounds},
                "maxValues": {name: high for name, (_, high) in bounds},
                "nullCount": {name: 0 for name, _ in bounds},
            },
            separators=(",", ":"),
        )

    @classmethod
    def of_add(cls, add: Mapping[str, Any]) -> DataFile:
        """From an add action, ours or that of another Delta writer."""
        stats = json.loads(add.get("stats") or "{}")
        low, high = stats.get("minValues") or {}, stats.get("maxValues") or {}
        batches = (low["batch_id"], high["batch_id"]) if "batch_id" in low and "batch_id" in high else None
        indices = (low["job_index"], high["job_index"]) if "job_index" in low and "job_index" in high else None
        return cls(
            unquote(add["path"]),
            int(add["size"]),
            int(stats.get("numRecords", -1)),
            int(add["modificationTime"]),
            batches,
            indices,
            bool(add["dataChange"]),
        )


@dataclass(slots=True)
class Entry:
    """One commit, parsed. ``commit`` is the manager's commit id, None if the entry is not a manager's.

    ``drops_rows``: what is removed does not live on in what is added, as it does in a merge. Only for writing.
    """

    adds: list[DataFile] = field(default_factory=list)
    removes: list[tuple[str, int]] = field(default_factory=list)
    commit: int | None = None
    token: str | None = None
    metadata: Action | None = None
    protocol: Action | None = None
    drops_rows: bool = False


def encode(actions: Iterable[Action]) -> bytes:
    """The bytes of a log entry. A ``commitInfo`` that leads it tells how many actions there are."""
    actions = list(actions)
    if "commitInfo" in actions[0]:
        actions[0] = {"commitInfo": actions[0]["commitInfo"] | {COUNT_KEY: len(actions)}}
    return b"".join(json.dumps(action, separators=(",", ":")).encode() + b"\n" for action in actions)


def parse(data: bytes, path: str) -> Entry:
    """Read a log entry. Raises LedgerCorrupt, naming ``path``, if it is damaged or cut short."""
    entry = Entry()
    try:
        actions = [json.loads(line) for line in data.splitlines() if line.strip()]
        if not actions or actions[0].get("commitInfo", {}).get(COUNT_KEY, len(actions)) != len(actions):
            raise ValueError("it is empty or cut short")
        for action in actions:
            _apply(entry, action)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LedgerCorrupt(
            f"The log entry {path} is damaged ({type(error).__name__}: {error}). What was committed before it is "
            f"intact: restore this file from a backup, or move it and all later entries of the folder away."
        ) from error
    return entry


def _apply(entry: Entry, action: Mapping[str, Any]) -> None:
    for kind, body in action.items():
        match kind:
            case "add":
                entry.adds.append(DataFile.of_add(body))
            case "remove":
                entry.removes.append((unquote(body["path"]), int(body.get("deletionTimestamp") or 0)))
            case "txn" if body["appId"] == APP_ID:
                entry.commit = int(body["version"])
            case "commitInfo":
                entry.token = body.get(TOKEN_KEY)
            case "metaData":
                entry.metadata = body
            case "protocol":
                entry.protocol = body
            case _:
                continue


def removal(path: str, deleted_ms: int, *, data_change: bool = False) -> Action:
    """The remove action of a merge, where the rows live on in other files, or with ``data_change`` of a deletion."""
    return {"path": path, "deletionTimestamp": deleted_ms, "dataChange": data_change}


def transaction(commit: int, now_ms: int) -> Action:
    """The action by which a table knows the last commit of a manager."""
    return {"txn": {"appId": APP_ID, "version": commit, "lastUpdated": now_ms}}


def commit_info(operation: str, token: str, now_ms: int) -> Action:
    """The action that says what was done, when, and by whom."""
    return {
        "commitInfo": {
            "timestamp": now_ms,
            "operation": operation,
            "operationParameters": {},
            "engineInfo": "dfbatch",
            TOKEN_KEY: token,
        }
    }


def creation(table_id: str, schema_json: str, configuration: Mapping[str, str], now_ms: int) -> list[Action]:
    """Protocol and metadata of a new table."""
    protocol: Action = {"minReaderVersion": 1, "minWriterVersion": 2}
    if '"timestamp_ntz"' in schema_json:
        features = ["timestampNtz"]
        protocol = {
            "minReaderVersion": 3,
            "minWriterVersion": 7,
            "readerFeatures": features,
            "writerFeatures": features,
        }
    metadata = {
        "id": table_id,
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema_json,
        "partitionColumns": [],
        "configuration": dict(configuration),
        "createdTime": now_ms,
    }
    return [{"protocol": protocol}, {"metaData": metadata}]
