"""Arrow types of the user's columns, and the fewer ones that a Delta table can hold.

``storable(type)`` names the type that is stored; ``convert`` goes there and back again.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as at

from dfbatch.errors import InvalidType

_PLAIN = (
    at.is_boolean,
    at.is_int8,
    at.is_int16,
    at.is_int32,
    at.is_int64,
    at.is_float32,
    at.is_float64,
    at.is_string,
    at.is_binary,
    at.is_date32,
)
_WIDENED = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.float16(): pa.float32()}
_WIDENED |= {pa.uint64(): pa.decimal128(20, 0), pa.null(): pa.string(), pa.date64(): pa.date32()}
_WIDENED |= {pa.large_string(): pa.string(), pa.string_view(): pa.string()}
_WIDENED |= {pa.large_binary(): pa.binary(), pa.binary_view(): pa.binary()}
_EMPTY_STRUCT = pa.bool_()


def storable(kind: Any, name: str = "column") -> Any:
    """The Arrow type under which values of ``kind`` are stored. Raises InvalidType, naming ``name``, if there is none.

    Times of day and durations become int64 microseconds, unsigned integers the next wider signed ones, categories
    their values, and a column of nothing but nulls a string.
    """
    if any(test(kind) for test in _PLAIN):
        return kind
    if kind in _WIDENED:
        return _WIDENED[kind]
    if at.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if at.is_time(kind) or at.is_duration(kind):
        return pa.int64()
    if at.is_decimal(kind) and kind.precision <= 38:
        return pa.decimal128(kind.precision, kind.scale)
    if at.is_fixed_size_binary(kind):
        return pa.binary()
    return _storable_nested(kind, name)


def _storable_nested(kind: Any, name: str) -> Any:
    if at.is_dictionary(kind):
        return storable(kind.value_type, name)
    if isinstance(kind, pa.BaseExtensionType):
        return storable(kind.storage_type, name)
    if _is_list(kind):
        return pa.list_(storable(kind.value_type, name))
    if at.is_map(kind):
        return pa.map_(storable(kind.key_type, name), storable(kind.item_type, name))
    if at.is_struct(kind):
        if kind.num_fields == 0:
            return _EMPTY_STRUCT
        return pa.struct([(f.name, storable(f.type, f"{name}.{f.name}")) for f in kind])
    raise InvalidType(name, f"values of the type {kind} cannot be kept in a table", "Convert them to text or numbers")


def storable_schema(schema: pa.Schema) -> pa.Schema:
    """The schema under which a table of ``schema`` is stored."""
    return pa.schema([(field.name, storable(field.type, field.name)) for field in schema])


def convert(values: Any, kind: Any) -> Any:
    """An Array or ChunkedArray as ``kind``: to its storable type, from it, or to a wider one."""
    if values.type.equals(kind):
        return values
    if isinstance(values, pa.ChunkedArray):
        return pa.chunked_array([convert(chunk, kind) for chunk in values.chunks], type=kind)
    return _convert_array(values, kind)


def _convert_array(values: Any, kind: Any) -> Any:
    start = values.type
    if at.is_null(start) or at.is_null(kind):
        return pa.nulls(len(values), kind)
    if isinstance(start, pa.BaseExtensionType):
        return convert(values.storage, kind)
    if isinstance(kind, pa.BaseExtensionType):
        return kind.wrap_array(convert(values, kind.storage_type))
    if at.is_struct(kind) and at.is_struct(start) and kind.num_fields:
        return _convert_struct(values, kind)
    if at.is_struct(start) and start.num_fields == 0:
        return pc.if_else(values.is_valid(), True, None).cast(kind)
    if at.is_struct(kind) and kind.num_fields == 0:
        return pa.array([None if ok is None else {} for ok in values.to_pylist()], type=kind)
    if at.is_list(kind) and _is_list(start):
        return _convert_list(values, kind)
    if at.is_time(start) or at.is_duration(start):
        return _to_microseconds(values).cast(kind)
    if at.is_int64(start) and (at.is_time(kind) or at.is_duration(kind)):
        return _of_microseconds(values, kind)
    if at.is_timestamp(start) and at.is_timestamp(kind):
        return values.cast(kind, safe=False)
    if at.is_integer(start) and at.is_floating(kind):
        return values.cast(kind, safe=False)  # the nearest number, as everywhere that whole numbers meet fractions
    return values.cast(kind)


def _is_list(kind: Any) -> bool:
    return bool(
        at.is_list(kind)
        or at.is_large_list(kind)
        or at.is_fixed_size_list(kind)
        or at.is_list_view(kind)
        or at.is_large_list_view(kind)
    )


def _convert_struct(values: Any, kind: Any) -> Any:
    """Field by field, by name; a field that is missing is null."""
    have = {values.type.field(i).name: i for i in range(values.type.num_fields)}
    columns = []
    for field in kind:
        at_index = have.get(field.name)
        column = pa.nulls(len(values), field.type) if at_index is None else convert(values.field(at_index), field.type)
        columns.append(column)
    return pa.StructArray.from_arrays(columns, fields=list(kind), mask=values.is_null() if values.null_count else None)


def _convert_list(values: Any, kind: Any) -> Any:
    if not at.is_list(values.type):
        values = values.cast(pa.list_(values.type.value_type))
    if values.offset:
        values = values.take(pa.array(range(len(values)), pa.int64()))  # from_arrays refuses a mask over a slice
    return pa.ListArray.from_arrays(
        values.offsets,
        convert(values.values, kind.value_type),
        type=kind,
        mask=values.is_null() if values.null_count else None,
    )


def _to_microseconds(values: Any) -> Any:
    if at.is_duration(values.type):
        return values.cast(pa.duration("us"), safe=False).cast(pa.int64())
    return values.cast(pa.time64("us"), safe=False).cast(pa.int64())


def _of_microseconds(values: Any, kind: Any) -> Any:
    middle = pa.duration("us") if at.is_duration(kind) else pa.time64("us")
    return values.cast(middle).cast(kind, safe=False)
