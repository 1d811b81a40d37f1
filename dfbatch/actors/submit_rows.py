"""A submit as rows: ``inputs_<hash8>``, ``jobs`` and ``batches``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from dfbatch.actors.messages import Submit
from dfbatch.actors.outcome_rows import constant, inputs_table_name
from dfbatch.ledger.schemas import BATCHES, JOBS


def batch_row(message: Submit, batch_id: str, verifier_sha: str, wall: float) -> dict[str, Any]:
    """The row in ``batches``; ``n_jobs`` is -1 while a stream is not sealed."""
    resources = {"resources": dict(message.shape)} if message.shape else {}
    return {
        "batch_id": batch_id,
        "name": message.name,
        "submit_id": message.submit_id,
        "key": message.key,
        "queue": message.queue,
        "priority": message.priority,
        "kind": message.kind,
        "n_jobs": message.n_jobs if message.sealed else -1,
        "submitted_at": datetime.fromtimestamp(wall, UTC),
        "verifier_sha": verifier_sha,
        "verifier_name": message.verifier_name,
        "verifier_fingerprint": message.verifier_fingerprint,
        "inputs": None if message.inputs is None else inputs_table_name(message.inputs.schema),
        "options": json.dumps({**message.options, **resources, "items": message.items, "content": message.content}),
        "client_version": message.client_version,
    }


def batches_table(row: dict[str, Any]) -> pa.Table:
    """One row of ``batches`` as a table."""
    return pa.Table.from_pylist([row], schema=BATCHES.arrow)


def job_tables(
    batch_id: str, first: int, n: int, jobs: pa.Table | None, inputs: pa.Table | None
) -> dict[str, pa.Table]:
    """Rows of ``n`` jobs from index ``first``: ``jobs`` if they are media, ``inputs_<hash8>`` if there are inputs.

    Items of a user's verifier stand in their inputs alone: a second row of nulls would cost a file a submit.
    """
    keys = {"batch_id": constant(batch_id, n), "job_index": pa.array(np.arange(first, first + n, dtype=np.int64))}
    names = [name for name in JOBS.arrow.names if name not in keys]
    given = {name: jobs.column(name) for name in names if jobs is not None and name in jobs.column_names}
    tables = {}
    if jobs is not None or inputs is None:
        tables["jobs"] = pa.table({**keys, **{name: given.get(name, pa.nulls(n, pa.string())) for name in names}})
    if inputs is not None:
        tables[inputs_table_name(inputs.schema)] = pa.table({**keys, "input": struct_of(inputs)})
    return tables


def payload_table(n: int, jobs: pa.Table | None, inputs: pa.Table | None) -> pa.Table:
    """The same jobs as the payload cache wants them: ``uri, blob, filename`` and maybe ``input``."""
    columns: dict[str, Any] = {}
    for name in ("uri", "blob", "filename"):
        has = jobs is not None and name in jobs.column_names
        columns[name] = jobs.column(name) if has and jobs is not None else pa.nulls(n, pa.string())
    if inputs is not None:
        columns["input"] = struct_of(inputs)
    return pa.table(columns)


def struct_of(table: pa.Table) -> pa.ChunkedArray:
    """The columns of a table as one struct column."""
    if not len(table):
        return pa.chunked_array([], pa.struct(list(table.schema)))
    batches = table.combine_chunks().to_batches()
    return pa.chunked_array([pa.StructArray.from_arrays(b.columns, fields=list(table.schema)) for b in batches])
