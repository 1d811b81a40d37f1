"""What a batch produced, as an Arrow-backed table with one row per job, success or not."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as at

from dfbatch.client.explain import Explanation, explain_row
from dfbatch.client.failures import FailureGroup, failed_mask, group_failures
from dfbatch.client.results_html import results_html
from dfbatch.client.results_write import rows, write_table
from dfbatch.client.verdict_style import RANK, look
from dfbatch.errors import InvalidInput, InvalidType, UnknownId

if TYPE_CHECKING:
    import pandas
    import polars

_STRUCTS = ("input", "output", "provenance", "ruv")

ReadFile = Callable[[str], bytes | None]
"""Gives a file of the ledger by its path in it (``blobs/<sha256>``, ``artifacts/<sha256>``), or None."""


class Results:
    """Rows in the columns of the results table, with the structs ``input`` and ``output`` where there are any.

    Works wherever an Arrow table does: ``polars.from_arrow(results)``, ``pyarrow.table(results)``, DuckDB.
    ``results[3]`` is a row as a dict, ``results[10:20]`` are Results, ``results["verdict"]`` is a column. ``read`` lets
    ``explain`` show pictures that lie in the ledger.
    """

    def __init__(self, table: pa.Table, *, read: ReadFile | None = None) -> None:
        self._table = table
        self._read = read

    # ------------------------------------------------------------------------------------------------ as a table

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self._table.column_names)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema."""
        return self._table.schema

    def to_arrow(self) -> pa.Table:
        """The table itself; nothing is copied."""
        return self._table

    def to_pandas(self, flatten: bool = False) -> pandas.DataFrame:
        """A pandas DataFrame. ``flatten`` makes columns such as ``input.case`` and ``provenance.state`` of structs."""
        table = _flatten(self._table) if flatten else self._table
        try:
            return table.to_pandas()
        except ImportError as error:
            raise InvalidInput("to_pandas()", "pandas is not installed", "pip install pandas") from error

    def to_polars(self) -> polars.DataFrame:
        """A Polars DataFrame."""
        try:
            import polars
        except ImportError as error:
            raise InvalidInput("to_polars()", "Polars is not installed", "pip install polars") from error
        frame = polars.from_arrow(self._table)
        assert isinstance(frame, polars.DataFrame)
        return frame

    def to_ray(self) -> Any:
        """A Ray Dataset of these rows."""
        from dfbatch.actors.datasets import to_ray

        return to_ray(self._table)

    def write(self, path: str | os.PathLike[str]) -> str:
        """Write to ``path`` (.parquet, .arrow, .feather, .csv, .jsonl, .json; local or a URI) and return it in full.

        In CSV, structs become columns and lists JSON text, and text that a spreadsheet would run as a formula gets an
        apostrophe before it. Raises InvalidInput for another suffix.
        """
        return write_table(self._table, path)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return rows(self._table)

    @overload
    def __getitem__(self, key: slice) -> Results: ...

    @overload
    def __getitem__(self, key: str) -> pa.ChunkedArray: ...

    @overload
    def __getitem__(self, key: int) -> dict[str, Any]: ...

    def __getitem__(self, key: int | slice | str) -> Any:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return self._like(self._table.slice(start, max(0, stop - start)))
            return self._like(self._table.take(pa.array(range(start, stop, step), pa.int64())))
        if isinstance(key, str):
            return self._column(key)
        return self._table.slice(self._position(key), 1).to_pylist()[0]

    # ------------------------------------------------------------------------------------------------ choosing rows

    def filter(self, condition: Any = None, /, **equals: Any) -> Results:
        """The rows that fit every condition.

        ``condition`` is an Arrow expression (``pc.field("coverage") > 0.5``), a mask of one bool per row, or a function
        from a row (dict) to bool. Keywords compare a column with a value, or with any of a list:
        ``filter(status="failed", media_type=["image/jpeg", "image/png"])``; None fits rows without a value.
        """
        table = self._table
        if condition is not None:
            table = table.filter(self._mask(condition))
        for name, value in equals.items():
            table = table.filter(_equals(self._like(table)._column(name), name, value))
        return self._like(table)

    def failures(self) -> Results:
        """The failed and expired rows."""
        return self._like(self._table.filter(failed_mask(self._table)))

    def _mask(self, condition: Any) -> Any:
        if isinstance(condition, pc.Expression):
            return condition
        if callable(condition):
            return pa.array([bool(condition(row)) for row in self], pa.bool_())
        mask = np.asarray(condition)
        if mask.dtype != bool or mask.shape != (len(self),):
            raise InvalidInput(
                "condition",
                f"is no mask of {len(self):,} bools, but of {mask.dtype} with the shape {mask.shape}",
                "Give one bool per row, an Arrow expression or a function",
            )
        return pa.array(mask)

    # ------------------------------------------------------------------------------------------------ summaries

    def values(self) -> list[Any]:
        """What the verifier returned for each row, in order: the value, or the mapping as a dict; None if it failed."""
        if "output" not in self._table.column_names:
            raise InvalidInput(
                "values()", "these results hold no output of a verifier", "Verdicts are in results['verdict']"
            )
        column = self._table.column("output")
        if at.is_struct(column.type) and [f.name for f in column.type] == ["value"]:
            column = pc.struct_field(column, "value")
        found: list[Any] = column.to_pylist()
        return found

    def counts(self, column: str = "status") -> dict[Any, int]:
        """How often each value of a column (``status``, ``verdict``, ``error_type`` ...) occurs, most frequent first.

        Verdicts and states come in the order in which they need attention. Rows without a value are not counted.
        """
        found = {pair["values"]: pair["counts"] for pair in pc.value_counts(self._column(column)).to_pylist()}
        found.pop(None, None)
        known = all(key in RANK for key in found)
        order = sorted(found, key=lambda key: RANK[key] if known else -found[key])
        return {key: found[key] for key in order}

    def errors(self) -> list[FailureGroup]:
        """The failures by error type, the most frequent first; a group reads like ``412 x MediaTruncated: ...``."""
        return group_failures(self._table)

    def explain(self, which: int | str = 0) -> Explanation:
        """The evidence for one row, by its position here or its job id, as text and, in a notebook, with pictures."""
        if not isinstance(which, str):
            return explain_row(self[which], self._read)
        found = pc.index(self._column("job_id"), which).as_py()
        if found < 0:
            raise UnknownId(f"These {len(self):,} results have no job '{which}'.")
        return explain_row(self[found], self._read)

    def __repr__(self) -> str:
        batches = pc.unique(self._table.column("batch_id")).to_pylist() if "batch_id" in self.column_names else []
        name = f" {batches[0]}" if len(batches) == 1 else f" of {len(batches)} batches" if batches else ""
        parts = [f"{len(self):,} {'row' if len(self) == 1 else 'rows'}"]
        for column in ("status", "verdict"):
            if column in self.column_names:
                counted = self.counts(column)
                parts.append(", ".join(f"{n:,} {look(key).label}" for key, n in counted.items()))
        return f"<Results{name}: {'; '.join(part for part in parts if part)}>"

    def _repr_html_(self) -> str:
        return results_html(self)

    # ------------------------------------------------------------------------------------------------ inside

    def _like(self, table: pa.Table) -> Results:
        return Results(table, read=self._read)

    def _column(self, name: str) -> pa.ChunkedArray:
        head, dot, field = name.partition(".")
        names = self._table.column_names
        if name in names:
            return self._table.column(name)
        if dot and head in names and at.is_struct(self._table.schema.field(head).type):
            struct = self._table.schema.field(head).type
            if field in [f.name for f in struct]:
                return pc.struct_field(self._table.column(head), field)
        raise InvalidInput("column", f"there is no column {name!r}", f"There are {', '.join(names)}")

    def _position(self, key: Any) -> int:
        try:
            position = operator.index(key)
        except TypeError:
            raise InvalidType(
                "key", f"is of type {type(key).__name__}", "Use an int, a slice or a column's name"
            ) from None
        if not -len(self) <= position < len(self):
            raise IndexError(f"There is no row {position} in {len(self):,} results.")
        return position % len(self)


def _equals(column: pa.ChunkedArray, name: str, value: Any) -> Any:
    if value is None:
        return pc.is_null(column)
    several = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    plain = [str(v) if isinstance(v, str) else v for v in several]
    try:
        return pc.fill_null(pc.is_in(column, value_set=pa.array(plain).cast(column.type), skip_nulls=True), False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InvalidType(name, f"{value!r} cannot be compared with a column of {column.type}") from error


def _flatten(table: pa.Table) -> pa.Table:
    columns: dict[str, Any] = {}
    for field in table.schema:
        column = table.column(field.name)
        if field.name in _STRUCTS and at.is_struct(field.type) and field.type.num_fields:
            columns |= {f"{field.name}.{inner.name}": pc.struct_field(column, inner.name) for inner in field.type}
        else:
            columns[field.name] = column
    return pa.table(columns)
