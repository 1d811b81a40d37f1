"""Progress of batches that no manager in reach holds in memory: read from the ledger as committed."""

from __future__ import annotations

import json
import time
from typing import Any

import pyarrow.compute as pc

from dfbatch.core.progress import ProgressSnapshot
from dfbatch.core.states import BatchState
from dfbatch.errors import UnknownId
from dfbatch.ledger.reading import LedgerReader

END_S = 3.0
"""The end of a batch is in the ledger so long after its last outcome at the most, if its manager does well."""
_LOOK_S = 0.05


def batch_row(reader: LedgerReader, batch_id: str) -> dict[str, Any]:
    """The batch's row with its status. Raises UnknownId."""
    table = reader.batches()
    found = table.filter(pc.equal(table.column("batch_id"), batch_id)).to_pylist()
    if not found:
        _say_if_retired(reader, batch_id)
        raise UnknownId(
            f"There is no batch '{batch_id}' in the ledger under {reader.storage.root}. "
            f"client.batches() lists those there are."
        )
    row: dict[str, Any] = found[0]
    return row


def _say_if_retired(reader: LedgerReader, batch_id: str) -> None:
    """Raises UnknownId with the date if the batch left the ledger by retention."""
    retired = pc.field("kind") == "retired"
    for event in reader.read("events", batch_id=batch_id, expression=retired).to_pylist():
        raise UnknownId(
            f"Batch '{batch_id}' left the ledger on {event['at']:%Y-%m-%d %H:%M} UTC by the retention of queue "
            f"'{event['queue']}'. client.queue({event['queue']!r}).set_policy(...) changes it for those to come."
        )


def ledger_progress(reader: LedgerReader, batch_id: str) -> ProgressSnapshot:
    """The batch as the ledger has it. Raises UnknownId.

    If all outcomes are there, it waits a moment for the row that says how the batch has ended.
    """
    row, counts = batch_row(reader, batch_id), {}
    if row["status"] == BatchState.RUNNING:
        counts = _counts(reader, batch_id)
        if sum(counts.values()) == row["n_jobs"] and _ends(reader, batch_id):
            row = batch_row(reader, batch_id)
    detail = json.loads(row["detail"] or "{}")
    status = BatchState(row["status"])
    submitted = row["submitted_at"].timestamp()
    if status.is_terminal:
        counts = {str(k): int(v) for k, v in detail.get("counts", {}).items()}
        elapsed = float(detail.get("finished_at", submitted)) - submitted
    else:
        counts = counts or _counts(reader, batch_id)
        elapsed = 0.0
        left = row["n_jobs"] - sum(counts.values())
        if left > 0:
            counts["queued"] = left
    return ProgressSnapshot(
        batch_id=batch_id,
        name=row["name"],
        status=status,
        total=sum(counts.values()) if status.is_terminal else (row["n_jobs"] if row["n_jobs"] >= 0 else None),
        counts=counts,
        verdicts=detail.get("verdicts", {}),
        errors=detail.get("errors", {}),
        elapsed_s=max(0.0, elapsed),
        reason=detail.get("reason"),
        queue=row["queue"] or "",
        updated_at=float(detail.get("finished_at", submitted)),
    )


def _counts(reader: LedgerReader, batch_id: str) -> dict[str, int]:
    """Jobs by how their newest outcome says they ended."""
    rows = reader.results(batch_id, columns=["job_index", "generation", "status"])
    return {e["values"]: e["counts"] for e in pc.value_counts(rows.column("status")).to_pylist()}


def _ends(reader: LedgerReader, batch_id: str) -> bool:
    """Wait until the end is on record. False at once after a redrive: its jobs have outcomes and run again."""
    until, turns = time.monotonic() + END_S, pc.field("kind").isin(["redriven", "batch_finished"])
    while True:
        events = reader.read("events", batch_id=batch_id, columns=["kind"], expression=turns)
        kinds = set(events.column("kind").to_pylist())
        if kinds or time.monotonic() >= until:
            return kinds == {"batch_finished"}
        time.sleep(_LOOK_S)
