"""The part of a worker that runs chunks, one after another, in one thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TextIO

import numpy as np

from dfbatch.actors.chunk_judge import ChunkJudge
from dfbatch.actors.chunk_report import failed_outright
from dfbatch.actors.chunk_run import FLUSH_S, ChunkRun, LoadedVerifier
from dfbatch.actors.context import JobContext
from dfbatch.actors.held_work import HeldWork
from dfbatch.actors.item_run import ItemRun
from dfbatch.actors.memory_limit import MemoryLimit
from dfbatch.actors.messages import Chunk, Outcomes
from dfbatch.actors.position_mark import PositionMark
from dfbatch.actors.time_limit import TimeLimit
from dfbatch.actors.vector_run import VectorRun
from dfbatch.actors.verifier_store import VerifierStore
from dfbatch.core.death import CONSTRUCTING
from dfbatch.core.recycling import Recycling, recycling_limits
from dfbatch.errors import VerifierUnusable

if TYPE_CHECKING:
    from dfbatch.actors.reuse_run import ReuseRun

_logger = logging.getLogger("dfbatch.worker")


class ChunkRunner:
    """Loads the verifier of a chunk, calls it, and gives its outcomes to ``work``."""

    def __init__(
        self,
        verifiers: VerifierStore,
        mark: PositionMark,
        context: JobContext,
        work: HeldWork,
        stack_file: TextIO | None,
        memory: MemoryLimit,
    ) -> None:
        self._verifiers = verifiers
        self._mark = mark
        self._context = context
        self._breakers = context.breakers
        self._work = work
        self._stack_file = stack_file
        self._memory = memory
        self._reuse: ReuseRun | None = None
        self._at_hand: ChunkRun | None = None
        self._recycling = Recycling()

    def run(self, chunk: Chunk) -> None:
        """Returns when the chunk is over, or was called back; what it has no outcome for is still held then."""
        self._context.begin(lambda: self._work.is_cancelled(chunk))
        breakers = self._breakers
        verifier = chunk.order.fingerprint or chunk.order.batch_id
        self._mark.begin(verifier, chunk.indices)
        self._judge = judge = ChunkJudge(breakers, verifier)
        if breakers.tries_again:
            self._verifiers.forgive(chunk.order)
        reports = self._outcomes(chunk, judge, lambda: breakers.halted or self._work.is_recalled(chunk))
        for outcomes in judge.sift(reports):
            self._work.report(outcomes)
        self._at_hand = None

    def why_renew(self, chunk: Chunk) -> str | None:
        """Why this process should leave in good order after the chunk and be replaced, or None."""
        order, resident = chunk.order, self._memory.resident()
        limits = recycling_limits(order.options, order.memory_bytes)
        return self._recycling.after_chunk(order.fingerprint, len(chunk.indices), resident, *limits)

    def report_finished(self, item_s: float = FLUSH_S) -> None:
        """Report what has succeeded in the chunk at hand, if its present item takes long. From another thread.

        Never waits: while too much is not durable yet it does nothing.
        """
        if not self._work.outbox.is_full:
            self._report_finished(item_s)

    def rescue(self) -> None:
        """Report what the chunk at hand has achieved so far. From another thread, for a process about to end."""
        self._report_finished(None)

    def _report_finished(self, item_s: float | None) -> None:
        at_hand = self._at_hand
        try:
            if at_hand is not None:
                at_hand.report_finished(self._report_early, item_s)
        except Exception:
            _logger.exception("What has succeeded could not be reported yet; it is when the item at hand has ended")

    def _report_early(self, outcomes: Outcomes) -> None:
        """The chunk does not end, and its judge sees no other report, before this has returned."""
        self._judge.reported_early(len(outcomes.indices))
        self._work.report_now(outcomes)

    def _outcomes(self, chunk: Chunk, judge: ChunkJudge, recalled: Callable[[], bool]) -> Iterator[Outcomes]:
        if recalled():
            return
        cap = chunk.order.memory_bytes
        self._memory.set(cap)
        try:
            verifier = self._loaded(chunk, cap)
        except VerifierUnusable as error:
            yield failed_outright(chunk, error)
            return
        limit = TimeLimit(chunk.order.timeout_s, self._stack_file)
        kind = VectorRun if verifier.vectorised else ItemRun

        def run(part: Chunk, verifier: LoadedVerifier, *dress: Callable[[Outcomes], Outcomes]) -> Iterator[Outcomes]:
            self._at_hand = kind(part, verifier, self._mark, self._context, recalled, limit, self._memory, *dress)
            return self._at_hand.outcomes()

        try:
            if chunk.order.reuses:
                yield from self._reuse_run().outcomes(chunk, verifier, run)
            else:
                yield from run(chunk, verifier)
        except Exception as error:
            # Ours, not the verifier's. A worker that ended here would meet the same chunk for ever.
            _logger.exception("Lease %d could not be run", chunk.lease_id)
            rest = self._work.open_positions(chunk)
            rest = rest[~np.isin(chunk.indices[rest], judge.held())]
            if len(rest):
                yield failed_outright(chunk, error, rest)

    def _loaded(self, chunk: Chunk, cap: int | None) -> LoadedVerifier:
        """The verifier, constructed under its mark. Raises VerifierUnusable."""
        too_small = self._memory.too_small(cap)
        if too_small is not None:
            raise VerifierUnusable(too_small)
        cells = self._mark.cells
        cells[0], cells[1] = chunk.lease_id, CONSTRUCTING
        try:
            return self._verifiers.get(chunk.order)
        finally:
            self._mark.clear()

    def _reuse_run(self) -> ReuseRun:
        """Made when first needed: most workers never reuse anything."""
        if self._reuse is None:
            from dfbatch.actors.reuse_memory import ReuseMemory
            from dfbatch.actors.reuse_run import ReuseRun

            self._reuse = ReuseRun(ReuseMemory(self._verifiers.storage))
        return self._reuse
