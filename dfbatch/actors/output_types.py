"""Columns of what verifiers return keep their types within a batch: wider numbers are taken, all else is an error.

Checked where outcomes arrive, and only when a chunk has other columns than the one before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as at

from dfbatch.actors.messages import Outcomes
from dfbatch.core.error_class import ErrorClass
from dfbatch.ledger.arrow_types import storable
from dfbatch.ledger.reading import LedgerReader

FAILURES = pa.schema(
    [("position", pa.int64()), ("error_type", pa.string()), ("error_message", pa.string()), ("traceback", pa.string())]
)


class OutputTypes:
    """The columns a batch has had so far, each with its widest type. ``is_known`` False: the ledger may know more."""

    def __init__(self, is_known: bool = False) -> None:
        self.is_known = is_known
        self._columns: dict[str, pa.DataType] = {}
        self._last: pa.DataType | None = None

    def learn(self, kinds: Iterable[pa.DataType]) -> None:
        """Types of the struct ``output`` that are in the ledger."""
        self.is_known = True
        for kind in kinds:
            for field in kind:
                grown = wider(self._columns.get(field.name, pa.null()), field.type)
                if grown is not None:
                    self._columns[field.name] = grown

    def checked(self, outcomes: Outcomes) -> Outcomes:
        """The outcomes; those whose columns changed their type failed with OutputInvalid."""
        if outcomes.output is None:
            return outcomes
        kind = outcomes.output.schema.field("output").type
        if self._last is not None and kind.equals(self._last):
            return outcomes
        changed: dict[str, str] = {}
        for field in kind:
            grown = wider(self._columns.get(field.name, pa.null()), storable(field.type, field.name))
            if grown is None:
                changed[field.name] = _misfit(field.name, self._columns[field.name], field.type)
            else:
                self._columns[field.name] = grown
        if changed:
            return _refused(outcomes, outcomes.output, changed)
        self._last = kind
        return outcomes


def types_in_ledger(reader: LedgerReader, batch_id: str) -> list[pa.DataType]:
    """Types of the struct ``output`` that outcomes of the batch have in the ledger."""
    names = reader.read("results", batch_id=batch_id, columns=["outputs"]).column("outputs").unique().to_pylist()
    snapshots = [reader.snapshot(name) for name in names if name is not None]
    return [found.schema.field("output").type for found in snapshots if found is not None]


def wider(kept: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that holds both: nulls and numbers are promoted, fields of structs joined. None for any other change."""
    if kept.equals(other) or at.is_null(other):
        return kept
    if at.is_null(kept):
        return other
    if _is_number(kept) and _is_number(other):
        return _wider_number(kept, other)
    if at.is_struct(kept) and at.is_struct(other):
        return _wider_struct(kept, other)
    if at.is_list(kept) and at.is_list(other):
        element = wider(kept.value_type, other.value_type)
        return None if element is None else pa.list_(element)
    if at.is_map(kept) and at.is_map(other):
        key, item = wider(kept.key_type, other.key_type), wider(kept.item_type, other.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    return None


def _is_number(kind: pa.DataType) -> bool:
    return bool(at.is_integer(kind) or at.is_floating(kind) or at.is_decimal(kind))


def _wider_number(kept: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    schemas = [pa.schema([("x", kept)]), pa.schema([("x", other)])]
    try:
        return storable(pa.unify_schemas(schemas, promote_options="permissive").field(0).type)
    except (pa.ArrowException, ValueError):  # decimals of more digits than there are
        return None


def _wider_struct(kept: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    fields = {field.name: field.type for field in kept}
    for field in other:
        grown = wider(fields.get(field.name, pa.null()), field.type)
        if grown is None:
            return None
        fields[field.name] = grown
    return pa.struct(list(fields.items()))


def _misfit(name: str, kept: pa.DataType, other: pa.DataType) -> str:
    return (
        f"The verifier returned {other} in the column {name!r}, which holds {kept} in this batch so far. "
        f"Return the same type for every item, or None where there is nothing."
    )


def _refused(outcomes: Outcomes, given: pa.Table, changed: dict[str, str]) -> Outcomes:
    """Rows with a value in a changed column fail; the others stay as they are, without the column."""
    output = given.column("output").combine_chunks()
    if isinstance(output, pa.ChunkedArray):
        output = pa.concat_arrays(output.chunks) if output.num_chunks else pa.array([], output.type)
    columns = dict(zip((f.name for f in output.type), output.flatten(), strict=True))
    at_fault: dict[int, str] = {}
    for name, message in changed.items():
        for position in np.flatnonzero(columns[name].is_valid().to_numpy(zero_copy_only=False)).tolist():
            at_fault.setdefault(position, message)
    rows = np.array(sorted(at_fault), np.int64)
    error_class, fingerprint = outcomes.error_class.copy(), outcomes.fingerprint.copy()
    error_class[rows], fingerprint[rows] = ErrorClass.PERMANENT, 0
    return replace(
        outcomes,
        error_class=error_class,
        fingerprint=fingerprint,
        output=_without(columns, output, set(changed), rows),
        failures=_with_failures(outcomes.failures, rows, [at_fault[k] for k in rows.tolist()]),
    )


def _without(columns: dict[str, Any], output: Any, changed: set[str], rows: npt.NDArray[np.int64]) -> pa.Table | None:
    """``output`` without the changed columns, and null in the rows that failed; None if no column is left."""
    kept = {name: column for name, column in columns.items() if name not in changed}
    if not kept:
        return None
    missing = output.is_null().to_numpy(zero_copy_only=False).copy()
    missing[rows] = True
    fields = [field for field in output.type if field.name in kept]
    return pa.table({"output": pa.StructArray.from_arrays(list(kept.values()), fields=fields, mask=pa.array(missing))})


def _with_failures(failures: pa.Table | None, rows: npt.NDArray[np.int64], messages: list[str]) -> pa.Table:
    n = len(rows)
    more = pa.table([rows, ["OutputInvalid"] * n, messages, pa.nulls(n, pa.string())], schema=FAILURES)
    both = more if failures is None else pa.concat_tables([failures.select(FAILURES.names).cast(FAILURES), more])
    return both.sort_by("position")
