"""Outcomes as rows of the ledger: ``results``, ``outputs_<hash8>`` and ``attempts``. Columns at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as at

from dfbatch.actors.messages import Outcomes
from dfbatch.core.effects import OutcomesDecided, OutcomesTaken, SuspectsNoted
from dfbatch.core.error_class import ErrorClass
from dfbatch.core.states import FIRST_TERMINAL_CODE, JobState
from dfbatch.ledger.schemas import ATTEMPTS, INSTANT, RESULTS

_STATE_NAMES = pa.array([s.value for s in JobState], pa.string())
_CLASS_NAMES = pa.array([c.name.lower() for c in ErrorClass], pa.string())


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What every row of a batch repeats. ``queued_at``: wall seconds."""

    batch_id: str
    kind: str
    priority: int
    queued_at: float
    verifier_fingerprint: str


@dataclass(slots=True)
class OutcomeRows:
    """Rows of one report, by table; any may be None. ``n_results`` counts the outcomes among them."""

    results: pa.Table | None = None
    attempts: pa.Table | None = None
    output: pa.Table | None = None
    outputs_name: str | None = None


def rows_of_taken(facts: BatchFacts, effect: OutcomesTaken, node: str) -> OutcomeRows:
    """Rows of what a worker reported and the rules took."""
    message: Outcomes = effect.payload
    final = effect.state >= FIRST_TERMINAL_CODE
    rows = OutcomeRows()
    if message.output is not None and final.any():
        rows.outputs_name = outputs_table_name(message.output.schema.field("output").type)
    if final.any():
        rows.results = _results(facts, effect, message, final, node, rows.outputs_name)
        if rows.outputs_name is not None:
            rows.output = _outputs(facts, effect, message, final)
    failed = effect.error_class != ErrorClass.NONE
    if failed.any():
        rows.attempts = _attempts(facts, effect, message, failed, node)
    return rows


def bare_rows(facts: BatchFacts, effect: OutcomesTaken, node: str, error: Exception) -> OutcomeRows:
    """The same outcomes without what the verifier returned, and with the reason: they cannot be put into columns."""
    plain = replace(effect.payload, report=None, output=None)
    rows = rows_of_taken(facts, replace(effect, payload=plain), node)
    if rows.results is not None and effect.payload.failures is None:
        n = len(rows.results)
        text = f"What the verifier returned does not fit into the table: {error}"
        for name, value in (("error_type", "OutputInvalid"), ("error_message", text)):
            rows.results = rows.results.set_column(rows.results.schema.get_field_index(name), name, constant(value, n))
    return rows


def rows_of_decided(facts: BatchFacts, effect: OutcomesDecided, uris: pa.Array | None, now_wall: float) -> OutcomeRows:
    """Rows of outcomes that no worker reported."""
    n = len(effect.indices)
    given: dict[str, Any] = {
        **_keys(facts, effect.indices, effect.generation),
        "uri": uris,
        "status": constant(effect.state.value, n),
        "error_type": constant(effect.error_type or None, n),
        "error_message": constant(effect.error_message or None, n),
        "traceback": constant(effect.stack or None, n),
        "attempts": pa.array(effect.attempts),
        "worker_deaths": pa.array(effect.deaths),
        "verifier_fingerprint": constant(facts.verifier_fingerprint, n),
        "priority": constant(facts.priority, n, pa.int32()),
        "queued_at": constant_instant(facts.queued_at, n),
        "finished_at": constant_instant(now_wall, n),
    }
    return OutcomeRows(results=_table(RESULTS.arrow, given, n))


def rows_of_suspects(facts: BatchFacts, effect: SuspectsNoted, node: str, now_wall: float) -> OutcomeRows:
    """A note in ``attempts``: not charged, but not forgotten by the next manager."""
    n = len(effect.indices)
    given = {
        "batch_id": constant(facts.batch_id, n),
        "job_index": pa.array(effect.indices),
        "generation": pa.array(effect.generation),
        "attempt": pa.array(effect.attempts),
        "worker_deaths": pa.array(effect.deaths),
        "charged": pa.array(np.zeros(n, np.bool_)),
        "suspect": pa.array(np.ones(n, np.bool_)),
        "error_class": constant("worker_death", n),
        "error_type": constant(effect.error_type, n),
        "error_message": constant(f"The worker died while this item was under work: {effect.cause}", n),
        "worker_id": constant(effect.worker, n),
        "node": constant(node, n),
        "finished_at": constant_instant(now_wall, n),
    }
    return OutcomeRows(attempts=_table(ATTEMPTS.arrow, given, n))


