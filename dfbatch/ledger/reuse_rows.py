"""The rows that a reuse index leads to, checked, with what verifiers returned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dfbatch.core.states import JobState
from dfbatch.ledger.columns import Int64s, numbers, take_rows
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.reuse_index import Keys, Origins, hex_of_keys

MOST_JOBS = 1 << 40

LARGEST_GAP = 4096
"""Jobs nearer to each other than this are read at once."""

COPIED = (
    "media_type",
    "size",
    "sha256",
    "verdict",
    "p_manipulated",
    "coverage",
    "reasons",
    "findings",
    "provenance",
)
"""Columns of the results table that are about the content, and so are the same for every job with it."""

_CHECKED = ("job_id", "job_index", "generation", "status", "verifier_fingerprint", "model_fingerprint", "reused_from")


def origin_rows(
    reader: LedgerReader, keys: Keys, origins: Origins, fingerprint: str, model_fingerprint: str | None
) -> Iterator[tuple[Int64s, pa.Table]]:
    """``(positions, rows)``: for positions in ``keys`` the rows of their origins, as far as they may be reused.

    A row counts if it is there, succeeded, is of this verifier and model, and is about this very content, whatever
    the index said. The tables have the columns ``COPIED``, ``reused_from`` (the job that ran) and maybe ``output``.
    Raises the errors of the reader.
    """
    in_range = (origins["job_index"] >= 0) & (origins["job_index"] < MOST_JOBS)  # of a damaged file anything may come
    for batch_id in np.unique(origins["batch_id"][in_range]):
        mine = np.flatnonzero(in_range & (origins["batch_id"] == batch_id))
        mine = mine[np.argsort(origins["job_index"][mine], kind="stable")]
        cuts = np.flatnonzero(np.diff(origins["job_index"][mine]) > LARGEST_GAP) + 1
        for places in np.split(mine, cuts):
            rows = _read(reader, batch_id, origins["job_index"][places])
            found, rows = _matching(rows, origins[places])
            good = _may_be_reused(rows, keys[places[found]], fingerprint, model_fingerprint)
            if len(good):
                yield places[found[good]], _copied(take_rows(rows, good))


def rows_from(
    reader: LedgerReader, origin: Any, n_jobs: int, fingerprint: str, model_fingerprint: str | None
) -> pa.Table:
    """The rows of an origin and of the ``n_jobs`` around it that may be reused, with ``sha256`` to tell them apart.

    Who asks for one will soon ask for its neighbours: content comes back in the order it had. Columns as in
    ``origin_rows``, without ``output``.
    """
    first = max(0, int(origin["job_index"]) - n_jobs // 8)
    if first >= MOST_JOBS:
        first = 0
    rows = _read(reader, origin["batch_id"], np.array([first, first + n_jobs - 1]))
    rows = rows.select([*_CHECKED, *COPIED])
    good = _of_verifier(rows, fingerprint, model_fingerprint) & pc.is_valid(rows.column("sha256")).to_numpy()
    return _copied(take_rows(rows, np.flatnonzero(good)))


def _read(reader: LedgerReader, batch_id: bytes, index: Int64s) -> pa.Table:
    span = (int(index.min()), int(index.max()) + 1)
    columns = [*_CHECKED, *COPIED, "output"]
    return reader.results(batch_id.decode(errors="replace"), columns=columns, generation="all", index_range=span)


def _matching(rows: pa.Table, origins: Origins) -> tuple[Int64s, pa.Table]:
    """(positions in ``origins`` that have a row, their rows)."""
    have = numbers(rows.column("job_index")).astype(np.int64) << 16 | numbers(rows.column("generation"))
    wanted = origins["job_index"] << 16 | origins["generation"]
    order = np.argsort(have, kind="stable")
    if not len(order):
        return np.empty(0, np.int64), rows
    places = order[np.minimum(np.searchsorted(have[order], wanted), len(order) - 1)]
    found = np.flatnonzero(have[places] == wanted)
    return found, rows.take(pa.array(places[found]))


def _may_be_reused(rows: pa.Table, keys: Keys, fingerprint: str, model_fingerprint: str | None) -> Int64s:
    same = pc.equal(rows.column("sha256"), pa.array(hex_of_keys(keys), pa.string()))
    return np.flatnonzero(_of_verifier(rows, fingerprint, model_fingerprint) & _true(same))


def _of_verifier(rows: pa.Table, fingerprint: str, model_fingerprint: str | None) -> npt.NDArray[np.bool_]:
    """Where a success of this very verifier stands."""
    model = rows.column("model_fingerprint")
    checks = (
        pc.equal(rows.column("status"), JobState.SUCCEEDED.value),
        pc.equal(rows.column("verifier_fingerprint"), fingerprint),
        pc.is_null(model) if model_fingerprint is None else pc.equal(model, model_fingerprint),
    )
    return np.asarray(np.logical_and.reduce([_true(check) for check in checks]), np.bool_)


def _true(check: Any) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.fill_null(check, False).to_numpy(), np.bool_)


def _copied(rows: pa.Table) -> pa.Table:
    """What a reused row repeats. A row that was itself reused passes on where it had its outcome from."""
    source = pc.coalesce(rows.column("reused_from"), rows.column("job_id"))
    kept = [*COPIED, *(name for name in ("output",) if name in rows.column_names)]
    return rows.select(kept).append_column("reused_from", source)
