"""What verifiers return becomes columns; what does not fit is found and named."""

import collections.abc
import types
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.actors.output_rows import output_table, vector_output
from dfbatch.errors import OutputInvalid

pytestmark = pytest.mark.integration


def column(values):
    table, errors = output_table(values)
    assert errors == {}
    return table.column("output").to_pylist()


def test_scalars_stand_in_the_column_value():
    assert column([1, 2, None]) == [{"value": 1}, {"value": 2}, {"value": None}]
    assert column(["a", "b"]) == [{"value": "a"}, {"value": "b"}]


def test_mappings_give_a_column_per_key():
    assert column([{"a": 1}, {"b": "x"}, None]) == [{"a": 1, "b": None}, {"a": None, "b": "x"}, {"a": None, "b": None}]


def test_a_verifier_that_returns_nothing_has_no_output():
    assert output_table([None, None]) == (None, {})
    assert output_table([{}, {}]) == (None, {})


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (np.float32(0.5), 0.5),
        (np.int8(3), 3),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.arange(3), [0, 1, 2]),
        (bytearray(b"x"), b"x"),
        ((1, 2), [1, 2]),
        (date(2026, 1, 2), date(2026, 1, 2)),
        (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
        (timedelta(seconds=1), timedelta(seconds=1)),
        (Decimal("1.5"), Decimal("1.5")),
        ([], []),
        ([None], [None]),
        ({"deep": [{"er": 1}]}, {"deep": [{"er": 1}]}),
    ],
    ids=repr,
)
def test_values_of_many_kinds_are_kept(value, stored):
    assert column([{"value": value}]) == [{"value": stored}]


def test_whole_numbers_and_fractions_share_a_column():
    assert column([1, 2.5]) == [{"value": 1.0}, {"value": 2.5}]


class Lazy(collections.abc.Mapping):
    """A mapping that is no dict, like those of configuration libraries."""

    def __getitem__(self, key):
        return 1

    def __iter__(self):
        return iter(["a"])

    def __len__(self):
        return 1


class Hostile(Lazy):
    def __iter__(self):
        raise RuntimeError("not today")


def test_any_mapping_is_a_mapping():
    assert column([types.MappingProxyType({"a": 1}), Lazy()]) == [{"a": 1}, {"a": 1}]


@pytest.mark.parametrize(
    "odd",
    [
        "text among numbers",
        object(),
        2**70,
        2**63,
        1j,
        np.ones((2, 2)),
        {1: 2},
        {"a": 1, "A": 2},
        {"a": {"b": 1, "B": 2}},
        {"\ud800": 1},
        Hostile(),
        lambda: None,
    ],
    ids=lambda odd: type(odd).__name__,
)
def test_what_does_not_fit_is_named_and_costs_its_neighbours_nothing(odd):
    table, errors = output_table([1, odd, 3])
    assert list(errors) == [1]
    assert isinstance(errors[1], OutputInvalid)
    assert f"returned {type(odd).__name__}" in str(errors[1])
    assert "Return a number, text, bytes, a list, or a dict" in str(errors[1])
    values = [row and row.get("value") for row in table.column("output").to_pylist()]
    assert values == [1, None, 3]


def test_a_number_too_large_for_the_fractions_after_it_is_the_odd_one():
    table, errors = output_table([2**60 + 1, 0.5])
    assert list(errors) == [0]
    assert table.column("output").to_pylist() == [None, {"value": 0.5}]


def test_text_that_is_no_text_is_refused():
    _, errors = output_table(["fine", "\ud800"])
    assert list(errors) == [1]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(values, min_size=1, max_size=6))
def test_whatever_is_returned_each_item_is_kept_or_has_an_error(returned):
    table, errors = output_table(returned)
    assert set(errors) <= set(range(len(returned)))
    if table is not None:
        assert len(table) == len(returned)
        rows = table.column("output").to_pylist()
        for k in errors:
            assert rows[k] is None or all(v is None for v in rows[k].values())


# ------------------------------------------------------------------------------------------------ verify_batch


@pytest.mark.parametrize(
    "returned",
    [
        pa.table({"value": [1, 2]}),
        pa.record_batch({"value": [1, 2]}),
        pa.array([1, 2]),
        pa.chunked_array([[1], [2]]),
        {"value": [1, 2]},
        pl.DataFrame({"value": [1, 2]}),
        pd.DataFrame({"value": [1, 2]}),
        [1, 2],
        np.array([1, 2]),
        [{"value": 1}, {"value": 2}],
        (v for v in (1, 2)),
    ],
    ids=lambda returned: type(returned).__name__,
)
def test_verify_batch_may_return_any_column_of_answers(returned):
    assert vector_output(returned, 2).column("output").to_pylist() == [{"value": 1}, {"value": 2}]


def test_verify_batch_may_return_nothing():
    assert vector_output(None, 5) is None
    assert vector_output(pa.table({"value": pa.nulls(2)}), 2) is None


@pytest.mark.parametrize("returned", [pa.table({"a": [1]}), [1], pa.array([1]), {"a": [1]}], ids=repr)
def test_verify_batch_must_return_a_row_per_item(returned):
    with pytest.raises(OutputInvalid, match=r"returned 1 (rows|values) for 3 items\. Return one (row )?per item"):
        vector_output(returned, 3)


def test_verify_batch_must_return_rows_at_all():
    with pytest.raises(OutputInvalid, match=r"verify_batch returned int 5\. Return a pyarrow\.Table or a list"):
        vector_output(5, 1)


def test_a_table_with_the_same_column_twice_is_refused():
    twice = pa.table([pa.array([1]), pa.array([2])], names=["a", "A"])
    with pytest.raises(OutputInvalid, match="the key 'a' occurs twice"):
        vector_output(twice, 1)


def test_a_list_with_an_odd_value_is_refused():
    with pytest.raises(OutputInvalid, match="returned str 'x'"):
        vector_output([1, "x"], 2)