def outputs_table_name(kind: pa.DataType) -> str:
    """``outputs_<hash8>`` by the type of the struct, so that every schema has a table of its own."""
    return "outputs_" + hashlib.sha256(str(kind).encode()).hexdigest()[:8]


def inputs_table_name(schema: pa.Schema) -> str:
    """``inputs_<hash8>``: the same for equal names and types in the same order."""
    text = str([(f.name, str(f.type)) for f in schema])
    return "inputs_" + hashlib.sha256(text.encode()).hexdigest()[:8]


def with_commit_id(table: pa.Table, commit_id: int) -> pa.Table:
    """``table`` with its ``commit_id`` filled in."""
    place = table.schema.get_field_index("commit_id")
    return table.set_column(place, "commit_id", pa.array(np.full(len(table), commit_id, np.int64)))


def _results(
    facts: BatchFacts,
    effect: OutcomesTaken,
    message: Outcomes,
    final: npt.NDArray[np.bool_],
    node: str,
    outputs_name: str | None,
) -> pa.Table:
    all_of_them = bool(final.all()) and len(effect.positions) == len(message.indices)
    places = effect.positions[final]
    pick = None if all_of_them else pa.array(places)
    n = len(places)
    states = effect.state[final]
    started = message.started_at[places]
    duration = message.duration_s[places]
    given: dict[str, Any] = {
        **_keys(facts, effect.indices[final], effect.generation[final]),
        "status": _coded(states, _STATE_NAMES),
        "attempts": pa.array(effect.attempts[final]),
        "worker_deaths": pa.array(effect.deaths[final]),
        "worker_id": constant(effect.worker, n),
        "node": constant(node, n),
        "verifier_fingerprint": constant(facts.verifier_fingerprint, n),
        "model_fingerprint": constant(message.model_fingerprint, n),
        "priority": constant(facts.priority, n, pa.int32()),
        "queued_at": constant_instant(facts.queued_at, n),
        "started_at": instants(started),
        "finished_at": instants(started + duration),
        "duration_s": pa.array(duration),
        "outputs": constant(outputs_name, n),
    }
    if message.report is not None:
        report = message.report if pick is None else message.report.take(pick)
        given.update(zip(report.column_names, report.columns, strict=True))
    if message.uris is not None:
        given["uri"] = message.uris if pick is None else message.uris.take(pick)
    if message.failures is not None:
        given.update(_failure_columns(message.failures, places, ("error_type", "error_message", "traceback")))
    return _table(RESULTS.arrow, given, n)


def _outputs(facts: BatchFacts, effect: OutcomesTaken, message: Outcomes, final: npt.NDArray[np.bool_]) -> pa.Table:
    assert message.output is not None
    keys = {
        "batch_id": constant(facts.batch_id, int(final.sum())),
        "job_index": pa.array(effect.indices[final]),
        "generation": pa.array(effect.generation[final]),
        "commit_id": pa.nulls(int(final.sum()), pa.int64()),
    }
    whole = bool(final.all()) and len(effect.positions) == len(message.indices)
    output = message.output if whole else message.output.take(pa.array(effect.positions[final]))
    return pa.table({**keys, "output": output.column("output")})


