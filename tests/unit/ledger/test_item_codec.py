import time
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.errors import InvalidType
from dfbatch.ledger.arrow_types import storable_schema
from dfbatch.ledger.item_codec import (
    ITEM,
    ITEM_ARRAY,
    ITEM_JSON,
    SliceEncoder,
    encode_items,
    items_from_table,
    vector_table,
)

pytestmark = pytest.mark.integration

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC))
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
ALIKE = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1)),
    st.lists(st.floats(allow_nan=False)),
    st.lists(st.text() | st.none()),
    st.lists(st.fixed_dictionaries({"a": st.integers(0, 9), "b": st.lists(st.booleans())})),
    st.lists(st.datetimes(timezones=st.just(UTC))),
)


def same(left, right):
    """Equal in value and in type, at every depth."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    return left == right


@given(st.lists(ANYTHING, max_size=6) | ALIKE)
def test_every_element_comes_back_as_it_was_given(items):
    assert same(items_from_table(encode_items(items), "value"), items)


@given(st.lists(st.lists(ANYTHING, max_size=4), max_size=4))
def test_slices_of_a_stream_have_one_schema_and_lose_nothing(slices):
    encoder = SliceEncoder()

    tables = [encoder.encode(items) for items in slices]

    assert len({table.schema for table in tables}) <= 1
    assert same([items_from_table(table, "value") for table in tables], slices)


@given(st.lists(ANYTHING, min_size=1, max_size=6), st.data())
def test_any_slice_of_a_table_stands_for_the_same_slice_of_the_items(items, data):
    start = data.draw(st.integers(0, len(items) - 1))
    table = encode_items(items).slice(start, 2)

    assert same(items_from_table(table, "value"), items[start : start + 2])


@pytest.mark.parametrize(
    ("items", "column"),
    [
        ([1, None, 3], ITEM),
        (["a", None], ITEM),
        ([b"a"], ITEM),
        ([{"a": 1}, {"a": None}, None], ITEM),
        ([[1, 2], []], ITEM),
        (range(3, 30, 4), ITEM),
        (range(5, 0, -2), ITEM),
        ([1, 2.5], ITEM_JSON),  # as one column the 1 would come back as 1.0
        (["a", b"a"], ITEM_JSON),  # Arrow alone would turn the text into bytes
        ([{"a": 1}, {"b": 2}], ITEM_JSON),  # Arrow alone would add keys
        ([{"A": 1, "a": 2}], ITEM_JSON),
        ([2**63], ITEM_JSON),
        ([None], ITEM_JSON),
    ],
    ids=repr,
)
def test_a_column_of_its_type_holds_the_items_wherever_one_can(items, column):
    table = encode_items(items)

    assert table.column_names == [column]
    assert same(items_from_table(table, "value"), list(items))
    storable_schema(table.schema)


def test_arrays_come_back_as_arrays_of_the_same_dtype_and_shape():
    items = [np.arange(6, dtype="f4").reshape(2, 3), None, np.zeros(0, "i2"), np.array(5)]

    table = encode_items(items)
    back = items_from_table(table, "value")

    assert table.column_names == [ITEM_ARRAY]
    assert [None if a is None else (a.dtype, a.shape) for a in back] == [
        None if a is None else (a.dtype, a.shape) for a in items
    ]
    np.testing.assert_array_equal(back[0], items[0])


@pytest.mark.parametrize(
    ("array", "back"),
    [
        (np.array([1, 2], "u1"), [1, 2]),
        (np.array([1.5], "f2"), [1.5]),
        (np.array([1, 2], ">i4"), [1, 2]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array(["2024-01-01", "NaT"], "M8[ns]"), [datetime.fromisoformat("2024-01-01"), None]),
        (np.array([1, "a"], object), [1, "a"]),
        (pa.array([1, None]), [1, None]),
    ],
    ids=repr,
)
def test_a_one_dimensional_array_gives_python_values(array, back):
    assert same(items_from_table(encode_items(array), "value"), back)


def test_rows_of_a_table_are_dicts_with_datetimes_in_microseconds():
    table = pa.table({"item": [1], "at": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns", tz="UTC"))})

    (row,) = items_from_table(table, "row")

    assert row["item"] == 1
    assert row["at"].microsecond == 123456


@pytest.mark.parametrize("bad", [object(), {1, 2}, [{"a": object()}], np.array(["a"])], ids=repr)
def test_an_item_that_cannot_be_carried_is_named_by_its_index(bad):
    with pytest.raises(InvalidType, match=r"items\[12\]"):
        encode_items([1, 2, bad], first=10)


class TestForVerifyBatch:
    @pytest.mark.parametrize(
        ("items", "column"),
        [
            ([1, 2.5], [1.0, 2.5]),
            ([{"a": 1}, {"b": 2}], [{"a": 1, "b": None}, {"a": None, "b": 2}]),
            ([np.zeros((1, 2))], [[[0.0, 0.0]]]),
            ([None], [None]),
        ],
        ids=repr,
    )
    def test_items_share_the_column_item(self, items, column):
        table = encode_items(items, columnar=True)

        assert table.column_names == [ITEM]
        assert table.column(ITEM).to_pylist() == column

    def test_mixed_types_are_refused_naming_both_types_and_indices(self):
        with pytest.raises(InvalidType, match=r"items\[2\]: is str, but items\[1\] is int") as caught:
            encode_items([None, 1, "a"], columnar=True)

        assert "__call__" in caught.value.remedy

    def test_a_later_slice_of_another_type_is_refused(self):
        encoder = SliceEncoder(columnar=True)
        encoder.encode([1, 2])

        with pytest.raises(InvalidType, match=r"items\[2:\].*string.*int64"):
            encoder.encode(["a"])

    def test_items_kept_as_text_become_a_column_where_they_can(self):
        table = vector_table(encode_items([1, 2.5]), "value")

        assert table.to_pydict() == {ITEM: [1.0, 2.5]}

    def test_the_column_of_a_stream_is_handed_on_without_its_empty_companion(self):
        table = SliceEncoder().encode([1, 2])

        assert vector_table(table, "value").column_names == [ITEM]

    def test_a_table_is_handed_on_as_it_is(self):
        table = pa.table({"a": [1]})

        assert vector_table(table, "row") is table


def cpu_s(items):
    """What it costs this thread to encode them; the best of several."""
    costs = []
    for _ in range(5):
        start = time.thread_time()
        encode_items(items)
        costs.append(time.thread_time() - start)
    return min(costs)


def test_a_million_numbers_are_columns_in_a_moment():
    """Ten times as many as of another kind, which are looked at one by one, for a tenth of the cost at most."""
    one_by_one = cpu_s([*range(100_000), "odd"])

    assert cpu_s(range(1_000_000)) < one_by_one / 10
    assert cpu_s(np.arange(1_000_000.0)) < one_by_one / 10
