"""What verifiers returned, as Arrow columns; the item whose value does not fit is found and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as at

from dfbatch.actors.output_types import wider
from dfbatch.errors import OutputInvalid
from dfbatch.ledger.arrow_types import storable

VALUE = "value"


class WrongShape(OutputInvalid):
    """``verify_batch`` returned no row per item, so that nobody knows which row is whose. Shown as OutputInvalid."""


def output_table(values: Sequence[Any]) -> tuple[pa.Table | None, dict[int, OutputInvalid]]:
    """(table with one struct column ``output``, errors by position). None for positions without output.

    A mapping gives a column per key; any other value stands in the column ``value``.
    """
    try:
        column = pa.array([_row(value) for value in values])
        _check_kind(column.type)
    except Exception:  # a mapping of user code may raise anything
        return _one_by_one(values)
    return _stored(column), {}


def _row(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    return dict(value) if isinstance(value, Mapping) else {VALUE: value}


def _one_by_one(values: Sequence[Any]) -> tuple[pa.Table | None, dict[int, OutputInvalid]]:
    """The slow way: each row alone, then grown into the type of those before."""
    errors: dict[int, OutputInvalid] = {}
    rows: list[Any] = []
    kind: Any = None
    for position, value in enumerate(values):
        row = None
        try:
            row = _row(value)
            one = pa.array([row]).type
            grown = one if kind is None else _unified(kind, one)
            _check_kind(grown)
            kind = grown
        except Exception as error:
            errors[position] = _misfit(value, error)
            row = None
        rows.append(row)
    if kind is None:
        return None, errors
    for position, row in enumerate(rows):
        try:
            pa.array([row], kind)  # a whole number may be too large for the fractions that came after it
        except (pa.ArrowException, OverflowError) as error:
            errors[position] = _misfit(values[position], error)
            rows[position] = None
    return _stored(pa.array(rows, kind)), errors


def _unified(kind: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The struct that holds rows of both. Raises TypeError, naming the column, where there is none."""
    columns = {field.name: field.type for field in kind}
    for field in other:
        kept = columns.get(field.name, pa.null())
        grown = wider(kept, field.type)
        if grown is None:
            raise TypeError(f"the column {field.name!r} holds {kept} so far, and {field.type} here")
        columns[field.name] = grown
    return pa.struct(list(columns.items()))


def _check_kind(kind: pa.DataType) -> None:
    """Raises ValueError or InvalidType for what no table of the ledger can hold."""
    names = [kind.field(k).name for k in range(kind.num_fields)]
    folded = [name.lower() for name in names]
    twice = next((name for name in names if folded.count(name.lower()) > 1), None)
    if twice is not None:
        raise ValueError(f"the key {twice!r} occurs twice, with upper and lower case taken as one")
    for k in range(kind.num_fields):
        _check_kind(kind.field(k).type)
    storable(kind, "output")


def _misfit(value: Any, error: Exception) -> OutputInvalid:
    return OutputInvalid(
        f"The verifier returned {_shown(value)}, which does not fit into the table: {error}. "
        f"Return a number, text, bytes, a list, or a dict of these, with the same types for every item."
    )


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
            raise WrongShape(f"verify_batch returned {len(returned)} rows for {n} items. Return one row per item.")
        if not returned.num_columns:
            return None
        try:
            _check_kind(pa.struct(list(returned.schema)))
        except ValueError as error:
            raise OutputInvalid(f"verify_batch returned a table that cannot be kept: {error}") from error
        columns = [c.combine_chunks() if c.num_chunks != 1 else c.chunk(0) for c in returned.columns]
        return _stored(pa.StructArray.from_arrays(columns, fields=list(returned.schema)))
    try:
        values = list(returned)
    except TypeError:
        raise WrongShape(
            f"verify_batch returned {_shown(returned)}. Return a pyarrow.Table or a list with one row per item."
        ) from None
    if len(values) != n:
        raise WrongShape(f"verify_batch returned {len(values)} values for {n} items. Return one per item.")
    table, errors = output_table(values)
    if errors:
        raise next(iter(errors.values()))
    return table


def _shown(value: Any) -> str:
    text = f"{type(value).__name__} {value!r}" if isinstance(value, (int, float, str, bool)) else type(value).__name__
    return text if len(text) < 80 else text[:77] + "..."
