"""Reports become rows in the exact types of the results table."""

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dfbatch.authenticity.findings import Finding, Provenance, ProvenanceState, Report, Verdict
from dfbatch.authenticity.report_table import facts_json, reports_to_table
from dfbatch.errors import InvalidInput
from dfbatch.ledger.schemas import RESULTS

COLUMNS = [
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


def report(**changes: Any) -> Report:
    told: dict[str, Any] = {
        "uri": "photo.jpg",
        "media_type": "image/jpeg",
        "size": 5_000_000_000,
        "sha256": "ab",
        "verdict": Verdict.AI_GENERATED,
        "reasons": ("one.", "two."),
        "findings": (Finding("c2pa_state", "1", True, "because", score=0.5, cost_s=0.1, facts={"a": [1, None]}),),
        "provenance": Provenance(ProvenanceState.VALID, "Ada", True, failures=("x",)),
        "coverage": 0.5,
    }
    return Report(**(told | changes))


def test_columns_have_the_types_of_the_ledger() -> None:
    table = reports_to_table([report(), report(uri=None, p_manipulated=1.0)], RESULTS.arrow)
    assert sorted(table.column_names) == sorted(COLUMNS)
    assert all(table.schema.field(name).type == RESULTS.arrow.field(name).type for name in COLUMNS)
    row = table.to_pylist()[0]
    assert (row["verdict"], row["p_manipulated"], row["size"]) == ("ai_generated", None, 5_000_000_000)
    assert row["reasons"] == ["one.", "two."]
    assert row["findings"][0]["score"] == 0.5
    assert json.loads(row["findings"][0]["facts"]) == {"a": [1, None]}
    assert row["provenance"]["state"] == "valid"
    assert row["provenance"]["failures"] == ["x"]
    assert table.to_pylist()[1]["uri"] is None


def test_no_reports_are_an_empty_table_of_the_same_types() -> None:
    table = reports_to_table([], RESULTS.arrow)
    assert len(table) == 0
    assert table.schema == reports_to_table([report()], RESULTS.arrow).schema


def test_a_schema_that_lacks_a_column_is_refused() -> None:
    with pytest.raises(InvalidInput, match="coverage"):
        reports_to_table([report()], pa.schema([field for field in RESULTS.arrow if field.name != "coverage"]))


def test_facts_are_strict_json_whatever_they_are() -> None:
    facts = {
        "nan": math.nan,
        "inf": -math.inf,
        "numpy": np.float64(0.5),
        "count": np.int64(3),
        "flag": np.bool_(True),
        "state": ProvenanceState.VALID,
        "nested": ({"x": b"bytes"},),
        5: "number as a key",
    }
    assert json.loads(facts_json(facts)) == {
        "nan": None,
        "inf": None,
        "numpy": 0.5,
        "count": 3,
        "flag": True,
        "state": "valid",
        "nested": [{"x": "b'bytes'"}],
        "5": "number as a key",
    }


def test_hostile_text_does_not_spoil_the_table() -> None:
    bad = "a\ud800b"
    hostile = report(
        uri=bad, reasons=(bad,), provenance=Provenance(signer=bad), findings=(Finding("d", "1", True, bad),)
    )
    row = reports_to_table([hostile], RESULTS.arrow).to_pylist()[0]
    assert row["uri"] == row["reasons"][0] == row["provenance"]["signer"] == "a?b"
    assert json.loads(facts_json({bad: bad})) == {"a?b": "a?b"}
