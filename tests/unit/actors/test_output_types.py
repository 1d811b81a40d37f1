"""Columns keep their types within a batch: numbers and nulls widen, any other change is an error of those items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.actors.messages import Outcomes
from dfbatch.actors.output_rows import output_table
from dfbatch.actors.output_types import OutputTypes, wider
from dfbatch.core.error_class import ErrorClass
from dfbatch.core.states import BatchState
from dfbatch.testing import InProcess

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("brisk")]
KINDS = (
    pa.int8(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.binary(), pa.date32(),
    pa.timestamp("us", tz="UTC"), pa.decimal128(20, 0), pa.null(),
)  # fmt: skip
kinds = st.recursive(
    st.sampled_from(KINDS),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(lambda f: pa.struct(list(f.items()))),
    ),
    max_leaves=4,
)


def report(values: list[Any]) -> Outcomes:
    n = len(values)
    table, errors = output_table(values)
    assert not errors
    return Outcomes(
        1, 1, "k3f2m9qx", np.arange(n), np.zeros(n, np.int16), np.zeros(n, np.uint8), np.zeros(n, np.int64),
        np.zeros(n), np.zeros(n), 0.1, output=table,
    )  # fmt: skip


@given(kinds, kinds)
def test_widening_takes_either_order_and_is_settled_after_one_step(one: pa.DataType, other: pa.DataType) -> None:
    grown = wider(one, other)
    assert (grown is None) == (wider(other, one) is None)
    if grown is not None:
        assert grown.equals(wider(grown, one)) or at_least_holds(grown, one)
        assert at_least_holds(grown, other)


def at_least_holds(grown: pa.DataType, kind: pa.DataType) -> bool:
    again = wider(grown, kind)
    return again is not None and again.equals(grown)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (pa.int64(), pa.string()), (pa.int64(), pa.bool_()), (pa.string(), pa.binary()),
        (pa.date32(), pa.timestamp("us")), (pa.list_(pa.int64()), pa.list_(pa.string())),
        (pa.struct([("a", pa.int64())]), pa.struct([("a", pa.string())])), (pa.struct([("a", pa.int64())]), pa.int64()),
    ],
)  # fmt: skip
def test_a_change_of_type_is_none_that_can_be_widened(first: pa.DataType, then: pa.DataType) -> None:
    assert wider(first, then) is None


def test_numbers_nulls_and_new_columns_are_taken() -> None:
    types = OutputTypes()
    for values in ([{"a": 1}], [{"a": None, "b": "x"}], [{"a": 0.5}], [{"a": 2, "c": [1]}], [{"c": [0.5]}]):
        given = report(values)
        assert types.checked(given) is given


def test_items_with_a_changed_column_fail_and_their_neighbours_do_not() -> None:
    types = OutputTypes()
    types.checked(report([{"a": 1, "b": "x"}]))
    found = types.checked(report([{"a": None, "b": "y"}, {"a": "one", "b": "z"}, {"a": None, "b": None}]))
    assert found.error_class.tolist() == [ErrorClass.NONE, ErrorClass.PERMANENT, ErrorClass.NONE]
    assert found.failures is not None
    (failure,) = found.failures.to_pylist()
    assert (failure["position"], failure["error_type"]) == (1, "OutputInvalid")
    assert "string in the column 'a', which holds int64" in failure["error_message"]
    assert found.output is not None
    assert found.output.column("output").to_pylist() == [{"b": "y"}, None, {"b": None}]


def test_a_report_of_nothing_but_changed_values_has_no_output_left() -> None:
    types = OutputTypes()
    types.checked(report([1]))
    found = types.checked(report(["one", "two"]))
    assert found.output is None
    assert found.error_class.tolist() == [ErrorClass.PERMANENT] * 2
    assert types.checked(report([2])).error_class.tolist() == [ErrorClass.NONE]


def test_failures_of_the_verifier_keep_their_story() -> None:
    types = OutputTypes()
    types.checked(report([1]))
    given = report(["one", None])
    given.error_class[1] = ErrorClass.TRANSIENT
    given.failures = pa.table(
        {"position": [1], "error_type": ["OSError"], "error_message": ["gone"], "traceback": ["here"]}
    )
    found = types.checked(given)
    assert found.failures is not None
    assert found.failures.column("error_type").to_pylist() == ["OutputInvalid", "OSError"]
    assert found.error_class.tolist() == [ErrorClass.PERMANENT, ErrorClass.TRANSIENT]


def first_numbers_then_text(x: int) -> Any:
    return x if x < 100 else f"text {x}"


def test_end_to_end_first_whole_numbers_then_text(ledger_path: Path) -> None:
    """Those that came later failed with the column named; all others have their values."""
    with InProcess(ledger_path, workers=1, session="one") as client:
        batch = client.map(first_numbers_then_text, iter(range(50)))
        assert batch.wait(60).status is BatchState.SUCCEEDED
        batch = client.map(first_numbers_then_text, range(300), fail_fast=False)
        batch.wait(60)
        assert batch.status is BatchState.PARTIAL
        failures = batch.failures().to_arrow()
        assert set(failures.column("error_type").to_pylist()) == {"OutputInvalid"}
        assert all("'value'" in message for message in failures.column("error_message").to_pylist())
        assert batch.results().values() == [k if k < 100 else None for k in range(300)]


def waits_then_text(x: int) -> Any:
    return x if x < 3 else str(x)


def test_the_types_of_a_batch_are_remembered_by_the_next_manager(ledger_path: Path, until: Any) -> None:
    with InProcess(ledger_path, workers=1, session="one") as client:
        client.queue("slow").set_policy(concurrency=1, rate_per_s=1e-3, burst=3)
        batch = client.map(waits_then_text, range(6), queue="slow", fail_fast=False)
        until(lambda: batch.progress().done >= 3)
    with InProcess(ledger_path, workers=1, session="one") as client:
        client.queue("slow").set_policy(rate_per_s=None)
        again = client.attach(batch.id).wait(60)
        assert again.results().values() == [0, 1, 2, None, None, None]
        assert set(again.failures().to_arrow().column("error_type").to_pylist()) == {"OutputInvalid"}
