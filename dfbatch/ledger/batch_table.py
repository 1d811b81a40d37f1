"""The batches with their state, as the events tell it."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfbatch.core.states import BatchState
from dfbatch.ledger.columns import numbers, take_rows
from dfbatch.ledger.schemas import INSTANT

TOLD_ONLY = ["job_log", "breaker", "lease_expired", "worker_silent"]
"""Kinds of events that are for people: there may be very many, and no state follows from them."""
_STATUS_AFTER = {
    "redriven": BatchState.RUNNING,
    "resumed": BatchState.RUNNING,
    "paused": BatchState.PAUSED,
    "stopped": BatchState.CANCELLING,
}


def in_order(events: pa.Table) -> pa.Table:
    """Events by (epoch, seq)."""
    return take_rows(events, np.lexsort((numbers(events.column("seq")), numbers(events.column("epoch")))))


def latest_rows(batches: pa.Table) -> pa.Table:
    """One row per batch, the newest written, in the order of first appearance."""
    newest: dict[str, int] = {}
    for position, batch_id in enumerate(batches.column("batch_id").to_pylist()):
        newest[batch_id] = position
    return take_rows(batches, np.array(list(newest.values()), np.int64))


def without(batches: pa.Table, ids: Collection[str]) -> pa.Table:
    """The rows of all other batches."""
    if not ids:
        return batches
    return batches.filter(pc.invert(pc.is_in(batches.column("batch_id"), value_set=pa.array(list(ids), pa.string()))))


def detail_of(text: str | None) -> dict[str, Any]:
    """The JSON object of an event; empty if there is none."""
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}


def with_status(batches: pa.Table, events: pa.Table) -> pa.Table:
    """Batches by submission, with the columns ``status``, ``finished_at`` and ``detail`` of ``batch_finished``.

    ``status`` is "running" for a batch without an event: what is queued only its manager knows. Retired batches are
    left out, though their rows may still be there. ``n_jobs`` of a sealed stream is the one it was sealed with.
    """
    status: dict[str, str] = {}
    ended: dict[str, tuple[Any, str | None]] = {}
    retired: set[str] = set()
    sealed: dict[str, int] = {}
    names = ("batch_id", "kind", "at", "detail")
    for batch_id, kind, at, detail in zip(*(in_order(events).column(n).to_pylist() for n in names), strict=True):
        if kind == "retired":
            retired.add(batch_id)
        elif kind == "sealed":
            sealed[batch_id] = int(detail_of(detail).get("n_jobs", -1))
        elif kind == "batch_finished":
            status[batch_id] = str(detail_of(detail).get("status", BatchState.SUCCEEDED))
            ended[batch_id] = (at, detail)
        elif kind in _STATUS_AFTER and batch_id is not None:
            status[batch_id] = _STATUS_AFTER[kind].value
            ended.pop(batch_id, None)
    rows = without(latest_rows(batches), retired)
    ids = rows.column("batch_id").to_pylist()
    none = (None, None)
    n_jobs = [sealed.get(i, n) if n == -1 else n for i, n in zip(ids, rows.column("n_jobs").to_pylist(), strict=True)]
    rows = rows.set_column(rows.schema.get_field_index("n_jobs"), "n_jobs", pa.array(n_jobs, pa.int64()))
    rows = rows.append_column("status", pa.array([status.get(i, BatchState.RUNNING.value) for i in ids], pa.string()))
    rows = rows.append_column("finished_at", pa.array([ended.get(i, none)[0] for i in ids], INSTANT))
    rows = rows.append_column("detail", pa.array([ended.get(i, none)[1] for i in ids], pa.string()))
    return rows.sort_by([("submitted_at", "ascending"), ("batch_id", "ascending")])
