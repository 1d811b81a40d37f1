"""What a new manager needs to know: the open batches, and for each job whether and how it ended.

Only the few columns of the open batches are read, as numpy arrays: ten million jobs come back in seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dfbatch.core.states import JobState
from dfbatch.ledger.batch_table import TOLD_ONLY, detail_of, in_order, latest_rows, without
from dfbatch.ledger.columns import numbers, take_rows
from dfbatch.ledger.joining import latest_of
from dfbatch.ledger.outcome_tallies import add_tallies
from dfbatch.ledger.reading import LedgerReader

RESULT_COLUMNS = ("batch_id", "job_index", "generation", "status")
ATTEMPT_COLUMNS = (
    "batch_id",
    "job_index",
    "generation",
    "attempt",
    "worker_deaths",
    "charged",
    "suspect",
    "retry_at",
)


@dataclass(slots=True)
class RecoveredBatch:
    """An open batch.

    ``row``: its row in ``batches``. ``result_*``: every outcome, sorted by (index, generation), as int64, int16 and
    uint8 (codes of JobState). ``attempts``: for each job the row of its newest try, without ``batch_id``.
    ``events``: its events in order, ``detail`` as a dict. ``job_count``: jobs that are stored, counted from index 0.
    ``verdicts, errors``: how often each verdict, and each type of error of the present generations, is there.
    """

    row: dict[str, Any]
    result_index: npt.NDArray[np.int64]
    result_generation: npt.NDArray[np.int16]
    result_status: npt.NDArray[np.uint8]
    attempts: pa.Table
    events: list[dict[str, Any]]
    job_count: int
    verdicts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Recovered:
    """``finished``: detail of ``batch_finished`` by batch id. ``submit_ids`` and ``keys`` lead to batch ids.

    ``queue_events``: events without a batch, in order. ``queue_of``: the queue of every batch. ``purged``: how many
    dead letters of a batch were purged. ``retired``: batches that left the ledger, or are leaving it. ``requests``:
    by the id of a request, how many jobs it redrove or purged.
    """

    batches: list[RecoveredBatch] = field(default_factory=list)
    finished: dict[str, dict[str, Any]] = field(default_factory=dict)
    submit_ids: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    queue_events: list[dict[str, Any]] = field(default_factory=list)
    queue_of: dict[str, str] = field(default_factory=dict)
    purged: dict[str, int] = field(default_factory=dict)
    retired: set[str] = field(default_factory=set)
    requests: dict[str, int] = field(default_factory=dict)


def recover(reader: LedgerReader) -> Recovered:
    """Read the state of a ledger. A batch is open if no ``batch_finished`` is newer than its last ``redriven``."""
    found = Recovered()
    rows = latest_rows(reader.read("batches"))
    of_batch = _events(reader, found)
    rows = without(rows, found.retired)
    open_rows = []
    for row in rows.to_pylist():
        batch_id = row["batch_id"]
        found.queue_of[batch_id] = row["queue"]
        if row["submit_id"]:
            found.submit_ids[row["submit_id"]] = batch_id
        if row["key"]:
            found.keys[row["key"]] = batch_id
        if batch_id not in found.finished:
            open_rows.append(row)
    for name in set(found.finished).difference(rows.column("batch_id").to_pylist()):
        del found.finished[name]
    results = _by_batch(reader, "results", RESULT_COLUMNS, open_rows)
    attempts = _by_batch(reader, "attempts", ATTEMPT_COLUMNS, open_rows)
    for row in open_rows:
        batch_id = row["batch_id"]
        found.batches.append(_batch(reader, row, results[batch_id], attempts[batch_id], of_batch.get(batch_id, [])))
    add_tallies(reader, found.batches)
    return found


def recover_batches(reader: LedgerReader, batch_ids: Collection[str]) -> list[RecoveredBatch]:
    """Some batches, open or ended, as ``recover`` would give them; those that the ledger does not have are left out."""
    only = next(iter(batch_ids)) if len(batch_ids) == 1 else None
    rows = [r for r in latest_rows(reader.read("batches", batch_id=only)).to_pylist() if r["batch_id"] in batch_ids]
    found = Recovered()
    of_batch = _events(reader, found)
    rows = [row for row in rows if row["batch_id"] not in found.retired]
    results = _by_batch(reader, "results", RESULT_COLUMNS, rows)
    attempts = _by_batch(reader, "attempts", ATTEMPT_COLUMNS, rows)
    batches = [
        _batch(reader, row, results[row["batch_id"]], attempts[row["batch_id"]], of_batch.get(row["batch_id"], []))
        for row in rows
    ]
    add_tallies(reader, batches)
    return batches


def _events(reader: LedgerReader, found: Recovered) -> dict[str, list[dict[str, Any]]]:
    of_batch: dict[str, list[dict[str, Any]]] = {}
    for event in in_order(reader.read("events", expression=~pc.field("kind").isin(TOLD_ONLY))).to_pylist():
        event["detail"] = detail_of(event["detail"])
        batch_id = event["batch_id"]
        if batch_id is None:
            found.queue_events.append(event)
            continue
        of_batch.setdefault(batch_id, []).append(event)
        request = event["detail"].get("request")
        if request:
            found.requests[request] = found.requests.get(request, 0) + int(event["detail"]["n"])
        if event["kind"] == "batch_finished":
            found.finished[batch_id] = event["detail"]
        elif event["kind"] == "redriven":
            found.finished.pop(batch_id, None)
        elif event["kind"] == "retired":
            found.retired.add(batch_id)
        elif event["kind"] == "purged":
            n_purged = sum(stop - start for start, stop in event["detail"]["ranges"])
            found.purged[batch_id] = found.purged.get(batch_id, 0) + n_purged
    return of_batch


def _by_batch(
    reader: LedgerReader, name: str, columns: Sequence[str], rows: Sequence[dict[str, Any]]
) -> dict[str, pa.Table]:
    """The rows of each open batch: one read for all, because many files cost more than many rows."""
    ids = sorted(row["batch_id"] for row in rows)
    if not ids:
        return {}
    only = ids[0] if len(ids) == 1 else None
    where = None if only else pc.field("batch_id").isin(ids) & (pc.field("batch_id") >= ids[0])
    table = reader.read(name, batch_id=only, columns=columns, expression=where)
    if only:
        return {only: table}
    spans = _spans(table.column("batch_id"))
    found = {}
    for batch_id in ids:
        start, end = spans.get(batch_id, (0, 0))
        found[batch_id] = table.slice(start, end - start)
    return found


def _spans(column: Any) -> dict[str, tuple[int, int]]:
    """First and one past the last row of each value of a sorted column."""
    if not len(column):
        return {}
    runs = pc.run_end_encode(column.combine_chunks())
    ends = runs.run_ends.to_pylist()
    return dict(zip(runs.values.to_pylist(), zip([0, *ends[:-1]], ends, strict=True), strict=True))


def _batch(
    reader: LedgerReader,
    row: dict[str, Any],
    results: pa.Table,
    attempts: pa.Table,
    events: list[dict[str, Any]],
) -> RecoveredBatch:
    index, generation = numbers(results.column("job_index")), numbers(results.column("generation"))
    order = np.lexsort((generation, index))
    counters = [numbers(attempts.column(name)) for name in ("generation", "attempt", "worker_deaths")]
    newest = take_rows(attempts, latest_of(numbers(attempts.column("job_index")), *counters))
    return RecoveredBatch(
        row,
        index[order].astype(np.int64),
        generation[order].astype(np.int16),
        _status_codes(results.column("status"))[order],
        newest.drop_columns(["batch_id"]),
        events,
        _job_count(reader, row),
    )


def _status_codes(column: Any) -> npt.NDArray[np.uint8]:
    names = pa.array([state.value for state in JobState], pa.string())
    codes = pc.index_in(column, value_set=names)
    return np.asarray(numbers(codes)).astype(np.uint8)


def _job_count(reader: LedgerReader, row: dict[str, Any]) -> int:
    """``n_jobs``; for a stream that is not sealed, the jobs that are there without a gap."""
    if row["n_jobs"] is not None and row["n_jobs"] >= 0:
        return int(row["n_jobs"])
    table = row["inputs"] if row["kind"] != "verify" and row["inputs"] else "jobs"
    jobs = reader.read(table, batch_id=row["batch_id"], columns=["job_index"])
    index = np.unique(numbers(jobs.column("job_index")))
    gaps = np.flatnonzero(index != np.arange(len(index)))
    return int(gaps[0]) if len(gaps) else len(index)
