"""Arrow schemas of the ledger's tables, each with a version. All of them are here and nowhere else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

LEDGER_FORMAT = 1
"""Version of the ledger as a whole. A ledger with a greater one is refused (LedgerTooNew)."""

INSTANT = pa.timestamp("us", tz="UTC")

FINDING = pa.struct(
    [
        ("detector", pa.string()),
        ("version", pa.string()),
        ("applicable", pa.bool_()),
        ("score", pa.float64()),
        ("llr", pa.float64()),
        ("reason", pa.string()),
        ("cost_s", pa.float64()),
        ("artifact", pa.string()),
        ("facts", pa.string()),
    ]
)
"""``facts`` is JSON text."""

PROVENANCE = pa.struct(
    [
        ("state", pa.string()),
        ("signer", pa.string()),
        ("ai_declared", pa.bool_()),
        ("issuer", pa.string()),
        ("signed_at", pa.string()),
        ("claim_generator", pa.string()),
        ("failures", pa.list_(pa.string())),
        ("trust_list", pa.string()),
    ]
)

RUV = pa.struct([(name, pa.float64()) for name in ("reputation", "uniqueness", "verification", "fusion")])


@dataclass(frozen=True, slots=True)
class TableSchema:
    """One table: name, version, columns. ``keyed`` tables carry batch_id and job_index statistics."""

    name: str
    version: int
    arrow: pa.Schema
    keyed: bool = True


KEY = [("batch_id", pa.string()), ("job_index", pa.int64())]
GENERATION_KEY = [*KEY, ("generation", pa.int16())]

BATCHES = TableSchema(
    "batches",
    1,
    pa.schema(
        [
            ("batch_id", pa.string()),
            ("name", pa.string()),
            ("submit_id", pa.string()),
            ("key", pa.string()),
            ("queue", pa.string()),
            ("priority", pa.int32()),
            ("kind", pa.string()),  # verify | map
            ("n_jobs", pa.int64()),  # -1 while a stream is not sealed
            ("submitted_at", INSTANT),
            ("verifier_sha", pa.string()),  # verifiers/<sha>
            ("verifier_name", pa.string()),
            ("verifier_fingerprint", pa.string()),
            ("inputs", pa.string()),  # name of the inputs_<hash8> table, or null
            ("options", pa.string()),  # JSON
            ("client_version", pa.string()),
        ]
    ),
)
"""A batch exists iff it has a row here. ``options`` holds policy (retry, timeout_s, deadline, tags ...) as JSON."""

JOBS = TableSchema(
    "jobs",
    1,
    pa.schema(
        [
            *KEY,
            ("uri", pa.string()),
            ("blob", pa.string()),  # sha256 under blobs/, for items given by value
            ("filename", pa.string()),
        ]
    ),
)

RESULTS = TableSchema(
    "results",
    1,
    pa.schema(
        [
            *KEY,
            ("job_id", pa.string()),
            ("generation", pa.int16()),
            ("uri", pa.string()),
            ("media_type", pa.string()),
            ("size", pa.int64()),
            ("sha256", pa.string()),
            ("status", pa.string()),
            ("verdict", pa.string()),
            ("p_manipulated", pa.float64()),
            ("coverage", pa.float64()),
            ("reasons", pa.list_(pa.string())),
            ("findings", pa.list_(FINDING)),
            ("provenance", PROVENANCE),
            ("ruv", RUV),
            ("fused_confidence", pa.float64()),
            ("error_type", pa.string()),
            ("error_message", pa.string()),
            ("traceback", pa.string()),
            ("attempts", pa.int16()),
            ("worker_deaths", pa.int16()),
            ("worker_id", pa.string()),
            ("node", pa.string()),
            ("verifier_fingerprint", pa.string()),
            ("model_fingerprint", pa.string()),
            ("reused_from", pa.string()),
            ("priority", pa.int32()),
            ("queued_at", INSTANT),
            ("started_at", INSTANT),
            ("finished_at", INSTANT),
            ("duration_s", pa.float64()),
            ("outputs", pa.string()),  # name of the outputs_<hash8> table, or null
            ("commit_id", pa.int64()),
        ]
    ),
)
"""One terminal row per (batch_id, job_index, generation). ``commit_id`` joins it to its row in ``outputs_<hash8>``."""

ATTEMPTS = TableSchema(
    "attempts",
    1,
    pa.schema(
        [
            *GENERATION_KEY,
            ("attempt", pa.int16()),
            ("worker_deaths", pa.int16()),
            ("charged", pa.bool_()),
            ("suspect", pa.bool_()),
            ("error_class", pa.string()),
            ("error_type", pa.string()),
            ("error_message", pa.string()),
            ("traceback", pa.string()),
            ("worker_id", pa.string()),
            ("node", pa.string()),
            ("started_at", INSTANT),
            ("finished_at", INSTANT),
            ("retry_at", INSTANT),
        ]
    ),
)
"""Failed tries. ``retry_at`` null: this try ended the generation. Counters are those *after* the try."""

EVENTS = TableSchema(
    "events",
    1,
    pa.schema(
        [
            ("batch_id", pa.string()),  # null for events of a queue or of the manager
            ("at", INSTANT),
            ("kind", pa.string()),
            ("queue", pa.string()),
            ("worker_id", pa.string()),
            ("detail", pa.string()),  # JSON
            ("epoch", pa.int64()),
            ("seq", pa.int64()),
        ]
    ),
    keyed=False,
)
"""Kinds: batch_finished, paused, resumed, cancelled, priority, redriven, purged, queue_policy, manager_started, ..."""

METRICS = TableSchema(
    "metrics",
    1,
    pa.schema(
        [
            ("at", INSTANT),
            ("queue", pa.string()),
            ("interval_s", pa.float64()),  # since the last sample: what rates and quantiles are of
            *[(name, pa.int64()) for name in ("queued", "scheduled", "running", "retrying", "paused", "cancelling")],
            *[(name, pa.int64()) for name in ("submitted", "succeeded", "failed", "cancelled", "expired")],
            ("retried", pa.int64()),
            ("returned", pa.int64()),  # sent back by an open circuit breaker, uncharged
            *[(f"{name}_per_s", pa.float64()) for name in ("submitted", "finished", "failed")],
            *[(f"run_{share}_s", pa.float64()) for share in ("p50", "p95", "p99")],
            *[(f"wait_{share}_s", pa.float64()) for share in ("p50", "p95", "p99")],  # from submit to outcome
            ("oldest_waiting_s", pa.float64()),
            *[
                (f"batches_{state}", pa.int32())
                for state in ("submitting", "queued", "running", "paused", "stalled", "cancelling")
            ],
            *[
                (f"workers_{state}", pa.int32())
                for state in ("starting", "idle", "running", "draining", "breaker_open", "lost")
            ],
            ("breakers_open", pa.int32()),
            ("open_breakers", pa.list_(pa.string())),
            ("backlog_rows", pa.int64()),
            ("duplicates_suppressed", pa.int64()),
            ("worker_deaths", pa.int64()),
            ("commits", pa.int64()),
            ("commit_p50_s", pa.float64()),
            ("commit_p99_s", pa.float64()),
            ("epoch", pa.int64()),
        ]
    ),
    keyed=False,
)
"""A row a sample and queue. From ``workers_starting`` on it tells of the manager, alike in all rows of a sample."""

TABLES: dict[str, TableSchema] = {t.name: t for t in (BATCHES, JOBS, RESULTS, ATTEMPTS, EVENTS, METRICS)}

COMMIT_ORDER = ("inputs", "jobs", "batches", "attempts", "outputs", "results", "events", "metrics")
"""Order within a group commit. What is written before ``batches`` or ``results`` is an orphan until those are."""


def user_table_name(kind: Literal["inputs", "outputs"], columns: pa.Schema) -> str:
    """``inputs_<hash8>`` or ``outputs_<hash8>``: the table for columns of these names and types, in this order."""
    return f"{kind}_{hashlib.sha256(columns.remove_metadata().to_string().encode()).hexdigest()[:8]}"


def inputs_schema(columns: pa.Schema) -> pa.Schema:
    """Schema of an ``inputs_<hash8>`` table: the columns given by the user, in one struct so that no name collides."""
    return pa.schema([*KEY, ("input", pa.struct(list(columns)))])


def outputs_schema(columns: pa.Schema) -> pa.Schema:
    """Schema of an ``outputs_<hash8>`` table: what verifiers returned, in one struct; a row per outcome with output."""
    return pa.schema([*GENERATION_KEY, ("commit_id", pa.int64()), ("output", pa.struct(list(columns)))])
