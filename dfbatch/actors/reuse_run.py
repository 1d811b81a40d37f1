"""Running a chunk of a batch with ``reuse="content"``: what was verified before is copied, the rest is run."""

from __future__ import annotations

import json
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa

from dfbatch.actors.chunk_report import outcomes_of
from dfbatch.actors.chunk_run import LoadedVerifier, carried_columns
from dfbatch.actors.messages import Chunk, Outcomes
from dfbatch.actors.reuse_memory import ReuseMemory, positions_left
from dfbatch.authenticity.findings import Finding, Provenance, ProvenanceState, Report, Verdict
from dfbatch.authenticity.media.limits import DEFAULT_LIMITS
from dfbatch.authenticity.media.locate import read_media
from dfbatch.authenticity.media.sniff import named_type
from dfbatch.authenticity.verdict import NAMED_LIKE, name_remark
from dfbatch.ledger.columns import Int64s
from dfbatch.ledger.reuse_index import Keys, hex_of_keys
from dfbatch.ledger.reuse_keys import item_keys

MOST_RECENT = 1024
"""Own reports kept, for copies under another name that come before the index knows the first."""

Run = Callable[[Chunk, LoadedVerifier, Callable[[Outcomes], Outcomes]], Iterator[Outcomes]]
"""The last argument is applied to each report before anybody gets it."""


class ReuseRun:
    """The chunks of one worker, one after another."""

    def __init__(self, memory: ReuseMemory) -> None:
        self._memory = memory
        self._recent: OrderedDict[tuple[str, str | None, str], tuple[str, Report]] = OrderedDict()

    def outcomes(self, chunk: Chunk, verifier: LoadedVerifier, run: Run) -> Iterator[Outcomes]:
        """What ``run`` gives for the chunk, but without calling the verifier where its outcome is known."""
        self._memory.begin(chunk.order.fingerprint, verifier.model_fingerprint)
        if chunk.order.kind == "verify":
            yield from self._media(chunk, verifier, run)
        else:
            yield from self._items(chunk, verifier, run)

    # ------------------------------------------------------------------------------------ media

    def _media(self, chunk: Chunk, verifier: LoadedVerifier, run: Run) -> Iterator[Outcomes]:
        who = (chunk.order.fingerprint, verifier.model_fingerprint)
        reader = _KnownMedia(verifier, chunk.order.batch_id, self._memory, self._recent, who)
        yield from run(chunk, replace(verifier, call=reader, takes_context=True), reader.with_origins)

    # ------------------------------------------------------------------------------------ items

    def _items(self, chunk: Chunk, verifier: LoadedVerifier, run: Run) -> Iterator[Outcomes]:
        begin = time.perf_counter()
        inputs = carried_columns(chunk)
        salt = str(inputs.schema) if verifier.vectorised else ""
        keys = item_keys(inputs, cast(Literal["value", "row"], chunk.order.items or "value"), salt)
        found = self._memory.find(keys)
        share = (time.perf_counter() - begin) / max(1, len(found))
        for positions, rows in found:
            yield _copied(chunk, positions, rows, verifier.model_fingerprint, share)
        left = positions_left(len(keys), [positions for positions, _ in found])
        if not len(left):
            return
        part = _part(chunk, left) if found else chunk
        yield from run(part, verifier, lambda outcomes: _with_keys(outcomes, chunk, keys))


