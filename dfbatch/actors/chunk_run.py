"""Running one chunk: call the verifier item by item or at once, time it, mark where it is, catch what it raises."""

from __future__ import annotations

import faulthandler
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO

import numpy as np
import pyarrow as pa

from dfbatch.actors.context import JobContext
from dfbatch.actors.failure import Failure, describe
from dfbatch.actors.messages import Chunk, Outcomes
from dfbatch.actors.output_rows import output_table, vector_output
from dfbatch.actors.position_mark import PositionMark
from dfbatch.authenticity.findings import Report
from dfbatch.authenticity.report_table import reports_to_table
from dfbatch.core.error_class import ErrorClass
from dfbatch.ledger.item_codec import items_from_table, vector_table
from dfbatch.ledger.schemas import RESULTS

FLUSH_S = 0.5
"""Outcomes of slow items are reported at least this often, so that nothing waits for a chunk to end."""
_SAME_FAILURES = 8
REPORT_COLUMNS = [
    "uri",
    "media_type",
    "size",
    "sha256",
    "verdict",
    "p_manipulated",
    "coverage",
    "reasons",
    "findings",
    "provenance",
]


@dataclass(slots=True)
class LoadedVerifier:
    """A verifier ready to run on this worker. ``stored_at`` says where blobs of the ledger are."""

    call: Callable[..., Any]
    vectorised: bool
    takes_context: bool
    model_fingerprint: str | None
    blob_location: Callable[[str], str]


class TimeLimit:
    """Ends the process, with the stack in a file, when one item takes too long: a C thread that needs no GIL.

    Arming costs 62 µs, so it is done again only after a tenth of the limit: an item
    gets between 1 and 1.1 times its limit.
    """

    def __init__(self, limit_s: float | None, stack_file: TextIO | None) -> None:
        self._limit_s = limit_s if stack_file is not None else None
        self._file = stack_file
        self._armed_at = -1e18

    def item_starts(self, now: float) -> None:
        if self._limit_s is not None and now - self._armed_at > 0.1 * self._limit_s:
            self._armed_at = now
            assert self._file is not None
            faulthandler.dump_traceback_later(1.1 * self._limit_s, exit=True, file=self._file)

    def ends(self) -> None:
        if self._limit_s is not None:
            faulthandler.cancel_dump_traceback_later()


@dataclass(slots=True)
class _Tally:
    """Outcomes gathered since the last report; lists are aligned, one entry a job."""

    positions: list[int] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    failures: dict[int, Failure] = field(default_factory=dict)


