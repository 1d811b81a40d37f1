"""What became of some jobs of a chunk, as one message for the manager."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dfbatch.actors.failure import Failure, describe
from dfbatch.actors.messages import Chunk, Outcomes, WorkOrder
from dfbatch.actors.output_rows import output_table
from dfbatch.actors.time_limit import where_it_hung
from dfbatch.authenticity.findings import Report
from dfbatch.authenticity.report_table import reports_to_table
from dfbatch.core.error_class import ErrorClass
from dfbatch.core.instant import Instant
from dfbatch.core.lease import Lease
from dfbatch.errors import ItemTimeout, OutputInvalid
from dfbatch.ledger.schemas import RESULTS

REPORT_COLUMNS = [
    "uri",
    "media_type",
    "size",
    "sha256",
    "verdict",
    "p_manipulated",
    "coverage",
    "reasons",
    "findings",
    "provenance",
]


def outcomes_of(
    chunk: Chunk,
    positions: npt.NDArray[np.int64],
    starts: npt.NDArray[np.float64],
    durations: npt.NDArray[np.float64],
    failures: Mapping[int, Failure],
    *,
    busy_s: float,
    report: pa.Table | None = None,
    output: pa.Table | None = None,
    model_fingerprint: str | None = None,
) -> Outcomes:
    """Outcomes of the jobs at ``positions`` of the chunk; ``starts`` by ``time.perf_counter``. ``seq`` is 0.

    ``failures`` by place in ``positions``.
    """
    n = len(positions)
    error_class, fingerprint = np.zeros(n, np.uint8), np.zeros(n, np.int64)
    for k, failure in failures.items():
        error_class[k], fingerprint[k] = failure.error_class, failure.fingerprint
    return Outcomes(
        seq=0,
        lease_id=chunk.lease_id,
        batch_id=chunk.order.batch_id,
        indices=chunk.indices[positions],
        generation=chunk.generation[positions],
        error_class=error_class,
        fingerprint=fingerprint,
        started_at=starts + (time.time() - time.perf_counter()),
        duration_s=durations,
        busy_s=busy_s,
        uris=chunk.table.column("uri").take(pa.array(positions)) if chunk.order.kind == "verify" else None,
        report=report,
        output=output,
        failures=_failure_table(failures),
        model_fingerprint=model_fingerprint,
    )


def failed_outright(chunk: Chunk, error: Exception, positions: npt.NDArray[np.int64] | None = None) -> Outcomes:
    """Jobs of the chunk (all, if ``positions`` are not given) that fail with one error, without having been run."""
    if positions is None:
        positions = np.arange(len(chunk.indices), dtype=np.int64)
    n = len(positions)
    failures = dict.fromkeys(range(n), describe(error))
    return outcomes_of(chunk, positions, np.full(n, time.perf_counter()), np.zeros(n), failures, busy_s=1e-6)


def timed_out(
    lease: Lease,
    order: WorkOrder,
    index: npt.NDArray[np.int64],
    generation: npt.NDArray[np.int16],
    stack: str,
    now: Instant,
    uris: pa.ChunkedArray | None = None,
) -> Outcomes:
    """The outcome of the one job whose time limit ended its worker; ``stack`` shows where it hung."""
    limit_s = order.timeout_s or 0.0
    text = (
        f"The item took longer than its limit of {limit_s:g} s, so its worker was ended and replaced. "
        f"Raise timeout_s if that is not enough; the traceback shows where it was."
    )
    took = now.mono - lease.granted_at
    return Outcomes(
        seq=0,
        lease_id=lease.lease_id,
        batch_id=lease.batch_id,
        indices=index,
        generation=generation,
        error_class=np.full(1, ErrorClass.TIMEOUT, np.uint8),
        fingerprint=np.zeros(1, np.int64),
        started_at=np.full(1, now.wall - limit_s),
        duration_s=np.full(1, limit_s),
        busy_s=min(limit_s, took),
        uris=uris,
        failures=_failure_table({0: Failure(ErrorClass.TIMEOUT, ItemTimeout.__name__, text, where_it_hung(stack), 0)}),
    )


def value_tables(
    values: Sequence[Any],
) -> tuple[pa.Table | None, pa.Table | None, dict[int, OutputInvalid]]:
    """(report, output, errors by place) of what a verifier returned, None where it failed.

    Reports of the authenticator go into the results table itself, anything else into ``output``.
    """
    given = [k for k, value in enumerate(values) if isinstance(value, Report)]
    if not given:
        return None, *output_table(values)
    wanted = pa.schema([RESULTS.arrow.field(name) for name in REPORT_COLUMNS])
    report = reports_to_table([values[k] for k in given], wanted)
    if len(given) < len(values):
        places = np.full(len(values), -1)
        places[given] = np.arange(len(given))
        report = report.take(pa.array(places, mask=places < 0))
        return report, *output_table([None if isinstance(value, Report) else value for value in values])
    return report, None, {}


def _failure_table(failures: Mapping[int, Failure]) -> pa.Table | None:
    """``position, error_type, error_message, traceback, dependency`` of the failed rows."""
    if not failures:
        return None
    rows = sorted(failures.items())
    return pa.table(
        {
            "position": pa.array([k for k, _ in rows], pa.int64()),
            "error_type": pa.array([f.error_type for _, f in rows], pa.string()),
            "error_message": pa.array([f.message for _, f in rows], pa.string()),
            "traceback": pa.array([f.traceback_text or None for _, f in rows], pa.string()),
            "dependency": pa.array(["\n".join(f.dependencies) or None for _, f in rows], pa.string()),
        }
    )
