"""Results as a file, in the format that its name asks for."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as at

from dfbatch.client.remote_paths import open_filesystem
from dfbatch.errors import InvalidInput, StorageRefused

_ROWS = 4096
_RISKY = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins so for a formula, and may run it."""


def write_table(table: pa.Table, path: str | os.PathLike[str]) -> str:
    """Write results to a local path or a URI and give the path back; the suffix chooses the format.

    ``.parquet``, ``.arrow`` and ``.feather`` keep every type. ``.jsonl`` (a row a line) and ``.json`` (one list) keep
    the nesting. ``.csv`` makes columns such as ``provenance.state`` of structs and JSON text of lists, and puts an
    apostrophe before text that a spreadsheet would run as a formula. A local file appears whole or not at all.
    """
    target = os.fspath(path)
    suffix = os.path.splitext(target)[1].lower()
    writer = _WRITERS.get(suffix)
    if writer is None:
        raise InvalidInput("path", f"results cannot be written as '{suffix or target}'", f"Use {', '.join(_WRITERS)}")
    if "://" not in target:
        target = os.path.abspath(os.path.expanduser(target))
    try:
        with whole_file(target) as file:
            writer(table, file)
    except OSError as error:
        raise StorageRefused(
            f"'{target}' could not be written: {error}. Check the folder, its rights and space."
        ) from error
    return target


@contextmanager
def whole_file(target: str) -> Iterator[Any]:
    """A binary file that takes its name only when it is complete."""
    if "://" in target:
        filesystem, inner = open_filesystem(target)
        with filesystem.open_output_stream(inner) as stream:
            yield stream
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    partial = f"{target}.{uuid.uuid4().hex[:8]}.part"
    try:
        with open(partial, "xb") as file:
            yield file
        os.replace(partial, target)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def _parquet(table: pa.Table, file: Any) -> None:
    pq.write_table(table, file, compression="zstd")


def _arrow(table: pa.Table, file: Any) -> None:
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _feather(table: pa.Table, file: Any) -> None:
    with pa.ipc.new_file(file, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)


def _jsonl(table: pa.Table, file: Any) -> None:
    for row in rows(table):
        file.write(json.dumps(plain(row), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")


def _json(table: pa.Table, file: Any) -> None:
    lead = b"[\n"
    for row in rows(table):
        file.write(lead + json.dumps(plain(row), ensure_ascii=False).encode("utf-8", "backslashreplace"))
        lead = b",\n"
    file.write(b"\n]\n" if len(table) else b"[]\n")


def _csv(table: pa.Table, file: Any) -> None:
    flat = flatten(table)
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([_cell(name) for name in flat.column_names])
    for row in rows(flat):
        lines.writerow([_cell(value) for value in row.values()])
    text.flush()
    text.detach()


_WRITERS: dict[str, Callable[[pa.Table, Any], None]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".json": _json,
    ".arrow": _arrow,
    ".feather": _feather,
}


def flatten(table: pa.Table) -> pa.Table:
    """Structs as columns: ``provenance`` becomes ``provenance.state`` and so on, at every depth."""
    while any(at.is_struct(field.type) and field.type.num_fields for field in table.schema):
        table = table.flatten()
    return table


def rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows as dicts, a few thousand at a time."""
    for start in range(0, len(table), _ROWS):
        yield from table.slice(start, _ROWS).to_pylist()


def plain(value: Any) -> Any:
    """A value as JSON knows it: instants as ISO 8601, bytes as base64, nan and inf as null."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value if value is None or isinstance(value, str | bool | int) else str(value)


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | Decimal):
        return value
    text = json.dumps(plain(value), ensure_ascii=False) if isinstance(value, list | dict | tuple) else plain(value)
    text = str(text).encode("utf-8", "backslashreplace").decode()
    return "'" + text if text.startswith(_RISKY) else text
