"""Bringing a reuse index up to date with the results table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfbatch.core.states import JobState
from dfbatch.ledger.columns import numbers
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.reuse_index import (
    MOST_RECORDS,
    ORIGIN,
    Keys,
    Origins,
    ReuseIndex,
    empty_index,
    keys_of_hex,
    load_index,
    store_index,
)

SLICE_JOBS = 1 << 18
_COLUMNS = ("batch_id", "job_index", "generation", "status", "sha256", "verifier_fingerprint")


def update_index(reader: LedgerReader, fingerprint: str, most: int = MOST_RECORDS) -> ReuseIndex:
    """The index of a verifier with every outcome that is durable now; its file is written if there was something new.

    Reads only what was committed since the last time, unless that is more than the index could hold. Raises
    StorageRefused, or the errors of the reader.
    """
    index = load_index(reader.storage, fingerprint)
    snapshot = reader.snapshot("results")
    if snapshot is None or snapshot.version == index.version:
        return index
    version, rows = snapshot.version, sum(file.rows for file in snapshot.files.values())
    if 0 <= index.version < version and rows - index.rows <= most:
        version, tables = reader.tail("results", index.version, columns=_COLUMNS)
    else:
        index, tables = empty_index(), list(_newest(reader, fingerprint, most))
    parts = [_entries(table, fingerprint) for table in tables]
    keys = np.concatenate([index.keys[:0], *(keys for keys, _ in parts)])
    origins = np.concatenate([index.origins[:0], *(origins for _, origins in parts)])
    index = index.merged(keys, origins, version, rows, most)
    store_index(reader.storage, fingerprint, index)
    return index


def _newest(reader: LedgerReader, fingerprint: str, most: int) -> Iterator[pa.Table]:
    """Outcomes of the verifier, newest batch first, until there are enough of them."""
    known = reader.read("batches", columns=["batch_id", "verifier_fingerprint"])
    mine = known.filter(pc.equal(known.column("verifier_fingerprint"), fingerprint))
    found = 0
    for batch_id in sorted(set(mine.column("batch_id").to_pylist()), reverse=True):
        start, last = 0, _last_index(reader, batch_id)
        while start <= last and found < most:
            table = reader.read("results", batch_id=batch_id, columns=_COLUMNS, index_range=(start, start + SLICE_JOBS))
            start += SLICE_JOBS
            found += len(table)
            yield table


def _last_index(reader: LedgerReader, batch_id: str) -> int:
    """The greatest job index among the outcomes of a batch, as the statistics have it; -1 if there are none."""
    snapshot = reader.snapshot("results")
    files = [file for file in snapshot.files.values() if file.may_hold(batch_id)] if snapshot else []
    return max((file.indices[1] for file in files if file.indices is not None), default=-1)


def _entries(table: pa.Table, fingerprint: str) -> tuple[Keys, Origins]:
    """Keys and origins of the rows that may be reused: successes of this verifier whose content is known."""
    good = pc.and_(
        pc.equal(table.column("status"), JobState.SUCCEEDED.value),
        pc.equal(table.column("verifier_fingerprint"), fingerprint),
    )
    table = table.filter(pc.and_(pc.fill_null(good, False), pc.is_valid(table.column("sha256"))))
    origins = np.zeros(len(table), ORIGIN)
    batches = table.column("batch_id")
    for batch_id in pc.unique(batches).to_pylist():
        origins["batch_id"][pc.equal(batches, batch_id).to_numpy()] = batch_id.encode()
    origins["job_index"] = numbers(table.column("job_index"))
    origins["generation"] = numbers(table.column("generation"))
    return keys_of_hex(table.column("sha256").to_pylist()), origins
