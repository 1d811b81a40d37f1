"""Joining outcomes with what went in and what came out, by position in sorted numpy keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.types as at

from dfbatch.ledger.arrow_types import convert
from dfbatch.ledger.columns import Int64s, numbers, take_rows


def select_generation(rows: pa.Table, generation: int | Literal["latest", "all"]) -> pa.Table:
    """Rows of the asked generation, sorted by (job_index, generation)."""
    index, found = numbers(rows.column("job_index")), numbers(rows.column("generation"))
    if isinstance(generation, int):
        rows = take_rows(rows, np.flatnonzero(found == generation))
        return take_rows(rows, np.argsort(numbers(rows.column("job_index")), kind="stable"))
    order = latest_of(index, found) if generation == "latest" else np.lexsort((found, index))
    return take_rows(rows, order)


def latest_of(index: Any, *ranks: Any) -> Int64s:
    """Positions of the row of each index with the greatest ranks (the first rank counts most), in index order."""
    order = np.lexsort((*reversed(ranks), index))
    if len(order) == 0:
        return order.astype(np.int64)
    by_index = index[order]
    latest: Int64s = order[np.append(by_index[1:] != by_index[:-1], True)].astype(np.int64)
    return latest


def join_inputs(rows: pa.Table, inputs: pa.Table) -> pa.Table:
    """``rows`` with a column ``input``: null where the job has none."""
    index = numbers(inputs.column("job_index"))
    unique = latest_of(index)
    return rows.append_column(
        "input", _picked(inputs.column("input"), unique, index, numbers(rows.column("job_index")))
    )


def join_outputs(rows: pa.Table, outputs: pa.Table) -> pa.Table:
    """``rows`` with a column ``output``. An output counts only if it was committed with its outcome."""
    commits = np.unique(numbers(rows.column("commit_id")))
    theirs = numbers(outputs.column("commit_id"))
    codes = np.searchsorted(commits, theirs)
    known = np.flatnonzero((codes < len(commits)) & (commits[np.minimum(codes, len(commits) - 1)] == theirs))
    generations = int(max(numbers(rows.column("generation")).max(initial=0), 0)) + 1
    outputs = take_rows(outputs, known)
    have, want = (_outcome_keys(table, commits, generations) for table in (outputs, rows))
    order = np.argsort(have, kind="stable").astype(np.int64)
    return rows.append_column("output", _picked(outputs.column("output"), order, have, want))


def unified_outputs(tables: Sequence[pa.Table]) -> pa.Table:
    """Outputs of several tables as one, with every column of any of them and its widest type."""
    if len(tables) == 1:
        return tables[0]
    kind = widest([table.schema.field("output").type for table in tables])
    return pa.concat_tables(
        table.set_column(table.schema.get_field_index("output"), "output", convert(table.column("output"), kind))
        for table in tables
    )


def widest(kinds: Sequence[Any]) -> Any:
    """The type that holds values of all: nulls and numbers are promoted, structs joined, anything else is text."""
    first, *others = kinds
    for other in others:
        first = _wider(first, other)
    return first


def _wider(one: Any, other: Any) -> Any:
    if one.equals(other) or at.is_null(other):
        return one
    if at.is_null(one):
        return other
    if at.is_struct(one) and at.is_struct(other):
        fields = {field.name: field.type for field in one}
        for field in other:
            fields[field.name] = _wider(fields[field.name], field.type) if field.name in fields else field.type
        return pa.struct(list(fields.items()))
    try:
        return (
            pa.unify_schemas([pa.schema([("x", one)]), pa.schema([("x", other)])], promote_options="permissive")
            .field("x")
            .type
        )
    except pa.ArrowTypeError:
        return pa.string()


def _outcome_keys(rows: pa.Table, commits: Int64s, generations: int) -> Int64s:
    """One number for (job_index, generation, commit)."""
    code = np.searchsorted(commits, numbers(rows.column("commit_id")))
    job = numbers(rows.column("job_index")) * generations + numbers(rows.column("generation"))
    keys: Int64s = (job * len(commits) + code).astype(np.int64)
    return keys


def _picked(values: Any, order: Int64s, keys: Int64s, wanted: Int64s) -> Any:
    """For each wanted key the value at it, or null. ``order`` sorts ``keys``."""
    if len(order) == 0:
        return pa.nulls(len(wanted), values.type)
    ordered = keys[order]
    place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    found = ordered[place] == wanted
    positions = order[place]
    if bool(found.all()):
        return take_rows(values, positions)
    return values.take(pa.array(positions, pa.int64(), mask=~found))
