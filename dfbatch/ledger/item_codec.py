"""Items as Arrow columns and back, so that a per-item verifier gets each element as it was given.

Items that are of one type stand in the column ``item``. Arrays stand in ``item_array`` (dtype, shape, bytes). What no
Arrow column holds without changing it (mixed types, dicts with different keys, integers beyond 64 bits) stands as JSON
text in ``item_json``. A slice may have several of these columns; the one that is not null is the element.

Three things do change: a tuple comes back as a list, a subclass (an enum member, a numpy or pandas scalar) as the
Python value it stands for, and ``bytearray`` and ``memoryview`` as ``bytes``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as at

from dfbatch.errors import InvalidInput, InvalidType
from dfbatch.ledger.item_json import ALLOWED, array_dtype, from_text, to_text

ItemKind = Literal["value", "row"]
"""How inputs became items: each element is a ``value``, or each row of a table is a dict."""

ITEM, ITEM_JSON, ITEM_ARRAY = "item", "item_json", "item_array"
_ARRAY = pa.struct([("dtype", pa.string()), ("shape", pa.list_(pa.int64())), ("data", pa.binary())])
_FLAT = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.binary()}
_FLAT |= {np.bool_: pa.bool_(), np.int64: pa.int64(), np.int32: pa.int64(), np.float64: pa.float64()}
_FLAT |= {np.float32: pa.float64(), np.str_: pa.string()}
_NONE = type(None)


class _NoColumn(Exception):
    """No Arrow type holds these values without changing them."""


# ------------------------------------------------------------------------------------------------ encode


def encode_items(items: Any, columnar: bool = False, first: int = 0) -> pa.Table:
    """Items (list, tuple, range, numpy array, Arrow array) as a table of one of the columns above.

    ``columnar``: the verifier wants the column ``item`` itself (``verify_batch``), so numbers are widened, dicts get
    every key, and items that have no common type are refused. ``first`` is the index of the first item, for messages.
    Raises InvalidType, naming the index and the type, for an item that cannot be carried.
    """
    column = as_column(items)
    if column is not None:
        return pa.table({ITEM: column})
    items = list(items)
    if columnar:
        return pa.table({ITEM: _common_column(items, first)})
    try:
        if not items or set(map(type, items)) == {_NONE}:
            return pa.table({ITEM_JSON: pa.nulls(len(items), pa.string())})
        if np.ndarray in set(map(type, items)):
            return pa.table({ITEM_ARRAY: _arrays(items, first)})
        return pa.table({ITEM: pa.array(items, _arrow_type(items))})
    except (_NoColumn, OverflowError, UnicodeEncodeError, pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.table({ITEM_JSON: _texts(items, first)})


class SliceEncoder:
    """Encodes a stream of items slice by slice into tables of one schema, that of the first slice.

    What does not fit the first slice's type goes into ``item_json``, so a stream never fails half-way because a
    later item looks different; with ``columnar`` it is refused instead.
    """

    def __init__(self, columnar: bool = False) -> None:
        self._columnar = columnar
        self._schema: pa.Schema | None = None
        self._done = 0

    def encode(self, items: Sequence[Any]) -> pa.Table:
        """The next slice as a table of one row per item. Raises InvalidType if a columnar stream changes its type."""
        table = encode_items(items, self._columnar, self._done)
        if self._schema is None:
            extra = [] if self._columnar or ITEM_JSON in table.column_names else [pa.field(ITEM_JSON, pa.string())]
            self._schema = pa.schema([*table.schema, *extra])
        table = self._fit(table, items)
        self._done += len(items)
        return table

    def _fit(self, table: pa.Table, items: Sequence[Any]) -> pa.Table:
        assert self._schema is not None
        if self._columnar:
            return self._cast(table, self._schema)
        if any(self._schema.field(f.name).type != f.type for f in table.schema if f.name in self._schema.names) or set(
            table.column_names
        ) - set(self._schema.names):
            table = pa.table({ITEM_JSON: _texts(list(items), self._done)})
        columns = [
            table.column(f.name) if f.name in table.column_names else pa.nulls(len(table), f.type) for f in self._schema
        ]
        return pa.table(columns, schema=self._schema)

    def _cast(self, table: pa.Table, schema: pa.Schema) -> pa.Table:
        try:
            return table.cast(schema)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise InvalidType(
                f"items[{self._done}:]",
                f"is of type {table.schema.field(ITEM).type}, but the stream began with {schema.field(ITEM).type}",
                "Give items of one type, or a verifier with __call__(item) instead of verify_batch",
            ) from error


def as_column(items: Any) -> Any:
    """The items as an Arrow array if they are columnar already (range, 1-D numpy, Arrow array), else None."""
    if isinstance(items, range):
        if not items or max(abs(items[0]), abs(items[-1])) < 2**62:
            return pa.array(np.arange(items.start, items.start + len(items) * items.step, items.step, dtype=np.int64))
        return None
    if isinstance(items, pa.Array | pa.ChunkedArray):
        return items
    if isinstance(items, np.ndarray) and items.ndim == 1 and items.dtype.kind in "biufUSM":
        return _numpy_column(items)
    return None


def _numpy_column(items: Any) -> Any:
    if items.dtype.kind == "M":
        return pa.array(items.astype("datetime64[us]"))
    native = items.astype(items.dtype.newbyteorder("="), copy=False)
    column = pa.array(native)
    return column.cast(pa.float32()) if at.is_float16(column.type) else column


def _arrow_type(values: list[Any]) -> Any:
    """The Arrow type that holds all values unchanged. Raises _NoColumn if there is none."""
    kinds = set(map(type, values)) - {_NONE}
    if len(kinds) == 1:
        kind = next(iter(kinds))
        flat = _FLAT.get(kind)
        if flat is not None:
            return flat
        if kind is datetime:
            return _datetime_type(values)
        if kind is dict:
            return _struct_type([v for v in values if v is not None])
    if kinds and kinds <= {list, tuple}:
        return pa.list_(_arrow_type(list(chain.from_iterable(v for v in values if v is not None))))
    raise _NoColumn


def _datetime_type(values: list[Any]) -> Any:
    zones = {v.tzinfo for v in values if v is not None}
    if zones == {None}:
        return pa.timestamp("us")
    if zones == {UTC}:
        return pa.timestamp("us", tz="UTC")
    raise _NoColumn


def _struct_type(values: list[dict[Any, Any]]) -> Any:
    shapes = set(map(tuple, values))
    keys = next(iter(shapes))
    if len(shapes) > 1 or not keys or set(map(type, keys)) != {str}:
        raise _NoColumn
    if len({key.lower() for key in keys}) < len(keys):
        raise _NoColumn  # a Delta table does not tell column names apart by case
    return pa.struct([(key, _arrow_type([value[key] for value in values])) for key in keys])


def _arrays(items: list[Any], first: int) -> Any:
    if set(map(type, items)) - {np.ndarray, _NONE}:
        raise _NoColumn
    rows: list[dict[str, Any] | None] = []
    for i, item in enumerate(items):
        if item is None:
            rows.append(None)
            continue
        dtype = array_dtype(item, f"items[{first + i}]")
        data = np.ascontiguousarray(item).astype(dtype, copy=False).tobytes()
        rows.append({"dtype": dtype.str, "shape": item.shape, "data": data})
    return pa.array(rows, _ARRAY)


def _texts(items: list[Any], first: int) -> Any:
    return pa.array(
        [None if item is None else to_text(item, f"items[{first + i}]") for i, item in enumerate(items)], pa.string()
    )


def _common_column(items: list[Any], first: int) -> Any:
    """One Arrow column for ``verify_batch``; widening is welcome here, silent changes of kind are not."""
    plain = [item.tolist() if isinstance(item, np.ndarray) else item for item in items]
    for i, item in enumerate(items):
        if type(item) not in _FLAT and item is not None:
            to_text(item, f"items[{first + i}]")  # refuses what cannot be carried at all
    odd = _odd_pair(plain)
    if odd is None:
        try:
            column = pa.array(plain)
            return pa.nulls(len(plain), pa.bool_()) if at.is_null(column.type) else column
        except (OverflowError, UnicodeEncodeError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise InvalidType(
                "items",
                f"cannot stand in one column ({error})",
                "Give a verifier with __call__(item) instead of verify_batch, or make the items alike",
            ) from error
    i, j = odd
    raise InvalidType(
        f"items[{first + j}]",
        f"is {type(plain[j]).__name__}, but items[{first + i}] is {type(plain[i]).__name__}, and one column cannot "
        "hold both",
        "Give a verifier with __call__(item) instead of verify_batch, or make the items alike",
    )


def _odd_pair(items: list[Any]) -> tuple[int, int] | None:
    """The indices of the first two items of kinds that no column holds together, or None."""
    if len(set(map(type, items)) - {_NONE}) < 2:
        return None
    start: tuple[int, type] | None = None
    for i, item in enumerate(items):
        if item is None:
            continue
        kind = _family(item)
        if start is None:
            start = (i, kind)
        elif kind is not start[1]:
            return start[0], i
    return None


def _family(item: Any) -> type:
    for families, answer in (
        ((bool, np.bool_), bool),
        ((int, float, np.number), float),
        ((str,), str),
        ((bytes, bytearray, memoryview), bytes),
        ((list, tuple, np.ndarray), list),
    ):
        if isinstance(item, families):
            return answer
    return type(item)


# ------------------------------------------------------------------------------------------------ decode


def items_from_table(inputs: pa.Table, kind: ItemKind) -> list[Any]:
    """The elements that a slice of ``inputs`` stands for, in order; for ``row``, one dict a row."""
    if kind == "row":
        rows: list[Any] = _tame(inputs).to_pylist()
        return rows
    names = inputs.column_names
    if names == [ITEM]:
        return _values(inputs.column(ITEM))
    found: list[Any] = [None] * len(inputs)
    decoders: tuple[tuple[str, Callable[[Any], list[Any]]], ...] = (
        (ITEM, _values),
        (ITEM_ARRAY, _restore_arrays),
        (ITEM_JSON, _restore_texts),
    )
    for name, decode in decoders:
        if name in names and inputs.column(name).null_count < len(inputs):
            some = decode(inputs.column(name))
            found = [new if old is None else old for old, new in zip(found, some, strict=True)]
    return found


def vector_table(inputs: pa.Table, kind: ItemKind) -> pa.Table:
    """What ``verify_batch`` gets: the table's columns, or exactly the column ``item``.

    Raises InvalidType if the items of this slice have no common type.
    """
    if kind == "row" or inputs.column_names == [ITEM]:
        return inputs
    if inputs.column_names == [ITEM, ITEM_JSON] and inputs.column(ITEM_JSON).null_count == len(inputs):
        return inputs.select([ITEM])
    return encode_items(items_from_table(inputs, kind), columnar=True)


def _values(column: Any) -> list[Any]:
    values = _tame(pa.table({ITEM: column})).column(ITEM)
    items: list[Any] = values.to_pylist()
    if at.is_timestamp(values.type) and values.type.tz == "UTC":
        return [None if item is None else item.replace(tzinfo=UTC) for item in items]
    return items


def _restore_arrays(column: Any) -> list[Any]:
    return [
        None if row is None else np.frombuffer(row["data"], np.dtype(row["dtype"])).reshape(row["shape"]).copy()
        for row in column.to_pylist()
    ]


def _restore_texts(column: Any) -> list[Any]:
    return [None if text is None else from_text(text) for text in column.to_pylist()]


def _tame(table: pa.Table) -> pa.Table:
    """Nanosecond instants cut to microseconds, so that rows hold datetimes whether or not pandas is installed."""
    for i, field in enumerate(table.schema):
        if at.is_timestamp(field.type) and field.type.unit == "ns":
            cut = pc.cast(table.column(i), pa.timestamp("us", tz=field.type.tz), safe=False)
            table = table.set_column(i, field.name, cut)
    return table


def check_items(items: Any) -> None:
    """Raise InvalidInput if ``items`` is a str, bytes or dict, which are one item and not many."""
    if isinstance(items, str | bytes | bytearray | dict):
        raise InvalidType(
            "items",
            f"is one {type(items).__name__}, not several items",
            "Put it into a list, or use client.submit(verifier, item)",
        )
    if isinstance(items, Sequence) and not len(items):
        raise InvalidInput("items", "is empty", f"Give at least one item: {ALLOWED}")
