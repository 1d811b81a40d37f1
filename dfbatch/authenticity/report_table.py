"""Reports as an Arrow table, in the columns that a report fills."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

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
    columns = [pa.array([_COLUMNS[field.name](report) for report in reports], field.type) for field in fields]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "detector": finding.detector,
        "version": finding.version,
        "applicable": finding.applicable,
        "score": finding.score,
        "llr": finding.llr,
        "reason": _clean(finding.reason),
        "cost_s": finding.cost_s,
        "artifact": finding.artifact,
        "facts": facts_json(finding.facts),
    }


def _provenance(provenance: Provenance) -> dict[str, Any]:
    return {
        "state": provenance.state.value,
        "signer": _clean(provenance.signer),
        "ai_declared": provenance.ai_declared,
        "issuer": _clean(provenance.issuer),
        "signed_at": _clean(provenance.signed_at),
        "claim_generator": _clean(provenance.claim_generator),
        "failures": [_clean(failure) for failure in provenance.failures],
        "trust_list": _clean(provenance.trust_list),
    }


def facts_json(facts: Mapping[str, Any]) -> str:
    """Facts as strict JSON: what JSON cannot say (a NaN, bytes, a path) becomes null or text."""
    return json.dumps(_plain(facts), ensure_ascii=True, allow_nan=False)


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
    return None if text is None else text.encode("utf-8", "replace").decode("utf-8")


_COLUMNS: Mapping[str, Callable[[Report], Any]] = MappingProxyType(
    {
        "uri": lambda report: _clean(report.uri),
        "media_type": lambda report: report.media_type,
        "size": lambda report: report.size,
        "sha256": lambda report: report.sha256,
        "verdict": lambda report: report.verdict.value,
        "p_manipulated": lambda report: report.p_manipulated,
        "coverage": lambda report: report.coverage,
        "reasons": lambda report: [_clean(reason) for reason in report.reasons],
        "findings": lambda report: [_finding(finding) for finding in report.findings],
        "provenance": lambda report: _provenance(report.provenance),
    }
)
"""How each column is filled. A report with other columns in its schema leaves them to whoever knows them."""
