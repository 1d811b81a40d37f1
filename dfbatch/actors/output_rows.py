"""What verifiers returned, as Arrow columns; the item whose value does not fit is found and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as at

from dfbatch.errors import OutputInvalid

VALUE = "value"


def output_table(values: Sequence[Any]) -> tuple[pa.Table | None, dict[int, OutputInvalid]]:
    """(table with one struct column ``output``, errors by position). None for positions without output.

    A mapping gives a column per key; any other value stands in the column ``value``.
    """
    rows = [value if isinstance(value, Mapping) else {VALUE: value} for value in values]
    try:
        column = pa.array(rows)
        return _stored(column), {}
    except (
        pa.ArrowInvalid,
        pa.ArrowTypeError,
        pa.ArrowNotImplementedError,
        OverflowError,
        UnicodeEncodeError,
        TypeError,
    ):
        return _one_by_one(values, rows)


def _one_by_one(values: Sequence[Any], rows: Sequence[Any]) -> tuple[pa.Table | None, dict[int, OutputInvalid]]:
    """The slow way: each row alone, then grown into the type of those before."""
    errors: dict[int, OutputInvalid] = {}
    good: list[Any] = []
    kind: Any = None
    for position, row in enumerate(rows):
        try:
            one = pa.array([row]).type
            kind = (
                one
                if kind is None
                else pa.unify_schemas(
                    [pa.schema([("output", kind)]), pa.schema([("output", one)])], promote_options="permissive"
                )
                .field(0)
                .type
            )
            good.append(row)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError) as error:
            errors[position] = OutputInvalid(
                f"The verifier returned {_shown(values[position])}, which does not fit into the table: {error}. "
                f"Return a number, text, bytes, a list, or a dict of these, with the same types for every item."
            )
            good.append(None)
    if kind is None:
        return None, errors
    return _stored(pa.array(good, kind)), errors


def _stored(column: Any) -> pa.Table | None:
    """The column as a table, without the fields that hold nothing but nulls; None if nothing is left."""
    if not at.is_struct(column.type):
        return None
    fields = [f for f in column.type if not at.is_null(f.type)]
    if not fields:
        return None
    if len(fields) < column.type.num_fields:
        parts = [column.field(f.name) for f in fields]
        column = pa.StructArray.from_arrays(parts, fields=fields, mask=column.is_null() if column.null_count else None)
    return pa.table({"output": column})


def vector_output(returned: Any, n: int) -> pa.Table | None:
    """What ``verify_batch`` returned for ``n`` items. Raises OutputInvalid if it is of another length or kind."""
    if returned is None:
        return None
    if isinstance(returned, pa.RecordBatch):
        returned = pa.Table.from_batches([returned])
    if isinstance(returned, (pa.Array, pa.ChunkedArray)):
        returned = pa.table({VALUE: returned})
    if isinstance(returned, Mapping):
        returned = pa.table(dict(returned))
    if hasattr(returned, "__arrow_c_stream__") and not isinstance(returned, pa.Table):
        returned = pa.table(returned)
    if isinstance(returned, pa.Table):
        if len(returned) != n:
            raise OutputInvalid(f"verify_batch returned {len(returned)} rows for {n} items. Return one row per item.")
        columns = [c.combine_chunks() if c.num_chunks != 1 else c.chunk(0) for c in returned.columns]
        if not columns:
            return None
        return _stored(pa.StructArray.from_arrays(columns, fields=list(returned.schema)))
    try:
        values = list(returned)
    except TypeError:
        raise OutputInvalid(
            f"verify_batch returned {_shown(returned)}. Return a pyarrow.Table or a list with one row per item."
        ) from None
    if len(values) != n:
        raise OutputInvalid(f"verify_batch returned {len(values)} values for {n} items. Return one per item.")
    table, errors = output_table(values)
    if errors:
        raise next(iter(errors.values()))
    return table


def _shown(value: Any) -> str:
    text = f"{type(value).__name__} {value!r}" if isinstance(value, (int, float, str, bool)) else type(value).__name__
    return text if len(text) < 80 else text[:77] + "..."