class ChunkRun:
    """One chunk on one worker. ``outcomes()`` yields reports; it ends early when the lease is called back."""

    def __init__(
        self,
        chunk: Chunk,
        verifier: LoadedVerifier,
        mark: PositionMark,
        context: JobContext,
        is_recalled: Callable[[], bool],
        limit: TimeLimit,
    ) -> None:
        self._chunk = chunk
        self._verifier = verifier
        self._mark = mark
        self._context = context
        self._is_recalled = is_recalled
        self._limit = limit
        retry = chunk.order.options.get("retry") or {}
        self._retry_on, self._give_up_on = tuple(retry.get("retry_on", ())), tuple(retry.get("give_up_on", ()))

    def outcomes(self) -> Iterator[Outcomes]:
        """Reports with ``seq`` 0; the worker numbers them."""
        self._context.batch_id = self._chunk.order.batch_id
        try:
            yield from self._vectorised() if self._verifier.vectorised else self._per_item()
        finally:
            self._limit.ends()
            self._mark.clear()

    # ---------------------------------------------------------------------------------- item by item

    def _per_item(self) -> Iterator[Outcomes]:
        items = self._items()
        tally = _Tally()
        clock, flush_at = time.perf_counter, time.perf_counter() + FLUSH_S
        cells, indices = self._mark.cells, self._chunk.indices.tolist()
        call = self._bound_call()
        cells[0] = self._chunk.lease_id
        for position, (index, item) in enumerate(zip(indices, items, strict=True)):
            if self._is_recalled():
                break
            cells[1] = self._context.job_index = index
            start = clock()
            self._limit.item_starts(start)
            try:
                value = call(item)
            except Exception as error:
                tally.failures[len(tally.positions)] = self._describe(error)
                value = None
            end = clock()
            tally.positions.append(position)
            tally.starts.append(start)
            tally.ends.append(end)
            tally.values.append(value)
            if end >= flush_at:
                yield self._report(tally)
                tally, flush_at = _Tally(), clock() + FLUSH_S
        if tally.positions:
            yield self._report(tally)

    def _items(self) -> list[Any]:
        table = self._chunk.table
        if self._chunk.order.kind == "verify":
            rows = zip(*(table.column(name).to_pylist() for name in ("uri", "blob", "filename")), strict=True)
            locate = self._verifier.blob_location
            return [
                {"uri": uri or name, "location": locate(blob) if blob else uri, "filename": name}
                for uri, blob, name in rows
            ]
        return items_from_table(self._inputs(), self._kind())

    def _inputs(self) -> pa.Table:
        column = self._chunk.table.column("input").combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks)
        return pa.table(column.flatten(), names=[f.name for f in column.type])

    def _kind(self) -> Any:
        return self._chunk.order.items or "value"

    def _bound_call(self) -> Callable[[Any], Any]:
        call = self._verifier.call
        if not self._verifier.takes_context:
            return call
        context = self._context
        return lambda item: call(item, context)

    def _describe(self, error: Exception) -> Failure:
        return describe(error, self._retry_on, self._give_up_on)

    # ------------------------------------------------------------------------------- a chunk at once

    def _vectorised(self) -> Iterator[Outcomes]:
        table = self._chunk.table if self._chunk.order.kind == "verify" else self._inputs()
        pieces = [(0, len(table))]
        n_alike, seen = 0, 0
        while pieces:
            if self._is_recalled():
                return
            start, stop = pieces.pop()
            part = table.slice(start, stop - start)
            output, failure, times = self._call_vector(part, start)
            if failure is None:
                n_alike = 0
                yield self._vector_report(start, stop, output, None, times)
            elif stop - start == 1 or (n_alike >= _SAME_FAILURES and failure.fingerprint == seen):
                # Every piece fails alike: more halving would only repeat it.
                yield self._vector_report(start, stop, None, failure, times)
                n_alike += 1
            else:
                middle = (start + stop) // 2
                pieces += [(middle, stop), (start, middle)]
                n_alike = n_alike + 1 if failure.fingerprint == seen else 1
                seen = failure.fingerprint

    def _call_vector(self, part: pa.Table, start: int) -> tuple[pa.Table | None, Failure | None, tuple[float, float]]:
        self._mark.cells[0] = self._chunk.lease_id
        self._mark.cells[1] = self._context.job_index = int(self._chunk.indices[start])
        begin = time.perf_counter()
        self._limit.item_starts(begin)
        try:
            if self._chunk.order.kind != "verify":
                part = vector_table(part, self._kind())
            call = self._bound_call()
            output = vector_output(call(part), len(part))
            return output, None, (begin, time.perf_counter())
        except Exception as error:
            return None, self._describe(error), (begin, time.perf_counter())

    def _vector_report(
        self, start: int, stop: int, output: pa.Table | None, failure: Failure | None, times: tuple[float, float]
    ) -> Outcomes:
        n = stop - start
        begin, end = times
        failures = dict.fromkeys(range(n), failure) if failure is not None else {}
        return self._message(
            np.arange(start, stop, dtype=np.int64),
            np.full(n, begin),
            np.full(n, (end - begin) / n),
            end - begin,
            {k: f for k, f in failures.items() if f is not None},
            None,
            output,
        )

    # --------------------------------------------------------------------------------------- reports

    def _report(self, tally: _Tally) -> Outcomes:
        starts, ends = np.array(tally.starts), np.array(tally.ends)
        report, output = self._tables(tally)
        return self._message(
            np.array(tally.positions, np.int64),
            starts,
            ends - starts,
            float(ends[-1] - starts[0]),
            tally.failures,
            report,
            output,
        )

    def _tables(self, tally: _Tally) -> tuple[pa.Table | None, pa.Table | None]:
        """Reports of the authenticator go into the results table itself, anything else into ``output``."""
        values = tally.values
        reports = [value if isinstance(value, Report) else None for value in values]
        if any(r is not None for r in reports):
            wanted = pa.schema([RESULTS.arrow.field(name) for name in REPORT_COLUMNS])
            given = [k for k, r in enumerate(reports) if r is not None]
            table = reports_to_table([r for r in reports if r is not None], wanted)
            places = np.full(len(values), -1)
            places[given] = np.arange(len(given))
            report = table.take(pa.array(places, mask=places < 0)) if len(given) < len(values) else table
            others = [None if isinstance(v, Report) else v for v in values]
            if all(v is None for v in others):
                return report, None
            values = others
        else:
            report = None
        output, errors = output_table(values)
        for position, error in errors.items():
            tally.failures[position] = self._describe(error)
        return report, output

    def _message(
        self,
        positions: np.ndarray[Any, Any],
        starts: np.ndarray[Any, Any],
        durations: np.ndarray[Any, Any],
        busy_s: float,
        failures: dict[int, Failure],
        report: pa.Table | None,
        output: pa.Table | None,
    ) -> Outcomes:
        n = len(positions)
        error_class, fingerprint = np.zeros(n, np.uint8), np.zeros(n, np.int64)
        for k, failure in failures.items():
            error_class[k], fingerprint[k] = failure.error_class, failure.fingerprint
        wall = time.time() - time.perf_counter()
        chunk = self._chunk
        uris = chunk.table.column("uri").take(pa.array(positions)) if chunk.order.kind == "verify" else None
        return Outcomes(
            seq=0,
            lease_id=chunk.lease_id,
            batch_id=chunk.order.batch_id,
            indices=chunk.indices[positions],
            generation=chunk.generation[positions],
            error_class=error_class,
            fingerprint=fingerprint,
            started_at=starts + wall,
            duration_s=durations,
            busy_s=busy_s,
            uris=uris,
            report=report,
            output=output,
            failures=_failure_table(failures),
            model_fingerprint=self._verifier.model_fingerprint,
        )


