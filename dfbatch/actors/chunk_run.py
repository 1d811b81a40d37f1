"""Running one chunk: call the verifier, time it, mark where it is, catch what it raises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import pyarrow as pa

from dfbatch.actors.context import JobContext
from dfbatch.actors.failure import Failure, describe
from dfbatch.actors.memory_limit import MemoryLimit
from dfbatch.actors.messages import Chunk, Outcomes
from dfbatch.actors.out_of_memory import let_go, out_of_memory
from dfbatch.actors.position_mark import PositionMark
from dfbatch.actors.time_limit import TimeLimit
from dfbatch.core.micro_batch import MicroBatchSize

FLUSH_S = 0.5
"""Outcomes of slow items are reported at least this often, so that nothing waits for a chunk to end."""


@dataclass(slots=True)
class LoadedVerifier:
    """A verifier ready to run on this worker. ``blob_location`` says where blobs of the ledger are."""

    call: Callable[..., Any]
    vectorised: bool
    takes_context: bool
    model_fingerprint: str | None
    blob_location: Callable[[str], str]
    micro_batch: MicroBatchSize = field(default_factory=MicroBatchSize)
    proven: bool = False
    """A vectorised one has returned one row per item at least once."""


def carried_columns(chunk: Chunk) -> pa.Table:
    """The items of a ``map`` batch, or the columns carried along with media."""
    column = chunk.table.column("input").combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    return pa.table(column.flatten(), names=[f.name for f in column.type])


def _as_it_is(outcomes: Outcomes) -> Outcomes:
    return outcomes


class ChunkRun:
    """One chunk on one worker; ``ItemRun`` and ``VectorRun`` say how."""

    def __init__(
        self,
        chunk: Chunk,
        verifier: LoadedVerifier,
        mark: PositionMark,
        context: JobContext,
        is_recalled: Callable[[], bool],
        limit: TimeLimit,
        memory: MemoryLimit | None = None,
        dress: Callable[[Outcomes], Outcomes] = _as_it_is,
    ) -> None:
        self.chunk = chunk
        self.verifier = verifier
        self.mark = mark
        self.context = context
        self.is_recalled = is_recalled
        self.limit = limit
        self.memory = memory or MemoryLimit()
        self.dress = dress
        """What is added to each report before anybody gets it; from whichever thread makes the report."""
        retry = chunk.order.options.get("retry") or {}
        self._retry_on, self._give_up_on = tuple(retry.get("retry_on", ())), tuple(retry.get("give_up_on", ()))

    def outcomes(self) -> Iterator[Outcomes]:
        """Reports with ``seq`` 0; the worker numbers them. Ends early when the lease is called back."""
        self.context.batch_id = self.chunk.order.batch_id
        try:
            for outcomes in self.run():
                yield self.dress(outcomes)
        finally:
            self.limit.ends()
            self.mark.clear()

    def run(self) -> Iterator[Outcomes]:
        """Overridden by those who know how."""
        yield from ()

    def report_finished(self, send: Callable[[Outcomes], None], item_s: float | None) -> None:
        """Another thread sends what has succeeded and was not reported, if the item at hand takes that long already.

        ``item_s`` None: the process is about to end, and this is the last occasion. Overridden by those who keep some.
        """

    @property
    def items(self) -> Literal["value", "row"]:
        """How the inputs are to be read."""
        return cast(Literal["value", "row"], self.chunk.order.items or "value")

    def inputs(self) -> pa.Table:
        """The carried columns."""
        return carried_columns(self.chunk)

    def bound_call(self) -> Callable[[Any], Any]:
        """The verifier as a function of one argument."""
        call, context = self.verifier.call, self.context
        return (lambda item: call(item, context)) if self.verifier.takes_context else call

    def described(self, error: BaseException) -> Failure:
        """What the verifier raised, as plain data; noted by the breakers that counted it, and by the log of the job."""
        if out_of_memory(error):
            self.memory.lift()
            let_go(error)
        self.context.fails()
        failure = describe(error, self._retry_on, self._give_up_on)
        if failure.dependencies:
            self.context.breakers.left(failure.dependencies)
        return failure
