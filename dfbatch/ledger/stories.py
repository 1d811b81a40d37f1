"""The story of a job: every try of it, in every generation, and how each generation ended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfbatch.ledger.dead_letters import read_batches
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.schemas import INSTANT

CHAPTER = pa.struct(
    [
        ("generation", pa.int16()),
        ("attempt", pa.int16()),
        ("outcome", pa.string()),
        ("error_class", pa.string()),
        ("error_type", pa.string()),
        ("error_message", pa.string()),
        ("traceback", pa.string()),
        ("worker_deaths", pa.int16()),
        ("worker_id", pa.string()),
        ("node", pa.string()),
        ("started_at", INSTANT),
        ("finished_at", INSTANT),
        ("retry_at", INSTANT),
    ]
)
"""One try, or the end of a generation. ``attempt`` counts the charged tries so far.

``outcome``: ``retried`` (it failed and came again at ``retry_at``), ``returned`` (an open breaker sent it back),
``suspected`` (its worker died), or what the generation ended as: ``succeeded, failed, cancelled, expired``.
"""

_RESULT_COLUMNS = (
    "batch_id",
    "job_index",
    "generation",
    "status",
    "attempts",
    "error_type",
    "error_message",
    "traceback",
    "worker_deaths",
    "worker_id",
    "node",
    "started_at",
    "finished_at",
)


def stories(reader: LedgerReader, keys: pa.Table) -> pa.Array:
    """For each row of ``keys`` (``batch_id, job_index``) its story, a list of CHAPTER in the order of events."""
    wanted = list(zip(keys.column("batch_id").to_pylist(), keys.column("job_index").to_pylist(), strict=True))
    chapters: dict[tuple[str, int], list[dict[str, Any]]] = {key: [] for key in wanted}
    ids = {batch_id for batch_id, _ in wanted}
    indices = keys.column("job_index")
    some = pc.field("job_index").isin(pc.unique(indices)) if len(indices) < 10_000 else None
    last: set[tuple[str, int, int]] = set()
    for row in read_batches(reader, "attempts", ids, None, some).to_pylist():
        key = (row["batch_id"], row["job_index"])
        if key in chapters:
            chapter = _of_attempt(row)
            chapters[key].append(chapter)
            if chapter["outcome"] == "failed":
                last.add((*key, row["generation"]))
    for row in read_batches(reader, "results", ids, _RESULT_COLUMNS, some).to_pylist():
        key = (row["batch_id"], row["job_index"])
        # The try that failed last tells the end already, and with more of it.
        told = row["status"] == "failed" and (*key, row["generation"]) in last
        if key in chapters and not told:
            chapters[key].append(_of_result(row))
    return pa.array([sorted(chapters[key], key=_order) for key in wanted], pa.list_(CHAPTER))


def story(reader: LedgerReader, batch_id: str, index: int) -> list[dict[str, Any]]:
    """The story of one job; empty if nothing of it has become durable yet."""
    keys = pa.table({"batch_id": [batch_id], "job_index": pa.array([index], pa.int64())})
    told: list[dict[str, Any]] = stories(reader, keys)[0].as_py()
    return told


def _of_attempt(row: dict[str, Any]) -> dict[str, Any]:
    if row["suspect"]:
        outcome = "suspected"
    elif not row["charged"]:
        outcome = "returned"
    else:
        outcome = "failed" if row["retry_at"] is None else "retried"
    return {f.name: row.get(f.name) for f in CHAPTER} | {"outcome": outcome}


def _of_result(row: dict[str, Any]) -> dict[str, Any]:
    return {f.name: row.get(f.name) for f in CHAPTER} | {"outcome": row["status"], "attempt": row["attempts"]}


def _order(chapter: dict[str, Any]) -> tuple[int, int, float]:
    """By generation, then by time; the end of a generation comes after its tries."""
    ends = chapter["outcome"] in ("succeeded", "failed", "cancelled", "expired")
    at = chapter["finished_at"]
    return (chapter["generation"], int(ends), at.timestamp() if at is not None else np.inf)
