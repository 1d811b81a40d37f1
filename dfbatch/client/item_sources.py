"""Items of ``client.map`` as a Payload or a Stream of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from dfbatch.client.sources import (
    Payload,
    Stream,
    as_table,
    is_dataset,
    is_stream,
    read_elements,
    series_values,
    stream_tables,
)
from dfbatch.errors import InvalidInput, InvalidType
from dfbatch.ledger.arrow_types import storable_schema
from dfbatch.ledger.item_codec import SliceEncoder, encode_items

_ONE_ITEM = (str, bytes, bytearray, memoryview, dict)


def item_payload(items: Any, columnar: bool = False) -> Payload | Stream:
    """The items as columns; a Stream for a Ray Dataset, a queue or an iterator.

    A list, tuple, range, array or series gives one item per element; a table one dict per row, with its columns kept.
    ``columnar``: the verifier has ``verify_batch``, so items must fit into one column. Raises InvalidInput if there
    is no item, and InvalidType, naming index and type, for an item that cannot be carried.
    """
    if isinstance(items, _ONE_ITEM):
        raise InvalidType(
            "items",
            f"is one {type(items).__name__}, not several items",
            "Put it into a list, or use client.submit(verifier, item)",
        )
    if is_stream(items):
        return _stream(items, columnar)
    table = as_table(items, "items")
    if table is not None:
        return Payload(n=len(table), inputs=table, items="row")
    return _values(items, columnar)


def _values(items: Any, columnar: bool) -> Payload:
    series = series_values(items, "items")
    values = items if series is None else series
    if not hasattr(values, "__len__"):
        if not isinstance(values, Iterable):
            raise InvalidType(
                "items",
                f"is of type {type(items).__name__}, which holds no items",
                "Give a list, a table, a Ray Dataset or an iterator",
            )
        values = list(values)
    if getattr(values, "ndim", 1) == 0 or not len(values):
        raise InvalidInput("items", "holds no item", "Give at least one")
    inputs = encode_items(values, columnar)
    storable_schema(inputs.schema)
    return Payload(n=len(inputs), inputs=inputs, items="value")


def _stream(items: Any, columnar: bool) -> Stream:
    tables = stream_tables(items)
    if tables is not None:
        payloads = (Payload(n=len(table), inputs=table, items="row") for table in alike(tables, "items"))
        return Stream(payloads, "row", reads_dataset=is_dataset(items))
    reader = read_elements(items)
    return Stream(_encoded(reader.slices(), columnar), "value", reader.close)


def _encoded(slices: Iterator[list[Any]], columnar: bool) -> Iterator[Payload]:
    encoder = SliceEncoder(columnar)
    for elements in slices:
        yield Payload(n=len(elements), inputs=encoder.encode(elements), items="value")


def alike(tables: Iterator[pa.Table], argument: str) -> Iterator[pa.Table]:
    """The tables of a stream with the schema of the first; InvalidInput, naming the column, if one differs."""
    schema: pa.Schema | None = None
    for found in tables:
        table = as_table(found, argument)
        assert table is not None
        if schema is None:
            schema = _without_nulls(table.schema)
        yield _as(table, schema, argument)


def _without_nulls(schema: pa.Schema) -> pa.Schema:
    """A first block may hold nothing but nulls in a column; the ledger stores such a column as text."""
    return pa.schema([pa.field(f.name, pa.string() if pa.types.is_null(f.type) else f.type) for f in schema])


def _as(table: pa.Table, schema: pa.Schema, argument: str) -> pa.Table:
    if set(table.column_names) != set(schema.names):
        odd = sorted(set(table.column_names) ^ set(schema.names))[0]
        raise InvalidInput(argument, f"has the column {odd!r} in some of its blocks only", "Make the blocks alike")
    columns = []
    for field in schema:
        try:
            columns.append(table.column(field.name).cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InvalidInput(
                argument,
                f"the column {field.name!r} begins as {field.type} and goes on as "
                f"{table.schema.field(field.name).type}",
                "Cast it to one type first",
            ) from error
    return pa.table(columns, schema=schema)