def _attempts(
    facts: BatchFacts, effect: OutcomesTaken, message: Outcomes, failed: npt.NDArray[np.bool_], node: str
) -> pa.Table:
    places = effect.positions[failed]
    n = len(places)
    started = message.started_at[places]
    retry_at = effect.retry_at[failed]
    given: dict[str, Any] = {
        "batch_id": constant(facts.batch_id, n),
        "job_index": pa.array(effect.indices[failed]),
        "generation": pa.array(effect.generation[failed]),
        "attempt": pa.array(effect.attempts[failed]),
        "worker_deaths": pa.array(effect.deaths[failed]),
        "charged": pa.array(effect.error_class[failed] != ErrorClass.BREAKER_OPEN),
        "suspect": pa.array(np.zeros(n, np.bool_)),
        "error_class": _coded(effect.error_class[failed], _CLASS_NAMES),
        "worker_id": constant(effect.worker, n),
        "node": constant(node, n),
        "started_at": instants(started),
        "finished_at": instants(started + message.duration_s[places]),
        "retry_at": instants(retry_at),
    }
    if message.failures is not None:
        given.update(_failure_columns(message.failures, places, ("error_type", "error_message", "traceback")))
    return _table(ATTEMPTS.arrow, given, n)


def _failure_columns(
    failures: pa.Table, places: npt.NDArray[np.int64], names: tuple[str, ...]
) -> Mapping[str, pa.ChunkedArray]:
    """Columns of the failed rows spread over all rows asked for."""
    at_rows = failures.column("position").to_numpy()
    found = np.searchsorted(at_rows, places)
    found = np.minimum(found, len(at_rows) - 1)
    missing = at_rows[found] != places
    picks = pa.array(found, mask=missing)
    return {name: failures.column(name).take(picks) for name in names}


def _keys(facts: BatchFacts, indices: npt.NDArray[np.int64], generation: npt.NDArray[np.int16]) -> dict[str, Any]:
    index = pa.array(indices)
    job_ids = pc.binary_join_element_wise(facts.batch_id, pc.cast(index, pa.string()), "-")
    return {
        "batch_id": constant(facts.batch_id, len(indices)),
        "job_index": index,
        "job_id": job_ids,
        "generation": pa.array(generation),
    }


def _table(schema: pa.Schema, given: Mapping[str, Any], n: int) -> pa.Table:
    """A table in the order of ``schema``: what is not given is null; text constants are one-entry dictionaries."""
    columns = []
    for field in schema:
        column = given.get(field.name)
        if column is None:
            column = constant(None, n) if at.is_string(field.type) else pa.nulls(n, field.type)
        elif at.is_string(field.type) and not at.is_dictionary(column.type) and field.name in _TEXT_CONSTANTS:
            column = pc.dictionary_encode(column)
        columns.append(column)
    return pa.table(columns, names=schema.names)


_TEXT_CONSTANTS = frozenset(
    {"batch_id", "status", "error_class", "worker_id", "node", "verifier_fingerprint", "model_fingerprint", "outputs"}
)


def constant(value: Any, n: int, kind: pa.DataType | None = None) -> Any:
    """``value`` n times: text as a one-entry dictionary, which costs the Parquet writer nothing."""
    if kind is not None:
        return pa.repeat(pa.scalar(value, kind), n)
    if value is None:
        return pa.nulls(n, pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([value], pa.string()))


def constant_instant(wall: float, n: int) -> Any:
    """``n`` times the same instant, from wall seconds."""
    return pa.repeat(pa.scalar(int(wall * 1e6), INSTANT), n)


def instants(wall: npt.NDArray[np.float64]) -> Any:
    """Wall seconds as instants; NaN is null."""
    missing = np.isnan(wall)
    micros = np.where(missing, 0.0, wall * 1e6).astype(np.int64)
    return pa.array(micros, mask=missing if missing.any() else None).cast(INSTANT)


def _coded(codes: npt.NDArray[np.uint8], names: pa.Array) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), names)


def merged(tables: list[pa.Table]) -> pa.Table:
    """Tables of one kind as one: a text column is dictionary-encoded only where all of them have it so."""
    if len(tables) == 1:
        return tables[0]
    first = tables[0]
    columns: list[Any] = []
    for name in first.column_names:
        parts = [t.column(name) for t in tables]
        kinds = {str(p.type) for p in parts}
        if len(kinds) > 1:
            plain = next((p.type for p in parts if not at.is_dictionary(p.type)), pa.string())
            parts = [p if p.type.equals(plain) else p.cast(plain) for p in parts]
        columns.append(pa.chunked_array([c for p in parts for c in p.chunks], type=parts[0].type))
    return pa.table(columns, names=first.column_names)
