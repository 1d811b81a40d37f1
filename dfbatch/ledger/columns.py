"""Rows on their way into and out of a table: the right columns, sorted by key, with their bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as at

from dfbatch.errors import InvalidInput
from dfbatch.ledger.arrow_types import convert

Int64s = npt.NDArray[np.int64]

_MOST_SLICES = 4096
"""A permutation of at most so many runs is carried out by slicing; beyond it, copying is cheaper."""


def conform(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """``table`` with the columns of ``schema``, in its order.

    Missing and null-typed columns become nulls; a dictionary-encoded column of the right value type stays as it is,
    because the Parquet writer takes it so for nothing. Raises InvalidInput for columns that the schema has not.
    """
    extra = set(table.column_names) - set(schema.names)
    if extra:
        raise InvalidInput(name, f"has no column {sorted(extra)[0]!r}", f"Its columns are {', '.join(schema.names)}")
    columns = []
    for field in schema:
        column = table.column(field.name) if field.name in table.column_names else pa.nulls(len(table), field.type)
        encoded = at.is_dictionary(column.type) and column.type.value_type.equals(field.type)
        columns.append(column if encoded else convert(column, field.type))
    names = list(schema.names)
    return pa.table(columns, names=names)


def decoded(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """``table`` with every column as ``schema`` has it, none dictionary-encoded."""
    if table.schema.equals(schema):
        return table
    return pa.table([convert(table.column(f.name), f.type) for f in schema], names=list(schema.names))


def encoded_columns(table: pa.Table) -> list[str]:
    """Names of the dictionary-encoded columns."""
    return [field.name for field in table.schema if at.is_dictionary(field.type)]


def sort_by_key(table: pa.Table) -> pa.Table:
    """``table`` sorted by (batch_id, job_index), stable; as it is if it is sorted or has no key."""
    order = key_order(table)
    return table if order is None else take_rows(table, order)


def key_order(table: pa.Table) -> Int64s | None:
    """The stable order by (batch_id, job_index); None if the rows are in it or the table has no such key."""
    if "job_index" not in table.column_names or len(table) < 2:
        return None
    index = numbers(table.column("job_index"))
    codes = _batch_ranks(table.column("batch_id"))
    if codes is None:
        return None if bool(np.all(index[1:] >= index[:-1])) else np.argsort(index, kind="stable")
    step = codes[1:] - codes[:-1]
    if bool(np.all((step > 0) | ((step == 0) & (index[1:] >= index[:-1])))):
        return None
    return np.lexsort((index, codes)).astype(np.int64)


def bounds(table: pa.Table) -> tuple[tuple[str, str] | None, tuple[int, int] | None]:
    """Smallest and greatest batch_id and job_index; None where the column is missing or holds a null."""
    batches = indices = None
    if "batch_id" in table.column_names and len(table) and not table.column("batch_id").null_count:
        distinct = _distinct(table.column("batch_id"))
        batches = (min(distinct), max(distinct))
    if "job_index" in table.column_names and len(table) and not table.column("job_index").null_count:
        index = numbers(table.column("job_index"))
        indices = (int(index.min()), int(index.max()))
    return batches, indices


def numbers(column: Any) -> Any:
    """A numeric column as one numpy array, without a copy where there is one chunk. Nulls are not allowed."""
    if at.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks == 1:
            column = column.chunk(0)
        else:
            return column.to_numpy()
    return column.to_numpy(zero_copy_only=False)


def take_rows(values: Any, order: Int64s) -> Any:
    """Rows of a Table or ChunkedArray in the order of ``order``, which may repeat or leave out rows.

    Where the order is made of long runs, slices are joined and nothing is copied.
    """
    n = len(order)
    if n == 0:
        return values.slice(0, 0)
    breaks = np.flatnonzero(order[1:] != order[:-1] + 1) + 1
    if len(breaks) == 0 and n == len(values):
        return values
    if len(breaks) >= min(_MOST_SLICES, n // 64 + 1):
        return values.take(pa.array(order))
    starts = np.concatenate(([0], breaks))
    lengths = np.diff(np.concatenate((starts, [n])))
    pieces = [values.slice(int(order[s]), int(length)) for s, length in zip(starts, lengths, strict=True)]
    if isinstance(values, pa.Table):
        return pa.concat_tables(pieces)
    return pa.chunked_array([chunk for piece in pieces for chunk in piece.chunks], type=values.type)


def _distinct(column: Any) -> list[str]:
    if not at.is_dictionary(column.type):
        return pc.unique(column).to_pylist()  # type: ignore[no-any-return, unused-ignore]
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return [value for chunk in chunks for value in chunk.dictionary.take(pc.unique(chunk.indices)).to_pylist()]


def _batch_ranks(column: Any) -> Int64s | None:
    """The rank of each row's batch among the batches by name; None if there is only one."""
    distinct = sorted(set(_distinct(column)))
    if len(distinct) < 2:
        return None
    plain = column.cast(pa.string()) if at.is_dictionary(column.type) else column
    ranks = pc.index_in(plain, value_set=pa.array(distinct, pa.string()))
    return numbers(ranks).astype(np.int64)  # type: ignore[no-any-return, unused-ignore]