class _KnownMedia:
    """The authenticator, asked only for content that nobody knows. ``origins``: job index to the job that ran."""

    def __init__(
        self,
        verifier: LoadedVerifier,
        batch_id: str,
        memory: ReuseMemory,
        recent: OrderedDict[tuple[str, str | None, str], tuple[str, Report]],
        who: tuple[str, str | None],
    ) -> None:
        self.origins: dict[int, str] = {}
        self._verifier = verifier
        self._batch_id = batch_id
        self._memory = memory
        self._recent = recent
        self._who = who
        self._limits = getattr(verifier.call, "limits", DEFAULT_LIMITS)

    def __call__(self, item: Mapping[str, Any], ctx: Any) -> Report:
        location, name = item["location"], item["uri"] or item["filename"]
        sha256 = self._blob_of(location)
        report = None if sha256 is None else self._known(sha256, name, ctx.job_index)
        if report is not None:
            return report
        # Read once: the bytes that are hashed are those that are verified.
        located = read_media(location, self._limits)
        report = self._known(located.sha256, name, ctx.job_index) if located.sha256 != sha256 else None
        if report is not None:
            return report
        given = {"content": located.data, "uri": item["uri"], "filename": item["filename"]}
        fresh: Report = self._verifier.call(given, ctx) if self._verifier.takes_context else self._verifier.call(given)
        self._recent[(*self._who, located.sha256)] = (f"{self._batch_id}-{ctx.job_index}", fresh)
        if len(self._recent) > MOST_RECENT:
            self._recent.popitem(last=False)
        return fresh

    def with_origins(self, outcomes: Outcomes) -> Outcomes:
        """Note beside each outcome that was copied whose it is."""
        origins = [self.origins.get(index) for index in outcomes.indices.tolist()]
        if outcomes.report is not None and any(origins):
            outcomes.report = outcomes.report.append_column("reused_from", pa.array(origins, pa.string()))
        return outcomes

    def _blob_of(self, location: str) -> str | None:
        """The SHA-256 of an item given by value, which is the name it is kept under."""
        path = location.partition("?")[0] if "://" in location else location
        sha256 = os.path.basename(path)
        return sha256 if location == self._verifier.blob_location(sha256) else None

    def _known(self, sha256: str, name: str | None, index: int) -> Report | None:
        known = self._recent.get((*self._who, sha256)) or self._in_ledger(sha256)
        if known is None or known[0] == f"{self._batch_id}-{index}":
            return None
        self.origins[index], report = known
        return _renamed(report, name)

    def _in_ledger(self, sha256: str) -> tuple[str, Report] | None:
        row = self._memory.row(sha256)
        try:
            return None if row is None else (row["reused_from"], report_of_row(row))
        except (TypeError, KeyError, ValueError):  # a row of another version, or a damaged one: verify again
            return None


def report_of_row(row: Mapping[str, Any]) -> Report:
    """The report that a row of the results table was made of, without a name."""
    provenance = {**row["provenance"], "failures": tuple(row["provenance"]["failures"] or ())}
    return Report(
        uri=None,
        media_type=row["media_type"],
        size=row["size"],
        sha256=row["sha256"],
        verdict=Verdict(row["verdict"]),
        reasons=tuple(row["reasons"]),
        findings=tuple(Finding(**{**found, "facts": json.loads(found["facts"] or "{}")}) for found in row["findings"]),
        provenance=Provenance(**{**provenance, "state": ProvenanceState(provenance["state"])}),
        coverage=row["coverage"],
        p_manipulated=row["p_manipulated"],
    )


def _renamed(report: Report, name: str | None) -> Report:
    """The report for an item of another name: what it says about the name is the one thing that may change."""
    reasons = [reason for reason in report.reasons if not reason.startswith(NAMED_LIKE)]
    remark = name_remark(named_type(name), report.media_type)
    return replace(report, uri=name, reasons=tuple(reasons if remark is None else [*reasons, remark]))


def _copied(chunk: Chunk, positions: Int64s, rows: pa.Table, model_fingerprint: str | None, busy_s: float) -> Outcomes:
    """Outcomes of the jobs at ``positions``, as the rows of their origins have them."""
    order = np.argsort(positions, kind="stable")
    rows = rows.take(pa.array(order))
    n = len(order)
    output = rows.select(["output"]) if "output" in rows.column_names else None
    return outcomes_of(
        chunk,
        positions[order],
        np.full(n, time.perf_counter()),
        np.zeros(n),
        {},
        busy_s=busy_s,
        report=rows.drop_columns(["output"]) if output is not None else rows,
        output=None if output is None or output.column(0).null_count == n else output,
        model_fingerprint=model_fingerprint,
    )


def _part(chunk: Chunk, positions: Int64s) -> Chunk:
    """The same lease with only these jobs."""
    return replace(
        chunk,
        table=chunk.table.take(pa.array(positions)),
        indices=chunk.indices[positions],
        generation=chunk.generation[positions],
        attempts=chunk.attempts[positions],
    )


def _with_keys(outcomes: Outcomes, chunk: Chunk, keys: Keys) -> Outcomes:
    """Note the hash of each item beside its outcome, so that it is found when the same item comes again."""
    if outcomes.report is None:
        mine = np.searchsorted(chunk.indices, outcomes.indices)
        outcomes.report = pa.table({"sha256": pa.array(hex_of_keys(keys[mine]), pa.string())})
    return outcomes
