"""What jobs say: taken from workers, kept in bounded memory, and written down where a job failed."""

from __future__ import annotations

from collections import Counter

from dfbatch.actors.effect_performer import EffectPerformer
from dfbatch.actors.log_book import LogBook, tail_of
from dfbatch.actors.messages import LogLine
from dfbatch.core import effects as fx
from dfbatch.core.job_table import JobTable
from dfbatch.core.ready import Indices
from dfbatch.core.states import JobState
from dfbatch.errors import UnknownId

MOST_NOTED = 200
"""Failed jobs of one batch whose last lines go into the ledger."""
NOTED_LINES = 50
NOTED_CHARACTERS = 4_000


class LogCalls(EffectPerformer):
    """The part of the Manager that keeps logs."""

    log_book: LogBook
    logs_noted: Counter[str]

    async def job_log(self, batch_id: str, index: int, tail: int | None) -> str:
        """The last lines of the present generation of a job. Raises UnknownId for one that is not in memory."""
        await self.ready()
        jobs = self.state.batch(batch_id).jobs
        if not 0 <= index < len(jobs):
            raise UnknownId(f"Batch '{batch_id}' has {len(jobs)} jobs; there is no job '{batch_id}-{index}'.")
        return tail_of(self.log_book.of(batch_id, index, int(jobs.generation[index])), tail)

    def keep_logs(self, lines: tuple[LogLine, ...]) -> None:
        """Take in what a worker brings."""
        if lines:
            self.log_book.add(lines, self._generation_of, self._has_failed)

    def forget_logs(self) -> None:
        """Of batches that left the state's memory."""
        if len(self.log_book):
            self.log_book.forget(lambda batch_id: batch_id not in self.state.batches)
            for batch_id in [b for b in self.logs_noted if b not in self.state.batches]:
                del self.logs_noted[batch_id]

    def perform(self, effects: list[fx.Effect]) -> None:
        """As before; and the last words of jobs that fail for good become rows in ``events``."""
        super().perform(effects)
        if not len(self.log_book):
            return
        for effect in effects:
            if isinstance(effect, fx.OutcomesTaken):
                self._note_last_words(effect.batch_id, effect.indices[effect.state == JobState.FAILED.code])
            elif isinstance(effect, fx.OutcomesDecided) and effect.state is JobState.FAILED:
                self._note_last_words(effect.batch_id, effect.indices)

    def _note_last_words(self, batch_id: str, failed: Indices) -> None:
        jobs = self.state.batches[batch_id].jobs
        for index in failed[: MOST_NOTED - self.logs_noted[batch_id]].tolist():
            generation = int(jobs.generation[index])
            lines = self.log_book.of(batch_id, index, generation)
            if lines:
                self.logs_noted[batch_id] += 1
                text = tail_of(lines, NOTED_LINES)[-NOTED_CHARACTERS:]
                self.note("job_log", batch_id, detail={"job_index": index, "generation": generation, "log": text})

    def _generation_of(self, batch_id: str, index: int) -> int | None:
        batch = self.state.batches.get(batch_id)
        if batch is None or not isinstance(batch.jobs, JobTable) or not 0 <= index < len(batch.jobs):
            return None
        return int(batch.jobs.generation[index])

    def _has_failed(self, batch_id: str, index: int) -> bool:
        known = self._generation_of(batch_id, index) is not None
        return known and bool(self.state.batches[batch_id].jobs.state[index] == JobState.FAILED.code)
