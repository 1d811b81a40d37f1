"""Running a chunk at once with ``verify_batch``; where that fails, in halves, until the items at fault stand alone.

Where memory ran out, the smaller size is remembered for the next calls of the verifier.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from dfbatch.actors.chunk_report import outcomes_of
from dfbatch.actors.chunk_run import FLUSH_S, ChunkRun
from dfbatch.actors.failure import Failure
from dfbatch.actors.messages import Outcomes
from dfbatch.actors.out_of_memory import GPU, HOST
from dfbatch.actors.output_rows import WrongShape, vector_output
from dfbatch.core.error_class import ErrorClass
from dfbatch.ledger.item_codec import vector_table

_NOT_OF_AN_ITEM = (ErrorClass.BREAKER_OPEN, ErrorClass.VERIFIER_UNUSABLE)
"""Errors that every part would meet alike."""


_OUT_OF_MEMORY = (HOST, GPU)


class _Piece(NamedTuple):
    """Rows ``start`` to ``stop`` of the chunk, run in one call."""

    start: int
    stop: int
    begin: float
    end: float
    misshapen: bool = False
    """What it returned was no row per item."""


class VectorRun(ChunkRun):
    """Calls ``verify_batch`` with the whole chunk, and with halves of what failed."""

    def run(self) -> Iterator[Outcomes]:
        table = self.chunk.table if self.chunk.order.kind == "verify" else self.inputs()
        spans, size = [(0, len(table))], self.verifier.micro_batch
        failed: list[tuple[_Piece, Failure]] = []
        flush_at = time.perf_counter() + FLUSH_S
        while spans and not self.is_recalled():
            start, stop = spans.pop()
            if size.size is not None and stop - start > size.size:
                spans.append((start + size.size, stop))
                stop = start + size.size
            piece, result = self._call(table.slice(start, stop - start), start)
            if not isinstance(result, Failure):
                size.fitted(stop - start)
                self.verifier.proven = True
                yield self._succeeded(piece, result)
            elif stop - start == 1 or result.error_class in _NOT_OF_AN_ITEM or self._is_to_blame(piece):
                failed.append((piece, result))
            elif result.error_type in _OUT_OF_MEMORY:
                size.ran_out(stop - start)
                spans.append((start, stop))
            else:
                middle = (start + stop) // 2
                spans += [(middle, stop), (start, middle)]
            if failed and piece.end >= flush_at:
                yield self._failed(failed)
                failed, flush_at = [], time.perf_counter() + FLUSH_S
        if failed:
            yield self._failed(failed)

    def _is_to_blame(self, piece: _Piece) -> bool:
        """True if the verifier never returned a row per item yet: parts would only hide that it is wrong."""
        return piece.misshapen and not self.verifier.proven

    def _call(self, part: pa.Table, start: int) -> tuple[_Piece, pa.Table | Failure | None]:
        """One call; the mark and the context stand at its first row."""
        self.mark.cells[0] = self.chunk.lease_id
        self.mark.cells[2] = len(part)
        self.mark.cells[1] = self.context.job_index = int(self.chunk.indices[start])
        self.context.attempt = int(self.chunk.attempts[start]) + 1
        begin = self.context.begun = time.perf_counter()
        self.limit.item_starts(begin, len(part))
        result: pa.Table | Failure | None
        misshapen = False
        try:
            given = part if self.chunk.order.kind == "verify" else vector_table(part, self.items)
            result = vector_output(self.bound_call()(given), len(part))
        except BaseException as error:  # SystemExit too ends the call, not the worker
            result, misshapen = self.described(error), isinstance(error, WrongShape)
        return _Piece(start, start + len(part), begin, time.perf_counter(), misshapen), result

    def _succeeded(self, piece: _Piece, output: pa.Table | None) -> Outcomes:
        n = piece.stop - piece.start
        took = piece.end - piece.begin
        return outcomes_of(
            self.chunk,
            np.arange(piece.start, piece.stop, dtype=np.int64),
            np.full(n, piece.begin),
            np.full(n, took / n),
            {},
            busy_s=took,
            output=output,
            model_fingerprint=self.verifier.model_fingerprint,
        )

    def _failed(self, failed: list[tuple[_Piece, Failure]]) -> Outcomes:
        pieces = [piece for piece, _ in failed]
        sizes = np.array([p.stop - p.start for p in pieces])
        took = np.array([p.end - p.begin for p in pieces])
        failures = np.repeat(np.arange(len(failed)), sizes).tolist()
        return outcomes_of(
            self.chunk,
            np.concatenate([np.arange(p.start, p.stop, dtype=np.int64) for p in pieces]),
            np.repeat([p.begin for p in pieces], sizes),
            np.repeat(took / sizes, sizes),
            {k: failed[which][1] for k, which in enumerate(failures)},
            busy_s=float(took.sum()),
            model_fingerprint=self.verifier.model_fingerprint,
        )
