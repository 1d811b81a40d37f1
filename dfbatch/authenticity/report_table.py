"""Reports as an Arrow table, in the columns that a report fills."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from dfbatch.authenticity.findings import Finding, Provenance, Report
from dfbatch.errors import InvalidInput


def reports_to_table(reports: Sequence[Report], schema: pa.Schema) -> pa.Table:
    """One row a report, with those columns of ``schema`` that a report fills, in its order and its exact types.

    ``schema`` is that of the results table (the ledger's). Raises InvalidInput if it
    lacks one of the columns.
    """
    missing = sorted(_COLUMNS.keys() - set(schema.names))
    if missing:
        raise InvalidInput("schema", f"it lacks the columns {', '.join(missing)}", "Give the schema of the results")
    fields = [field for field in schema if field.name in _COLUMNS]
    columns = [_COLUMNS[field.name](reports, field.type) for field in fields]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _findings(reports: Sequence[Report], kind: pa.ListType) -> pa.Array:
    """Built column by column: as nested dicts it would take Arrow three times as long."""
    offsets = np.cumsum([0, *(len(report.findings) for report in reports)])
    flat = [finding for report in reports for finding in report.findings]
    rows = _structs(flat, kind.value_type, _OF_FINDING)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), rows, type=kind)


def _structs(values: Sequence[Any], kind: pa.StructType, fill: Mapping[str, Callable[[Any], Any]]) -> pa.Array:
    columns = [pa.array([fill[field.name](value) for value in values], field.type) for field in kind]
    return pa.StructArray.from_arrays(columns, fields=list(kind))


_strict = json.JSONEncoder(ensure_ascii=True, allow_nan=False)


def facts_json(facts: Mapping[str, Any]) -> str:
    """Facts as strict JSON: what JSON cannot say (a NaN, bytes, a path) becomes null or text."""
    if not facts:
        return "{}"
    try:
        text = _strict.encode(facts)
    except (TypeError, ValueError):
        return _strict.encode(_plain(facts))
    # An escaped surrogate may be a lone one, which is no text.
    return _strict.encode(_plain(facts)) if "\\ud" in text else text


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_clean(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return float(value) if value == value and abs(value) != float("inf") else None
    if value is None or isinstance(value, (bool, int)):
        return value
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        return _plain(item())
    return _clean(str(value))


def _clean(text: str | None) -> str | None:
    """Hostile names may hold lone surrogates, which no UTF-8 column can."""
    return text if text is None or text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _each(value_of: Callable[[Report], Any]) -> Callable[[Sequence[Report], pa.DataType], pa.Array]:
    return lambda reports, kind: pa.array([value_of(report) for report in reports], kind)


_OF_FINDING: Mapping[str, Callable[[Finding], Any]] = MappingProxyType(
    {
        "detector": lambda finding: finding.detector,
        "version": lambda finding: finding.version,
        "applicable": lambda finding: finding.applicable,
        "score": lambda finding: finding.score,
        "llr": lambda finding: finding.llr,
        "reason": lambda finding: _clean(finding.reason),
        "cost_s": lambda finding: finding.cost_s,
        "artifact": lambda finding: finding.artifact,
        "facts": lambda finding: facts_json(finding.facts),
    }
)
_OF_PROVENANCE: Mapping[str, Callable[[Provenance], Any]] = MappingProxyType(
    {
        "state": lambda provenance: provenance.state.value,
        "signer": lambda provenance: _clean(provenance.signer),
        "ai_declared": lambda provenance: provenance.ai_declared,
        "issuer": lambda provenance: _clean(provenance.issuer),
        "signed_at": lambda provenance: _clean(provenance.signed_at),
        "claim_generator": lambda provenance: _clean(provenance.claim_generator),
        "failures": lambda provenance: [_clean(failure) for failure in provenance.failures],
        "trust_list": lambda provenance: _clean(provenance.trust_list),
    }
)
_COLUMNS: Mapping[str, Callable[[Sequence[Report], Any], pa.Array]] = MappingProxyType(
    {
        "uri": _each(lambda report: _clean(report.uri)),
        "media_type": _each(lambda report: report.media_type),
        "size": _each(lambda report: report.size),
        "sha256": _each(lambda report: report.sha256),
        "verdict": _each(lambda report: report.verdict.value),
        "p_manipulated": _each(lambda report: report.p_manipulated),
        "coverage": _each(lambda report: report.coverage),
        "reasons": _each(lambda report: [_clean(reason) for reason in report.reasons]),
        "findings": _findings,
        "provenance": lambda reports, kind: _structs([report.provenance for report in reports], kind, _OF_PROVENANCE),
    }
)
"""How each column is filled. A report with other columns in its schema leaves them to whoever knows them."""