def _failure_table(failures: dict[int, Failure]) -> pa.Table | None:
    if not failures:
        return None
    rows = sorted(failures.items())
    return pa.table(
        {
            "position": pa.array([k for k, _ in rows], pa.int64()),
            "error_type": pa.array([f.error_type for _, f in rows], pa.string()),
            "error_message": pa.array([f.message for _, f in rows], pa.string()),
            "traceback": pa.array([f.traceback_text or None for _, f in rows], pa.string()),
        }
    )


def failed_outright(chunk: Chunk, error: Exception) -> Outcomes:
    """Every job of the chunk failed before it ran: the verifier is unusable."""
    failure = describe(error)
    n = len(chunk.indices)
    now = time.time()
    return Outcomes(
        seq=0,
        lease_id=chunk.lease_id,
        batch_id=chunk.order.batch_id,
        indices=chunk.indices,
        generation=chunk.generation,
        error_class=np.full(n, ErrorClass.VERIFIER_UNUSABLE, np.uint8),
        fingerprint=np.full(n, failure.fingerprint, np.int64),
        started_at=np.full(n, now),
        duration_s=np.zeros(n),
        busy_s=1e-6,
        uris=chunk.table.column("uri") if chunk.order.kind == "verify" else None,
        failures=_failure_table(dict.fromkeys(range(n), failure)),
    )
