"""From what the ledger holds to the events that rebuild the manager's state."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from dfbatch.core.batch import BatchSpec, BatchStop
from dfbatch.core.events import BatchRecovered
from dfbatch.core.policy import BatchPolicy
from dfbatch.core.resource_shape import ResourceShape
from dfbatch.core.states import BatchState, JobState
from dfbatch.ledger.ranges import decode_ranges
from dfbatch.ledger.recovery import Recovered, RecoveredBatch

INTERRUPTED = "interrupted"
"""Why a batch is paused whose embedded manager ended with its kernel."""


def spec_of_row(row: Mapping[str, Any], n_jobs: int) -> BatchSpec:
    """The spec of a batch from its row in ``batches``."""
    options = json.loads(row["options"])
    return BatchSpec(
        batch_id=row["batch_id"],
        n_jobs=n_jobs,
        queue=row["queue"],
        priority=row["priority"] or 0,
        policy=BatchPolicy.of(options),
        shape=ResourceShape.of(options.get("resources", {})).key,
        name=row["name"],
        submit_id=row["submit_id"] or "",
        key=row["key"],
        content=options.get("content", ""),
        submitted_at=row["submitted_at"].timestamp(),
        sealed=row["n_jobs"] >= 0,
        verifier=row["verifier_fingerprint"] or row["batch_id"],
    )


def recovered_event(found: RecoveredBatch, interrupted: bool) -> BatchRecovered:
    """What ``ManagerState`` must hear about one open batch. ``interrupted``: its manager ended with its kernel."""
    sealed: dict[str, Any] = next((e["detail"] for e in reversed(found.events) if e["kind"] == "sealed"), {})
    sealed_as = sealed.get("n_jobs")
    n_jobs = found.job_count if sealed_as is None else int(sealed_as)
    spec = spec_of_row(found.row, n_jobs)
    if sealed_as is not None and not spec.sealed:
        spec = spec_of_row({**found.row, "n_jobs": n_jobs}, n_jobs)
    generation = _generations(found.events, n_jobs)
    present = found.result_generation == generation[found.result_index]
    tries = found.attempts
    tried = tries.column("job_index").to_numpy()
    of_present = tries.column("generation").to_numpy() == generation[tried]
    tries, tried = tries.filter(of_present), tried[of_present]
    due = pc.cast(tries.column("retry_at"), "int64").to_numpy(zero_copy_only=False).astype(np.float64) / 1e6
    redriven = np.flatnonzero(generation)
    paused = _paused(found.events)
    return BatchRecovered(
        spec,
        found.result_index[present],
        found.result_status[present],
        redriven_index=redriven,
        redriven_generation=generation[redriven],
        tried_index=tried,
        tried_attempts=tries.column("attempt").to_numpy(),
        tried_deaths=tries.column("worker_deaths").to_numpy(),
        tried_suspect=tries.column("suspect").to_numpy(zero_copy_only=False).astype(np.bool_),
        retry_at=np.nan_to_num(due, nan=0.0),
        paused=paused or (INTERRUPTED if interrupted else None),
        purged_index=_purged(found.events),
        priority=next((e["detail"]["priority"] for e in reversed(found.events) if e["kind"] == "priority"), None),
        stop=_stop(found.events),
        lost=sealed.get("reason"),
        cancelled_index=_cancelled(found.events, n_jobs),
        redriven_at=next((e["at"].timestamp() for e in reversed(found.events) if e["kind"] == "redriven"), None),
    )


def shelved_batches(recovered: Recovered) -> Iterator[tuple[str, str, int]]:
    """Id, queue and number of dead letters of each batch that has ended."""
    for batch_id, detail in recovered.finished.items():
        counts = detail.get("counts", {})
        n_dead = counts.get(JobState.FAILED.value, 0) + counts.get(JobState.EXPIRED.value, 0)
        yield batch_id, recovered.queue_of[batch_id], n_dead - recovered.purged.get(batch_id, 0)


def encode_ranges(indices: npt.NDArray[np.int64]) -> list[list[int]]:
    """Sorted indices as half-open ranges, small enough for one event row even for millions of neighbours."""
    if not len(indices):
        return []
    cuts = np.flatnonzero(np.diff(indices) != 1) + 1
    starts = indices[np.r_[0, cuts]]
    stops = indices[np.r_[cuts - 1, len(indices) - 1]] + 1
    return [[int(a), int(b)] for a, b in zip(starts, stops, strict=True)]


def stop_detail(stop: BatchStop) -> dict[str, Any]:
    """A stop as the detail of its row in ``events``."""
    return {
        "job_state": stop.job_state.value,
        "batch_state": stop.batch_state.value if stop.batch_state else None,
        "reason": stop.reason,
        "error_type": stop.error_type,
    }


def _generations(events: list[dict[str, Any]], n_jobs: int) -> npt.NDArray[np.int16]:
    generation = np.zeros(n_jobs, np.int16)
    for event in events:
        if event["kind"] == "redriven":
            for start, stop in event["detail"]["ranges"]:
                generation[start:stop] += 1
    return generation


def _cancelled(events: list[dict[str, Any]], n_jobs: int) -> npt.NDArray[np.int64]:
    """Jobs cancelled by their handles in their present generation."""
    cancelled = np.zeros(n_jobs, np.bool_)
    for event in events:
        if event["kind"] in ("jobs_cancelled", "redriven"):
            for start, stop in event["detail"]["ranges"]:
                cancelled[start:stop] = event["kind"] == "jobs_cancelled"
    return np.flatnonzero(cancelled)


def _purged(events: list[dict[str, Any]]) -> npt.NDArray[np.int64]:
    pieces = [decode_ranges(event["detail"]["ranges"]) for event in events if event["kind"] == "purged"]
    return np.unique(np.concatenate(pieces)) if pieces else np.empty(0, np.int64)


def _paused(events: list[dict[str, Any]]) -> str | None:
    for event in reversed(events):
        if event["kind"] == "paused":
            return str(event["detail"].get("reason", "paused"))
        if event["kind"] in ("resumed", "batch_finished"):
            return None
    return None


def _stop(events: list[dict[str, Any]]) -> BatchStop | None:
    for event in reversed(events):
        if event["kind"] == "redriven":
            return None
        if event["kind"] == "stopped":
            detail = event["detail"]
            state = detail.get("batch_state")
            return BatchStop(
                JobState(detail["job_state"]),
                BatchState(state) if state else None,
                detail.get("reason", ""),
                detail.get("error_type", ""),
            )
    return None
