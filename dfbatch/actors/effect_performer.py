"""Performing what the rules ask for: rows to the committer, calls back to workers, news to those who wait."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from dfbatch.actors.committer import Done, Pending
from dfbatch.actors.dependency_rows import told_as_unavailable
from dfbatch.actors.messages import Outcomes
from dfbatch.actors.outcome_rows import OutcomeRows, bare_rows, rows_of_decided, rows_of_suspects, rows_of_taken
from dfbatch.actors.pool_demand import demands
from dfbatch.actors.reuse_calls import ReuseCalls
from dfbatch.core import effects as fx
from dfbatch.core import events
from dfbatch.core.pool_size import Demand
from dfbatch.core.states import FIRST_TERMINAL_CODE, JobState
from dfbatch.errors import LedgerCorrupt
from dfbatch.ledger.schemas import EVENTS

_logger = logging.getLogger("dfbatch.manager")


@dataclass(frozen=True, slots=True, eq=False)
class RowsTag:
    """Rows of a batch became durable: jobs by state code, and the worker's report they came from."""

    batch_id: str
    counts: Any
    worker: str | None = None
    seq: int = 0
    incarnation: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class CallTag:
    """A call waits for these rows; ``future`` gets None or the error."""

    future: Any


class EffectPerformer(ReuseCalls):
    """The part of the Manager that carries out effects."""

    pool_error = ""
    """Why the pool could not be adjusted, the last time that was tried."""

    def perform(self, effects: list[fx.Effect]) -> None:
        """Carry out every effect but answers, which the calls pick out themselves."""
        for effect in effects:
            match effect:
                case fx.OutcomesTaken():
                    effect = told_as_unavailable(effect)
                    self._write_taken(effect)
                    self.follow_taken(effect)
                case fx.OutcomesDecided():
                    self._write_decided(effect)
                    self.follow_decided(effect)
                case fx.SuspectsNoted():
                    self._write_suspects(effect)
                case fx.BatchEnded():
                    self._end_batch(effect)
                case fx.SealDue():
                    self.spawn(self.seal_durably(effect.batch_id, effect.reason))
                case fx.BatchReopened():
                    self.desks[effect.batch_id].ended.clear()
                case fx.WorkAvailable():
                    self.wake_all()
                case fx.Recall():
                    reasons = dict.fromkeys(effect.lease_ids, effect.reason)
                    self.recalls.setdefault(effect.worker, {}).update(reasons)
                    self.wake(effect.worker)
                case fx.Note():
                    self.note(effect.kind, effect.batch_id, effect.queue, effect.worker, effect.detail)
                case fx.Granted() | fx.LeaseVerdicts():
                    pass

    def note(
        self,
        kind: str,
        batch_id: str | None = None,
        queue: str | None = None,
        worker: str | None = None,
        detail: Mapping[str, Any] | None = None,
        tag: Any = None,
    ) -> None:
        """A row in ``events``. With a ``tag`` somebody waits for it."""
        self.event_seq += 1
        row = {
            "batch_id": batch_id,
            "at": datetime.fromtimestamp(self.now().wall, UTC),
            "kind": kind,
            "queue": queue,
            "worker_id": worker,
            "detail": json.dumps(dict(detail or {})),
            "epoch": self.state.epoch,
            "seq": self.event_seq,
        }
        table = pa.Table.from_pylist([row], schema=EVENTS.arrow)
        self.committer.put(Pending(lambda: {"events": table}, tag, 1, urgent=tag is not None, lazy=tag is None))

    async def durable(self, pending: Pending) -> None:
        """Returns when the rows are in the ledger; raises what kept them out."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        pending.tag = CallTag(future)
        self.committer.put(pending)
        await future

    async def noted(self, kind: str, batch_id: str | None, detail: Mapping[str, Any], queue: str | None = None) -> None:
        """A row in ``events``, durable on return."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.note(kind, batch_id, queue, detail=detail, tag=CallTag(future))
        await future

    async def seal_durably(self, batch_id: str, reason: str | None) -> None:
        """Seal a streamed batch once what is on its way has arrived; a sealed one stays as it is."""
        async with self.desks[batch_id].extending:
            batch = self.state.batch(batch_id)
            if not batch.sealed:
                await self.noted("sealed", batch_id, {"n_jobs": len(batch.jobs), "reason": reason})
                self.perform(self.state.handle(events.BatchSealed(batch_id, reason), self.now()))

    def _write_taken(self, effect: fx.OutcomesTaken) -> None:
        desk = self.desks[effect.batch_id]
        outcomes: Outcomes = effect.payload
        desk.tally(effect, outcomes)
        started_at, duration_s = outcomes.started_at, outcomes.duration_s
        if len(effect.positions) != len(started_at):
            started_at, duration_s = started_at[effect.positions], duration_s[effect.positions]
        self.tallies.taken(
            desk.row["queue"], effect.state, effect.error_class, desk.facts.queued_at, started_at, duration_s
        )
        final = effect.state[effect.state >= FIRST_TERMINAL_CODE]
        counts = np.bincount(final, minlength=len(JobState)).astype(np.int64)
        worker = self.state.workers.get(effect.worker)
        node = worker.node if worker else ""
        self._put(
            lambda: rows_of_taken(desk.facts, effect, node),
            self._reported(effect.batch_id, counts, effect.worker, outcomes.seq),
            len(effect.positions),
            lambda error: bare_rows(desk.facts, effect, node, error),
        )

    def _write_decided(self, effect: fx.OutcomesDecided) -> None:
        desk = self.desks[effect.batch_id]
        if effect.error_type:
            desk.errors[effect.error_type] += len(effect.indices)
        counts = np.zeros(len(JobState), np.int64)
        counts[effect.state.code] = len(effect.indices)
        wall = self.now().wall

        def build() -> OutcomeRows:
            uris = None
            if desk.facts.kind == "verify":
                try:
                    # One thread reads payloads; this runs in the committer's.
                    uris = self.readers.submit(desk.payload.slice, effect.indices).result().column("uri")
                except LedgerCorrupt as error:
                    # An outcome must not be lost with the name of its item.
                    _logger.error("Outcomes of batch %s are kept without URIs: %s", effect.batch_id, error)
            return rows_of_decided(desk.facts, effect, uris, wall)

        self._put(build, RowsTag(effect.batch_id, counts), len(effect.indices))

    def _write_suspects(self, effect: fx.SuspectsNoted) -> None:
        desk = self.desks[effect.batch_id]
        worker = self.state.workers.get(effect.worker)
        node, wall = worker.node if worker else "", self.now().wall
        none = np.zeros(len(JobState), np.int64)
        self._put(
            lambda: rows_of_suspects(desk.facts, effect, node, wall),
            RowsTag(effect.batch_id, none),
            len(effect.indices),
        )

    def _put(self, build: Any, tag: RowsTag, n_rows: int, fallback: Any = None) -> None:
        """To the committer; at once if the batch has nothing else to wait for."""
        batch = self.state.batches.get(tag.batch_id)
        urgent = batch is None or (batch.sealed and batch.jobs.n_open == 0)
        self.committer.put(Pending(build, tag, n_rows, urgent, fallback=fallback))

    def _end_batch(self, effect: fx.BatchEnded) -> None:
        desk = self.desks[effect.batch_id]
        desk.ended.set()
        if self.status == "running":
            self.readers.submit(desk.payload.forget)  # the thread that reads them
        detail = {
            "status": effect.state.value,
            "counts": dict(effect.counts),
            "verdicts": dict(desk.verdicts),
            "errors": dict(desk.errors),
            "finished_at": self.now().wall,
            "reason": effect.reason,
        }
        self.note("batch_finished", effect.batch_id, detail=detail)

    def workers_wanted(self) -> list[Demand]:
        """Workers for the work that could run now, by shape; the pool keeps them within its limits."""
        return demands(self.state, self.desks, self.now())

    def adjust_pool(self) -> None:
        """Have the pool follow the work. What it cannot start must cost no submit its answer and no tick its rest."""
        try:
            self.pool.reconcile(self.workers_wanted())
        except Exception as error:
            if str(error) != self.pool_error:
                _logger.exception("The pool of workers could not be adjusted")
            self.pool_error = str(error)
        else:
            self.pool_error = ""

    def confirm_after_backlog(self, worker: str, seq: int) -> None:
        """Tell the worker that a report without news is settled, once what came before it is durable."""
        self.committer.put(Pending(dict, self._reported("", np.zeros(len(JobState), np.int64), worker, seq)))

    def _reported(self, batch_id: str, counts: Any, worker: str, seq: int) -> RowsTag:
        """The tag of a worker's report, with the process it came from."""
        known = self.state.workers.get(worker)
        return RowsTag(batch_id, counts, worker, seq, known.incarnation if known else "")

    def on_committed(self, done: Done) -> None:
        """Rows are durable, or refused for good."""
        counts: dict[str, Any] = {}
        for tag in done.tags:
            if isinstance(tag, CallTag):
                if not tag.future.done():
                    tag.future.set_exception(done.error) if done.error else tag.future.set_result(None)
            elif isinstance(tag, RowsTag) and done.error is None:
                if tag.batch_id:
                    total = counts.setdefault(tag.batch_id, np.zeros(len(JobState), np.int64))
                    total += tag.counts
                    if tag.batch_id in self.desks:
                        self.tallies.durable(self.desks[tag.batch_id].row["queue"], tag.counts)
                known = self.state.workers.get(tag.worker or "")
                # A process that took the name over counts its reports anew; one not known yet was saying hello.
                if tag.worker is not None and known is not None and tag.incarnation in ("", known.incarnation):
                    self.durable_seq[tag.worker] = max(self.durable_seq.get(tag.worker, 0), tag.seq)
                    self.wake(tag.worker)
        if done.error is not None:
            # Callers were told; and that another manager has the ledger now says more than what it refused.
            if self.fenced is None and not all(isinstance(tag, CallTag) for tag in done.tags):
                self.reason = f"Rows could not be made durable: {done.error}"
                _logger.error("%s", self.reason)
            return
        if counts:
            self.perform(self.state.handle(events.Committed(tuple(counts.items())), self.now()))
