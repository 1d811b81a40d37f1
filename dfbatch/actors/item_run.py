"""Running a chunk item by item."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dfbatch.actors.chunk_report import outcomes_of, value_tables
from dfbatch.actors.chunk_run import FLUSH_S, ChunkRun
from dfbatch.actors.failure import Failure
from dfbatch.actors.messages import Outcomes
from dfbatch.ledger.item_codec import items_from_table


@dataclass(slots=True)
class _Tally:
    """Outcomes gathered since the last report; lists are aligned, one entry a job."""

    positions: list[int] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    failures: dict[int, Failure] = field(default_factory=dict)


class ItemRun(ChunkRun):
    """Calls the verifier with one item after another."""

    _tally = _Tally()

    def run(self) -> Iterator[Outcomes]:
        items, attempts = self._items(), self.chunk.attempts.tolist()
        tally, clock = _Tally(), time.perf_counter
        self._tally = tally
        flush_at = clock() + FLUSH_S
        cells, indices, context = self.mark.cells, self.chunk.indices.tolist(), self.context
        call = self.bound_call()
        cells[0] = self.chunk.lease_id
        for position, (index, item) in enumerate(zip(indices, items, strict=True)):
            if self.is_recalled():
                break
            cells[1] = context.job_index = index
            context.attempt = attempts[position] + 1
            start = context.begun = clock()
            self.limit.item_starts(start)
            try:
                value = call(item)
            except BaseException as error:  # SystemExit too ends the item, not the worker
                tally.failures[len(tally.positions)] = self.described(error)
                value = None
            end = clock()
            tally.positions.append(position)
            tally.starts.append(start)
            tally.ends.append(end)
            tally.values.append(value)
            if end >= flush_at:
                yield self._report(tally)
                self._tally = tally = _Tally()
                flush_at = clock() + FLUSH_S
        if tally.positions:
            yield self._report(tally)

    def finished(self) -> Outcomes | None:
        """Successes since the last report. Values are stored last, so their number is that of whole entries."""
        tally = self._tally
        whole = [k for k in range(len(tally.values)) if k not in tally.failures]
        if not whole:
            return None
        return self._report(
            _Tally(
                [tally.positions[k] for k in whole],
                [tally.starts[k] for k in whole],
                [tally.ends[k] for k in whole],
                [tally.values[k] for k in whole],
            )
        )

    def _items(self) -> list[Any]:
        if self.chunk.order.kind != "verify":
            return items_from_table(self.inputs(), self.items)
        table, locate = self.chunk.table, self.verifier.blob_location
        rows = zip(*(table.column(name).to_pylist() for name in ("uri", "blob", "filename")), strict=True)
        return [
            {"uri": uri or name, "location": locate(blob) if blob else uri, "filename": name}
            for uri, blob, name in rows
        ]

    def _report(self, tally: _Tally) -> Outcomes:
        starts, ends = np.array(tally.starts), np.array(tally.ends)
        report, output, errors = value_tables(tally.values)
        tally.failures.update({k: self.described(error) for k, error in errors.items()})
        return outcomes_of(
            self.chunk,
            np.array(tally.positions, np.int64),
            starts,
            ends - starts,
            tally.failures,
            busy_s=float(ends[-1] - starts[0]),
            report=report,
            output=output,
            model_fingerprint=self.verifier.model_fingerprint,
        )
