"""Equal items of one submit: the first of them is the leader, the others follow it and get its outcome."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dfbatch.actors.messages import Outcomes
from dfbatch.authenticity.media.sniff import named_type
from dfbatch.core.job_table import NO_LEASE
from dfbatch.ledger.columns import Int64s
from dfbatch.ledger.reuse_keys import first_equal

Generations = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class Followers:
    """Aligned columns, sorted by leader: job indices of leader and follower, and the follower's own URI."""

    leaders: Int64s
    followers: Int64s
    uris: Any

    def of(self, leaders: Int64s) -> tuple[Int64s, Int64s, Any]:
        """(places in ``leaders``, their followers, URIs of those), for some leaders; others have none."""
        starts = np.searchsorted(self.leaders, leaders, "left")
        counts = np.searchsorted(self.leaders, leaders, "right") - starts
        n = int(counts.sum())
        if not n:
            return np.empty(0, np.int64), np.empty(0, np.int64), None
        which = np.repeat(np.arange(len(leaders)), counts)
        within = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = starts[which] + within
        return which, self.followers[rows], None if self.uris is None else self.uris.take(pa.array(rows))


def find_followers(kind: str, indices: Int64s, jobs: pa.Table | None, inputs: pa.Table | None) -> Followers | None:
    """The followers among the jobs ``indices``, whose rows are given; None if all items differ.

    Media are equal if their bytes are, as far as that is known without reading (one blob, or one URI), and their
    names promise the same type. Items are equal if every column is.
    """
    if kind == "verify":
        columns = [] if jobs is None else _media_columns(jobs)
    else:
        columns = [] if inputs is None else list(inputs.columns)
    if not columns or not len(indices):
        return None
    first = first_equal(columns)
    rows = np.flatnonzero(first != np.arange(len(first)))
    if not len(rows):
        return None
    rows = rows[np.argsort(first[rows], kind="stable")]
    uris = None
    if kind == "verify" and jobs is not None:
        uris = _text(jobs, "uri").take(pa.array(rows))
    return Followers(indices[first[rows]], indices[rows], uris)


def joined(before: Followers | None, more: Followers | None) -> Followers | None:
    """The followers of two slices of a stream, the later one second."""
    if before is None or more is None:
        return before or more
    uris = None if before.uris is None else pa.concat_arrays([before.uris, more.uris])
    return Followers(
        np.concatenate([before.leaders, more.leaders]), np.concatenate([before.followers, more.followers]), uris
    )


def passed_on(outcomes: Outcomes, places: Int64s, indices: Int64s, generation: Generations, uris: Any) -> Outcomes:
    """The outcomes at ``places`` of a report, as those of the followers ``indices``; they took no time of their own."""
    rows, n = pa.array(places), len(places)
    leaders = pa.array(outcomes.indices[places])
    origin = pc.binary_join_element_wise(outcomes.batch_id, pc.cast(leaders, pa.string()), "-")
    report = pa.table({"reused_from": origin})
    if outcomes.report is not None:
        report = outcomes.report.take(rows)
        if "reused_from" in report.column_names:
            origin = pc.coalesce(report.column("reused_from"), origin)
            report = report.drop_columns(["reused_from"])
        report = report.append_column("reused_from", origin)
    return replace(
        outcomes,
        seq=0,
        lease_id=NO_LEASE,
        indices=indices,
        generation=generation,
        error_class=np.zeros(n, np.uint8),
        fingerprint=np.zeros(n, np.int64),
        started_at=outcomes.started_at[places] + outcomes.duration_s[places],
        duration_s=np.zeros(n),
        busy_s=np.nan,  # tells nothing about the cost of an item
        uris=uris,
        report=report,
        output=None if outcomes.output is None else outcomes.output.take(rows),
        failures=None,
    )


def _media_columns(jobs: pa.Table) -> list[Any]:
    uri, blob = _text(jobs, "uri"), _text(jobs, "blob")
    if blob.null_count == len(blob):
        return [uri]
    by_blob = pc.is_valid(blob)
    name = pc.coalesce(uri, _text(jobs, "filename"))
    # The type a name promises is asked only of those that have the same bytes as another.
    first = first_equal([blob])
    rows = np.flatnonzero(
        by_blob.to_numpy(zero_copy_only=False) & (np.bincount(first, minlength=len(first))[first] > 1)
    )
    promised: list[str | None] = [None] * len(blob)
    for row, text in zip(rows.tolist(), name.take(pa.array(rows)).to_pylist(), strict=True):
        promised[row] = named_type(text)
    return [blob, pc.if_else(by_blob, pa.scalar(None, pa.string()), uri), pa.array(promised, pa.string())]


def _text(jobs: pa.Table, name: str) -> Any:
    """A column as one array; nulls if it is missing."""
    if name not in jobs.column_names:
        return pa.nulls(len(jobs), pa.string())
    column = jobs.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.string())
    return column
