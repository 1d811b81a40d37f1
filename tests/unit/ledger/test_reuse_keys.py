"""When two items are the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.ledger.item_codec import encode_items
from dfbatch.ledger.reuse_keys import first_equal, item_keys

pytestmark = pytest.mark.integration


def keys_of(items: list[Any], salt: str = "") -> list[bytes]:
    return [row.tobytes() for row in item_keys(encode_items(items), "value", salt)]


def same(one: Any, other: Any) -> bool:
    """Equal, and of one type all the way down."""
    return repr(one) == repr(other)


plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.lists(st.integers(0, 2), max_size=2),
    st.dictionaries(st.text("ab", max_size=1), st.integers(0, 2), max_size=2),
)


@given(st.lists(plain, min_size=1, max_size=12))
def test_keys_are_equal_for_the_same_items_only(items: list[Any]) -> None:
    keys = keys_of(items)
    for i, one in enumerate(items):
        for j, other in enumerate(items):
            assert (keys[i] == keys[j]) == same(one, other), (one, other)


def test_a_key_does_not_depend_on_the_company_of_the_item() -> None:
    alone = [keys_of([item])[0] for item in (1, "1", 2.5, None, datetime(2026, 1, 1, tzinfo=UTC))]
    assert keys_of([1, "1", 2.5, None, datetime(2026, 1, 1, tzinfo=UTC)]) == alone
    assert len(set(alone)) == 5


def test_a_salt_keeps_tables_of_other_types_apart() -> None:
    assert keys_of([1], "int8") != keys_of([1], "int64")


def test_rows_of_tables_are_told_apart_by_names_and_values() -> None:
    one = pa.table({"a": [1, 1, 2], "b": ["x", "x", "x"]})
    keys = [row.tobytes() for row in item_keys(one, "row")]
    assert keys[0] == keys[1] != keys[2]
    assert item_keys(one.rename_columns(["a", "c"]), "row")[0].tobytes() != keys[0]


def test_arrays_are_equal_by_dtype_shape_and_bytes() -> None:
    flat = np.zeros(4, np.uint8)
    keys = keys_of([flat, flat.copy(), flat.reshape(2, 2), flat.astype(np.int8), flat + 1])
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4


columns = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=1, max_size=20),
    st.lists(st.one_of(st.none(), st.sampled_from(["", "a", "b"])), min_size=1, max_size=20),
    st.lists(st.one_of(st.none(), st.sampled_from([0.0, -0.0, float("nan"), 1.5])), min_size=1, max_size=20),
    st.lists(st.one_of(st.none(), st.lists(st.integers(0, 1), max_size=2)), min_size=1, max_size=20),
    st.lists(st.fixed_dictionaries({"k": st.integers(0, 2)}), min_size=1, max_size=20),
    st.lists(st.booleans(), min_size=1, max_size=20),
)


@given(columns, st.data())
def test_the_first_equal_row_is_found(values: list[Any], data: st.DataObject) -> None:
    more = data.draw(st.lists(st.integers(0, 1), min_size=len(values), max_size=len(values)))
    rows = [repr(row) for row in zip(values, more, strict=True)]
    column = pa.array(values)
    cut = data.draw(st.integers(0, len(values)))
    chunked = pa.chunked_array([column[:cut], column[cut:]])
    expected = [rows.index(row) for row in rows]
    assert first_equal([chunked, pa.array(more)]).tolist() == expected
    alone = [repr(value) for value in values]
    assert first_equal([column]).tolist() == [alone.index(value) for value in alone]


def test_what_cannot_be_written_down_is_like_nothing_else() -> None:
    moments = pa.array([[1], [1]], pa.list_(pa.decimal128(5, 2)))
    assert first_equal([moments]).tolist() == [0, 1]
    assert first_equal([pa.array([], pa.string())]).tolist() == []
