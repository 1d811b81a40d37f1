from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.errors import InvalidInput
from dfbatch.ledger import columns
from dfbatch.ledger.joining import latest_of, widest
from dfbatch.ledger.schemas import inputs_schema, user_table_name

pytestmark = pytest.mark.integration

KEYS = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 5)), max_size=30)


def keyed(keys, *, encoded=False) -> pa.Table:
    batch = pa.array([batch for batch, _ in keys], pa.string())
    index = pa.array([index for _, index in keys], pa.int64())
    return pa.table(
        {"batch_id": batch.dictionary_encode() if encoded else batch, "job_index": index, "row": range(len(keys))}
    )


@given(KEYS, st.booleans())
def test_rows_are_sorted_by_key_and_rows_of_one_key_keep_their_order(keys, encoded):
    rows = columns.sort_by_key(keyed(keys, encoded=encoded))
    expected = sorted(range(len(keys)), key=lambda place: keys[place])
    assert rows["row"].to_pylist() == expected


@given(KEYS, st.booleans())
def test_bounds_are_the_smallest_and_greatest(keys, encoded):
    batches, indices = columns.bounds(keyed(keys, encoded=encoded))
    if not keys:
        assert (batches, indices) == (None, None)
    else:
        assert batches == (min(b for b, _ in keys), max(b for b, _ in keys))
        assert indices == (min(i for _, i in keys), max(i for _, i in keys))


def test_there_are_no_bounds_over_nulls():
    assert columns.bounds(pa.table({"batch_id": pa.array([None, "a"]), "at": [1, 2]})) == (None, None)


@given(st.integers(1, 400), st.data())
def test_taking_by_slices_is_taking(n, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, n), max_size=6)) | {0, n})
    runs = [np.arange(a, b) for a, b in itertools.pairwise(cuts)]
    order = np.concatenate(data.draw(st.permutations(runs)) or [np.arange(0)])
    order = order[: data.draw(st.integers(0, len(order)))]
    values = pa.chunked_array([np.arange(n // 2), np.arange(n // 2, n)])
    assert columns.take_rows(values, order).to_pylist() == order.tolist()
    assert columns.take_rows(pa.table({"x": values}), order)["x"].to_pylist() == order.tolist()


def test_missing_and_null_columns_are_filled_and_the_order_is_the_schemas():
    schema = pa.schema({"a": pa.string(), "b": pa.list_(pa.string()), "c": pa.int32()})
    table = columns.conform(pa.table({"c": [1, 2], "b": pa.nulls(2)}), schema, "t")
    assert table.schema.equals(schema)
    assert table.to_pydict() == {"a": [None, None], "b": [None, None], "c": [1, 2]}


def test_dictionary_columns_of_the_right_type_are_left_to_the_parquet_writer():
    constant = pa.array(["x", "x"]).dictionary_encode()
    table = columns.conform(pa.table({"a": constant}), pa.schema({"a": pa.string()}), "t")
    assert columns.encoded_columns(table) == ["a"]
    wide = columns.conform(
        pa.table({"a": constant.cast(pa.dictionary(pa.int32(), pa.large_string()))}), pa.schema({"a": pa.string()}), "t"
    )
    assert wide["a"].type == pa.string()


def test_a_column_the_table_does_not_have_is_named():
    with pytest.raises(InvalidInput, match="jobs: has no column 'colour'"):
        columns.conform(pa.table({"colour": [1]}), pa.schema({"a": pa.string()}), "jobs")


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 3)), max_size=20))
def test_the_latest_row_of_each_index_has_the_greatest_ranks(entries):
    index, first, second = (np.array([entry[place] for entry in entries], np.int64) for place in range(3))
    found = {int(index[place]): (int(first[place]), int(second[place])) for place in latest_of(index, first, second)}
    assert list(found) == sorted(found)
    assert found == {i: max(entry[1:] for entry in entries if entry[0] == i) for i in set(index.tolist())}


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([pa.null(), pa.int64()], pa.int64()),
        ([pa.int64(), pa.float64(), pa.null()], pa.float64()),
        ([pa.int8(), pa.int64()], pa.int64()),
        ([pa.int64(), pa.string()], pa.string()),  # the manager refuses it; a reader must not fail on it
        ([pa.struct({"a": pa.int64()}), pa.struct({"b": pa.string()})], pa.struct({"a": pa.int64(), "b": pa.string()})),
        ([pa.struct({"a": pa.null()}), pa.struct({"a": pa.bool_()})], pa.struct({"a": pa.bool_()})),
    ],
)
def test_the_widest_type_holds_the_values_of_all(kinds, expected):
    assert widest(kinds) == expected


def test_tables_of_the_user_are_named_by_their_columns():
    one = pa.schema({"a": pa.int64(), "b": pa.string()})
    assert user_table_name("inputs", one) == user_table_name("inputs", one.with_metadata({"x": "y"}))
    names = {
        user_table_name(kind, schema)
        for kind in ("inputs", "outputs")
        for schema in (one, pa.schema({"a": pa.int64()}))
    }
    assert len(names) == 4
    assert all(len(name.partition("_")[2]) == 8 for name in names)
    assert inputs_schema(one).names == ["batch_id", "job_index", "input"]
