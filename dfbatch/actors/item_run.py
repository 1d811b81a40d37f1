"""Running a chunk item by item."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from dfbatch.actors.chunk_report import outcomes_of, value_tables
from dfbatch.actors.chunk_run import FLUSH_S, ChunkRun
from dfbatch.actors.item_tally import Tally
from dfbatch.actors.messages import Outcomes
from dfbatch.ledger.item_codec import items_from_table


class ItemRun(ChunkRun):
    """Calls the verifier with one item after another."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._tally = Tally()
        self._reporting = threading.Lock()
        """Held while a report is taken out of the tally, by another thread until it is sent."""

    def outcomes(self) -> Iterator[Outcomes]:
        """Once it has ended nothing more is reported from another thread."""
        try:
            yield from super().outcomes()
        finally:
            self._take()

    def run(self) -> Iterator[Outcomes]:
        items, attempts = self._items(), self.chunk.attempts.tolist()
        tally, clock = self._tally, time.perf_counter
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
                yield from self._reported(self._take())
                tally, flush_at = self._tally, clock() + FLUSH_S
        yield from self._reported(self._take())

    def report_finished(self, send: Callable[[Outcomes], None], item_s: float | None) -> None:
        """Only successes: what failed may have to be judged with the whole chunk, by the thread that runs it."""
        with self._reporting:
            tally = self._tally
            is_quick = item_s is not None and time.perf_counter() - self.context.begun < item_s
            if is_quick or tally.n_seen == len(tally.values):
                return
            fine = tally.look(plain_only=item_s is not None)
            _, _, errors = found = value_tables([tally.values[k] for k in fine])
            if errors:
                fine = [k for place, k in enumerate(fine) if place not in errors]
                found = value_tables([tally.values[k] for k in fine])
            if fine:
                send(self.dress(self._outcomes(tally.part(fine), *found[:2])))
                reported = set(fine)
                tally.left = [k for k in tally.left if k not in reported]

    def _take(self) -> Tally:
        """What nobody has reported; the next items go into a new tally."""
        with self._reporting:
            taken, self._tally = self._tally, Tally()
        return taken.rest()

    def _items(self) -> list[Any]:
        if self.chunk.order.kind != "verify":
            return items_from_table(self.inputs(), self.items)
        table, locate = self.chunk.table, self.verifier.blob_location
        rows = zip(*(table.column(name).to_pylist() for name in ("uri", "blob", "filename")), strict=True)
        return [
            {"uri": uri or name, "location": locate(blob) if blob else uri, "filename": name}
            for uri, blob, name in rows
        ]

    def _reported(self, tally: Tally) -> Iterator[Outcomes]:
        """The report of these entries, if there are any."""
        if tally.positions:
            report, output, errors = value_tables(tally.values)
            tally.failures.update({k: self.described(error) for k, error in errors.items()})
            yield self._outcomes(tally, report, output)

    def _outcomes(self, tally: Tally, report: pa.Table | None, output: pa.Table | None) -> Outcomes:
        starts, ends = np.array(tally.starts), np.array(tally.ends)
        return outcomes_of(
            self.chunk,
            np.array(tally.positions, np.int64),
            starts,
            ends - starts,
            tally.failures,
            busy_s=float(ends[-1] - starts[0]) if tally.busy_s is None else tally.busy_s,
            report=report,
            output=output,
            model_fingerprint=self.verifier.model_fingerprint,
        )
