"""When two items of a batch are the same: a hash of each item, and the first job with equal content."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as at

from dfbatch.errors import InvalidType
from dfbatch.ledger.columns import Int64s
from dfbatch.ledger.item_codec import ItemKind, items_from_table
from dfbatch.ledger.item_json import to_text
from dfbatch.ledger.reuse_index import KEY_BYTES, Keys


def item_keys(inputs: pa.Table, kind: ItemKind, salt: str = "") -> Keys:
    """A SHA-256 of each item as a per-item verifier gets it; zeros for one that cannot be written down.

    ``salt`` keeps apart what must not be taken for the same, such as tables of other types for ``verify_batch``.
    """
    start = f"dfbatch item {salt}\n".encode()
    digests = [_digest(start, item) for item in items_from_table(inputs, kind)]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), KEY_BYTES)


def _digest(start: bytes, item: Any) -> bytes:
    try:
        # A whole number is the same in JSON, and most lists of items are of these.
        text = str(item) if type(item) is int else to_text(item, "item")
    except InvalidType:
        return bytes(KEY_BYTES)
    return hashlib.sha256(start + text.encode()).digest()


def first_equal(columns: list[Any]) -> Int64s:
    """For each row the first row that is equal in all columns; itself if there is none before."""
    codes = _codes(columns[0])
    for column in columns[1:]:
        more = _codes(column)
        _, codes = np.unique(codes * (int(more.max(initial=0)) + 1) + more, return_inverse=True)
    rows = np.arange(len(codes))
    first = np.empty(int(codes.max(initial=-1)) + 1, np.int64)
    first[codes[::-1]] = rows[::-1]  # of those that are written to one place the last one stays: the first row
    return np.asarray(first[codes], np.int64)


def _codes(column: Any) -> npt.NDArray[np.int64]:
    """A small number for each value, equal for equal values only. Nulls are equal to each other."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if at.is_floating(column.type):
        # By their bits: minus zero is another item than zero.
        bits = column.to_numpy(zero_copy_only=False).astype(np.float64).view(np.int64)
        column = pa.array(bits, mask=np.asarray(column.is_null()))
    elif at.is_nested(column.type):
        column = pa.array([_text(value, row) for row, value in enumerate(column.to_pylist())], pa.string())
    elif at.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    codes = pc.fill_null(column.dictionary_encode().indices, -1)
    return np.asarray(codes.to_numpy(zero_copy_only=False), np.int64) + 1


def _text(value: Any, row: int) -> str | None:
    """The value as JSON text, or something that only this row has if it cannot be written down."""
    try:
        return None if value is None else to_text(value, "item")
    except InvalidType:
        return f"row {row}"
