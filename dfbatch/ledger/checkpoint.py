"""Checkpoints: a snapshot as one Parquet file, so that opening a table needs no long replay."""

from __future__ import annotations

import json

import pyarrow as pa

from dfbatch.ledger import delta_log
from dfbatch.ledger.disk import write_parquet
from dfbatch.ledger.snapshot import LAST_CHECKPOINT, Snapshot, checkpoint_path
from dfbatch.ledger.storage import Storage

_TEXT_MAP = pa.map_(pa.string(), pa.string())
_SCHEMA = pa.schema(
    {
        "txn": pa.struct({"appId": pa.string(), "version": pa.int64(), "lastUpdated": pa.int64()}),
        "add": pa.struct(
            {
                "path": pa.string(),
                "partitionValues": _TEXT_MAP,
                "size": pa.int64(),
                "modificationTime": pa.int64(),
                "dataChange": pa.bool_(),
                "stats": pa.string(),
            }
        ),
        "remove": pa.struct({"path": pa.string(), "deletionTimestamp": pa.int64(), "dataChange": pa.bool_()}),
        "metaData": pa.struct(
            {
                "id": pa.string(),
                "name": pa.string(),
                "description": pa.string(),
                "format": pa.struct({"provider": pa.string(), "options": _TEXT_MAP}),
                "schemaString": pa.string(),
                "partitionColumns": pa.list_(pa.string()),
                "configuration": _TEXT_MAP,
                "createdTime": pa.int64(),
            }
        ),
        "protocol": pa.struct(
            {
                "minReaderVersion": pa.int32(),
                "minWriterVersion": pa.int32(),
                "readerFeatures": pa.list_(pa.string()),
                "writerFeatures": pa.list_(pa.string()),
            }
        ),
    }
)


def write_checkpoint(storage: Storage, snapshot: Snapshot, now_ms: int) -> None:
    """Write the checkpoint of a snapshot and point to it. Readers see it whole or not at all."""
    metadata = snapshot.metadata
    rows = [
        {"protocol": snapshot.protocol},
        {"metaData": metadata | {"configuration": list((metadata.get("configuration") or {}).items())}},
        {"txn": {"appId": delta_log.APP_ID, "version": snapshot.commit, "lastUpdated": now_ms}},
        *({"add": file.add(data_change=False)} for file in snapshot.files.values()),
        *({"remove": delta_log.removal(path, deleted)} for path, deleted in snapshot.tombstones.items()),
    ]
    sink = pa.BufferOutputStream()
    write_parquet(sink, pa.Table.from_pylist(rows, _SCHEMA), len(rows), ())
    data = sink.getvalue().to_pybytes()
    storage.replace(checkpoint_path(snapshot.table, snapshot.version), data)
    pointer = {"version": snapshot.version, "size": len(rows), "sizeInBytes": len(data)}
    storage.replace(f"{delta_log.log_folder(snapshot.table)}/{LAST_CHECKPOINT}", json.dumps(pointer).encode())
    snapshot.checkpoint = snapshot.version
