from __future__ import annotations

import datetime as dt
import decimal

import numpy as np
import pyarrow as pa
import pytest
from deltalake import Schema
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.errors import InvalidType
from dfbatch.ledger.arrow_types import convert, storable, storable_schema

NOON = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
NAIVE = NOON.replace(tzinfo=None)

VALUES = [
    pa.array([1, None, 255], pa.uint8()),
    pa.array([1, None, 2**16 - 1], pa.uint16()),
    pa.array([1, None, 2**32 - 1], pa.uint32()),
    pa.array([1, None, 2**64 - 1], pa.uint64()),
    pa.array([1.5, None, -2], pa.float16()),
    pa.nulls(3),
    pa.array(["a", None, "ü"], pa.large_string()),
    pa.array(["a", None, "ü"], pa.string_view()),
    pa.array([b"a", None, b"\0"], pa.large_binary()),
    pa.array([b"ab", None, b"cd"], pa.binary(2)),
    pa.array(["a", None, "a"]).dictionary_encode(),
    pa.array([NAIVE, None, NAIVE], pa.timestamp("ns")),
    pa.array([NOON, None, NOON], pa.timestamp("ms", tz="Europe/Berlin")),
    pa.array([dt.time(1, 2, 3), None, dt.time(0)], pa.time32("s")),
    pa.array([dt.time(1, 2, 3, 4), None, dt.time(0)], pa.time64("us")),
    pa.array([dt.timedelta(days=-1), None, dt.timedelta(seconds=5)], pa.duration("ns")),
    pa.array([dt.date(2026, 5, 1), None, dt.date(1, 1, 1)], pa.date64()),
    pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("-3")], pa.decimal128(10, 2)),
    pa.array([[1, 2], None, []], pa.list_(pa.uint8())),
    pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2)),
    pa.array([["x"], None, []], pa.large_list(pa.large_string())),
    pa.array([{"a": 1, "b": None}, None, {"a": 2, "b": None}], pa.struct({"a": pa.uint8(), "b": pa.null()})),
    pa.array([{}, None, {}], pa.struct([])),
    pa.array([[{"at": dt.time(1)}], None, [None]], pa.list_(pa.struct({"at": pa.time64("us")}))),
    pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int32())),
]


@pytest.mark.parametrize("values", VALUES, ids=lambda values: str(values.type))
def test_every_type_is_stored_in_one_that_delta_knows_and_comes_back(values):
    kind = storable(values.type)
    Schema.from_arrow(pa.schema({"x": kind}))
    for part in (values, values.slice(1), pa.chunked_array([values, values.slice(2)])):
        stored = convert(part, kind)
        assert stored.type == kind
        back = convert(stored, values.type)
        assert back.type == values.type
        assert back.to_pylist() == part.to_pylist()


@pytest.mark.parametrize(
    "kind", [pa.int64(), pa.string(), pa.timestamp("us", "UTC"), pa.list_(pa.string()), pa.bool_()]
)
def test_what_delta_knows_stays_as_it_is(kind):
    assert storable(kind) == kind


def test_nanoseconds_are_cut_to_microseconds_not_refused():
    values = pa.array([np.datetime64("2026-05-01T00:00:00.123456789", "ns")])
    assert convert(values, storable(values.type)).to_pylist() == [NAIVE.replace(hour=0, microsecond=123456)]


@pytest.mark.parametrize(
    "kind",
    [
        pa.sparse_union([pa.field("a", pa.int8())]),
        pa.month_day_nano_interval(),
        pa.list_(pa.dense_union([pa.field("a", pa.int8())])),
    ],
)
def test_a_type_that_cannot_be_stored_is_refused_with_the_name_of_the_column(kind):
    with pytest.raises(InvalidType, match=r"outer\.inner"):
        storable_schema(pa.schema([("outer", pa.struct([("inner", kind)]))]))


@given(
    st.lists(
        st.none() | st.fixed_dictionaries({"a": st.none() | st.integers(0, 255), "b": st.lists(st.integers(0, 9))})
    )
)
def test_nested_values_survive_with_nulls_at_every_level(items):
    kind = pa.struct({"a": pa.uint8(), "b": pa.large_list(pa.uint16())})
    values = pa.array(items, kind)
    assert convert(convert(values, storable(kind)), kind).to_pylist() == items
