"""Sources of ``client.verify`` as a Payload or a Stream of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as at

from dfbatch.client.item_sources import alike
from dfbatch.client.media_values import ACCEPTED, is_value, media_bytes
from dfbatch.client.paths import absolute_uris, expand_argument, expand_element, expand_list
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

URI, CONTENT, FILENAME = "uri", "content", "filename"


def media_payload(source: Any) -> Payload | Stream:
    """The media items that ``source`` stands for; a Stream for a Ray Dataset, a queue or an iterator.

    In a list or table a file that is not there is an item like any other and becomes a failed row; a lone path
    without a file, an empty folder and a glob without a match raise InvalidInput. Folders come sorted by path.
    """
    if isinstance(source, str | os.PathLike):
        return _of_uris(expand_argument(_path(source, "source")))
    if is_value(source):
        return _of_elements([source])
    if is_stream(source):
        return _stream(source)
    table = as_table(source, "source")
    if table is not None:
        return table_payload(table)
    series = series_values(source, "source")
    return _of_elements(_elements(source if series is None else series.to_pylist()))


def table_payload(table: pa.Table, first: int = 0) -> Payload:
    """One item per row of a table with a column ``uri``, ``content`` (bytes) or both; the others are carried.

    A row with both is verified by its content and shown under its URI. ``first`` is the number of the first row, for
    messages. A column ``filename`` (what the content was called) is used and carried.
    """
    names = table.column_names
    if URI not in names and CONTENT not in names:
        near = next(
            (name for name in names if name.lower() in ("path", "file", "url", "image", "bytes", "media")), None
        )
        hint = f"Rename {near!r}" if near else "Name one of them so"
        raise InvalidInput("source", f"has no column 'uri' or 'content' among {', '.join(names)}", hint)
    new_blobs: dict[str, bytes] = {}
    uris = _uri_column(table) if URI in names else None
    blobs = _blob_column(table, new_blobs) if CONTENT in names else None
    _check_rows(uris, blobs, first)
    carried = [name for name in names if name not in (URI, CONTENT)]
    return Payload(
        n=len(table),
        uris=uris,
        blobs=blobs,
        filenames=_text(table.column(FILENAME), FILENAME) if FILENAME in names else None,
        inputs=table.select(carried) if carried else None,
        new_blobs=new_blobs,
    )


def _of_uris(uris: list[str]) -> Payload:
    return Payload(n=len(uris), uris=pa.array(uris, pa.string()))


def _of_elements(elements: list[Any], first: int = 0) -> Payload:
    kinds = set(map(type, elements))
    if all(issubclass(kind, str | os.PathLike) for kind in kinds):
        paths = elements if kinds == {str} else [_path(e, f"source[{first + i}]") for i, e in enumerate(elements)]
        return _of_uris(expand_list(paths))
    uris: list[str | None] = []
    blobs: list[str | None] = []
    new_blobs: dict[str, bytes] = {}
    for i, element in enumerate(elements, first):
        where = f"source[{i}]"
        if isinstance(element, str | os.PathLike):
            found = expand_element(_path(element, where), where)
            uris += found
            blobs += [None] * len(found)
        else:
            uris.append(None)
            blobs.append(_keep(media_bytes(element, where), new_blobs))
    return Payload(
        n=len(uris),
        uris=None if uris.count(None) == len(uris) else pa.array(uris, pa.string()),
        blobs=pa.array(blobs, pa.string()),
        new_blobs=new_blobs,
    )


def _elements(source: Any) -> list[Any]:
    if isinstance(source, dict) or not isinstance(source, Iterable) or getattr(source, "ndim", 1) == 0:
        raise InvalidType(
            "source", f"is of type {type(source).__name__}", f"Give {ACCEPTED}, a list of these, or a table"
        )
    if isinstance(source, np.ndarray) and source.ndim == 1 and source.dtype.kind not in "OU":
        raise InvalidType("source", f"is a row of {source.dtype}, which is no picture", f"Give {ACCEPTED}")
    elements = list(source)
    if not elements:
        raise InvalidInput("source", "holds no item", "Give at least one")
    return elements


def _path(source: Any, where: str) -> str:
    path = os.fspath(source)
    if not isinstance(path, str):
        raise InvalidType(where, "is a path of bytes", "Use os.fsdecode(path)")
    return path


def _keep(content: bytes, new_blobs: dict[str, bytes]) -> str:
    sha = hashlib.sha256(content).hexdigest()
    new_blobs.setdefault(sha, content)
    return sha


# ------------------------------------------------------------------------------------------------ tables


def _uri_column(table: pa.Table) -> Any:
    return absolute_uris(_text(table.column(URI), URI))


def _text(column: Any, name: str) -> Any:
    kind = column.type.value_type if at.is_dictionary(column.type) else column.type
    if not (at.is_string(kind) or at.is_large_string(kind) or at.is_string_view(kind) or at.is_null(kind)):
        raise InvalidType("source", f"the column {name!r} is of type {kind}, not text", "Convert it to str")
    plain = column.cast(kind) if at.is_dictionary(column.type) else column
    return _whole(plain.cast(pa.string()))


def _blob_column(table: pa.Table, new_blobs: dict[str, bytes]) -> Any:
    column = table.column(CONTENT)
    kind = column.type
    if not (at.is_binary(kind) or at.is_large_binary(kind) or at.is_binary_view(kind) or at.is_null(kind)):
        raise InvalidType("source", f"the column 'content' is of type {kind}, not bytes", "Give the bytes of the files")
    shas = [None if value is None else _keep(value, new_blobs) for chunk in column.chunks for value in _bytes(chunk)]
    return pa.array(shas, pa.string())


def _bytes(chunk: Any) -> Iterator[bytes | None]:
    return (scalar.as_py() for scalar in chunk)


def _whole(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _check_rows(uris: Any, blobs: Any, first: int) -> None:
    empty = [pc.is_null(column) for column in (uris, blobs) if column is not None]
    missing = empty[0] if len(empty) == 1 else pc.and_(empty[0], empty[1])
    if pc.any(missing).as_py():
        row = first + pc.index(missing, True).as_py()
        raise InvalidInput("source", f"row {row} has neither a uri nor content", "Leave such rows out")


# ------------------------------------------------------------------------------------------------ streams


def _stream(source: Any) -> Stream:
    tables = stream_tables(source)
    if tables is not None:
        payloads = _numbered(alike(tables, "source"), table_payload, len)
        return Stream(payloads, None, reads_dataset=is_dataset(source))
    reader = read_elements(source)
    return Stream(_numbered(reader.slices(), _uniform, len), None, reader.close)


def _uniform(elements: list[Any], first: int) -> Payload:
    """A slice of a stream always has both columns, so that all slices are alike."""
    payload = _of_elements(elements, first)
    nulls = pa.nulls(payload.n, pa.string())
    return Payload(
        n=payload.n,
        uris=nulls if payload.uris is None else payload.uris,
        blobs=nulls if payload.blobs is None else payload.blobs,
        new_blobs=payload.new_blobs,
    )


def _numbered(
    parts: Iterator[Any], make: Callable[[Any, int], Payload], size: Callable[[Any], int]
) -> Iterator[Payload]:
    first = 0
    for part in parts:
        yield make(part, first)
        first += size(part)
