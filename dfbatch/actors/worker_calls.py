"""The calls of workers: hello, exchange, heartbeat, hand back, leave."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import numpy as np
import pyarrow as pa

from dfbatch.actors.breaker_book import turn_rows
from dfbatch.actors.chunk_report import timed_out
from dfbatch.actors.committer import Pending
from dfbatch.actors.endings import last_death_of
from dfbatch.actors.log_calls import LogCalls
from dfbatch.actors.messages import (
    Beat,
    BreakerReport,
    Chunk,
    Control,
    Exchange,
    ExchangeReply,
    Hello,
    HelloReply,
    News,
    Outcomes,
)
from dfbatch.actors.output_types import types_in_ledger
from dfbatch.core import effects as fx
from dfbatch.core import events
from dfbatch.core.books import LEASE_TERM_S
from dfbatch.core.death import CONSTRUCTING
from dfbatch.errors import DfbatchError, ManagerRecovering

PARK_S = 10.0
KEEP_BEAT_S = 0.9
FEW_JOBS = 16
MOST_BACKLOG_ROWS = 3_000_000
"""Rows that may wait for the ledger; beyond it nothing is leased, so memory stays bounded."""
_logger = logging.getLogger("dfbatch.manager")


class WorkerCalls(LogCalls):
    """The part of the Manager that workers talk to."""

    async def hello(self, message: Hello) -> HelloReply:
        """A worker starts, or meets this manager for the first time. Its outcomes come first, then its leases."""
        await self.ready_for_workers()
        await self._know_types(message.outcomes)
        uris = await self._uris_of_hung(message)
        death = await last_death_of(self.state.workers, message, self.pool)
        name = message.worker  # from here to the end nothing comes between
        known = self.state.workers.get(name)
        if known is None or known.incarnation != message.incarnation:
            self.durable_seq[name] = 0
            self.recalls.pop(name, None)
            self.wake(name)  # the kept calls of a process that is gone end, with nothing for it
            self.wakes[name] = asyncio.Event()
        self.wakes.setdefault(name, asyncio.Event())
        self.pids[name] = message.pid
        if self.drained.get(name) == message.incarnation:
            self.leaving.add(name)
        self._keep_news(message.incarnation, message.news)
        for outcomes in message.outcomes:
            self._take(name, outcomes)
        if message.mark is not None and _hung(message):
            self._charge_timeout(name, message.mark, message.stack, uris)
        held = tuple(events.HeldLease(h.lease_id, h.batch_id, h.indices, h.generation, h.solo) for h in message.held)
        who = (name, message.incarnation, message.shape, message.queues, message.node)
        met = events.WorkerHello(*who, held, message.mark, death=death, n_marked=message.n_marked)
        effects = self.state.handle(met, self.now())
        self.perform(effects)
        self._see_breakers(name, message.incarnation, message.breakers)
        kept = next(e.kept for e in effects if isinstance(e, fx.LeaseVerdicts))
        return HelloReply(self.state.epoch, kept)

    async def exchange(self, message: Exchange) -> ExchangeReply:
        """Outcomes in, next chunk out. Parked while there is nothing to do and the worker holds nothing."""
        await self.ready_for_workers()
        if not self._is_known(message):
            return ExchangeReply(self._control(message))
        self._keep_news(message.incarnation, message.news)
        self._see_breakers(message.worker, message.incarnation, message.breakers)
        await self._know_types(message.outcomes)
        for outcomes in message.outcomes:
            self._take(message.worker, outcomes)
        chunk = None
        if message.want and message.worker not in self.leaving:
            chunk = await self._next_chunk(message)
            if chunk is None and message.idle and not message.outcomes:
                chunk = await self._park(message)
        return ExchangeReply(self._control(message), chunk, self._has_more_after(chunk))

    async def heartbeat(self, beat: Beat) -> Control:
        """A sign of life that renews leases; kept for up to ``KEEP_BEAT_S`` while the worker holds some."""
        await self.ready_for_workers()
        if not self._is_known(beat):
            return self._control(beat)
        self.beats[beat.worker] = beat
        self._keep_news(beat.incarnation, beat.news)
        self._see_breakers(beat.worker, beat.incarnation, beat.breakers)
        self.perform(self.state.handle(events.Heartbeat(beat.worker, beat.lease_ids, beat.draining), self.now()))
        if beat.lease_ids:
            await self._until_called_back(beat)
        return self._control(beat)

    async def hand_back(self, worker: str, lease_id: int) -> None:
        await self.ready_for_workers()
        self.perform(self.state.handle(events.HandedBack(worker, lease_id), self.now()))

    async def leave(self, worker: str, incarnation: str) -> None:
        await self.ready_for_workers()
        known = self.state.workers.get(worker)
        if known is not None and known.incarnation != incarnation:
            return  # another process works under this name by now
        self.perform(self.state.handle(events.WorkerLeft(worker, incarnation), self.now()))
        self._forget_worker(worker)
        self.leaving.discard(worker)

    def worker_died(self, worker: str, incarnation: str | None, cause: str) -> None:
        """News of the pool: the process is gone."""
        known = self.state.workers.get(worker)
        if known is not None and self.status == "running":
            gone = events.WorkerLost(worker, incarnation or known.incarnation, cause)
            self.perform(self.state.handle(gone, self.now()))

    def forget_gone_workers(self) -> None:
        """What was kept of those that vanished without a goodbye."""
        for worker in [w for w in {*self.wakes, *self.recalls, *self.durable_seq} if w not in self.state.workers]:
            self._forget_worker(worker)

    def _forget_worker(self, worker: str) -> None:
        self.wake(worker)
        for memory in (self.wakes, self.recalls, self.durable_seq, self.beats, self.pids):
            memory.pop(worker, None)
        self.breaker_book.forget(worker)

    def _keep_news(self, incarnation: str, brought: tuple[News, ...]) -> None:
        """Remember what jobs said and how far they are, once: before their outcomes are taken."""
        if brought:
            for news in self.news_heard.fresh(incarnation, brought):
                self.step_book.add(news.steps, self._generation_of)
                self.keep_logs(news.logs)

    def _see_breakers(self, worker: str, incarnation: str, report: BreakerReport | None) -> None:
        """Take note of a worker's circuit breakers, and write down their changes of state."""
        if report is None:
            return
        seen, turns = self.breaker_book.take(worker, incarnation, report, self.now().mono)
        if seen is not None:
            self.perform(self.state.handle(events.BreakersSeen(worker, seen), self.now()))
        if turns:
            table = turn_rows(worker, turns, self.state.epoch, self.event_seq + 1)
            self.event_seq += len(turns)
            self.committer.put(Pending(lambda: {"events": table}, None, len(turns)))

    async def _uris_of_hung(self, message: Hello) -> pa.ChunkedArray | None:
        """The name of the item that took too long; None for one without. Read beside the event loop."""
        lease = self.state.leases.get(message.mark[0]) if message.mark is not None and _hung(message) else None
        if message.mark is None or lease is None or self.desks[lease.batch_id].facts.kind != "verify":
            return None
        index, payload = np.array([message.mark[1]], np.int64), self.desks[lease.batch_id].payload
        try:
            rows = await asyncio.get_running_loop().run_in_executor(self.readers, payload.slice, index)
        except (DfbatchError, OSError, pa.ArrowException) as error:
            # An outcome must not be lost with the name of its item.
            _logger.error("An item of batch %s that hung is kept without its URI: %s", lease.batch_id, error)
            return None
        return rows.column("uri")

    def _charge_timeout(self, worker: str, mark: tuple[int, int], stack: str, uris: pa.ChunkedArray | None) -> None:
        """The last incarnation ended itself because the marked item took too long: that item is charged, and no other.

        A lease that this manager does not know was another manager's; its item will show itself again.
        """
        lease = self.state.leases.get(mark[0])
        if lease is not None and lease.worker == worker:
            jobs, desk = self.state.batches[lease.batch_id].jobs, self.desks[lease.batch_id]
            index = np.array([mark[1]], np.int64)
            self._take(worker, timed_out(lease, desk.order, index, jobs.generation[index], stack, self.now(), uris))

    def _is_known(self, caller: Exchange | Beat) -> bool:
        """False if it has to say hello first, or another process bears its name by now."""
        known = self.state.workers.get(caller.worker)
        return known is not None and known.incarnation == caller.incarnation and caller.epoch == self.state.epoch

    async def _know_types(self, reports: tuple[Outcomes, ...]) -> None:
        """What columns a recovered batch had is read from the ledger, once, before its next outcomes are taken."""
        for batch_id in {report.batch_id for report in reports if report.output is not None}:
            desk, batch = self.desks.get(batch_id), self.state.batches.get(batch_id)
            if desk is None or batch is None or desk.output_types.is_known:
                continue
            kinds: list[pa.DataType] = []
            if batch.durable.any():
                loop = asyncio.get_running_loop()
                kinds = await loop.run_in_executor(None, types_in_ledger, self.ledger.reader, batch_id)
            desk.output_types.learn(kinds)

    def _take(self, worker: str, outcomes: Outcomes) -> None:
        desk = self.desks.get(outcomes.batch_id)
        if desk is not None:
            outcomes = desk.output_types.checked(outcomes)
        effects = self.state.handle(
            events.OutcomesReported(
                worker,
                outcomes.lease_id,
                outcomes.batch_id,
                outcomes.indices,
                outcomes.generation,
                outcomes.error_class,
                outcomes.fingerprint,
                outcomes.busy_s,
                outcomes,
            ),
            self.now(),
        )
        self.perform(effects)
        if not any(isinstance(e, fx.OutcomesTaken) for e in effects):
            # All of it was known already; the worker need not keep it. What came before may still be on its way.
            self.confirm_after_backlog(worker, outcomes.seq)

    async def _next_chunk(self, caller: Exchange) -> Chunk | None:
        """Leased to the process that called. While a kept call waited, another may have taken its place."""
        if self.committer.backlog_rows > MOST_BACKLOG_ROWS or self.status != "running" or not self._is_known(caller):
            return None
        effects = self.state.handle(events.LeaseRequested(caller.worker), self.now())
        self.perform(effects)
        granted = next((e for e in effects if isinstance(e, fx.Granted)), None)
        if granted is None:
            return None
        lease = granted.lease
        desk = self.desks[lease.batch_id]
        attempts = self.state.batch(lease.batch_id).jobs.attempts[lease.indices]
        try:
            table = await asyncio.get_running_loop().run_in_executor(self.readers, desk.payload.slice, lease.indices)
        except Exception as error:
            self.perform(self.state.handle(events.HandedBack(caller.worker, lease.lease_id), self.now()))
            raise ManagerRecovering(1.0, f"the items of batch {lease.batch_id} cannot be read: {error}") from error
        return Chunk(
            lease.lease_id, desk.order, table, lease.indices, granted.generation, attempts, lease.solo, LEASE_TERM_S
        )

    async def _until_called_back(self, beat: Beat) -> None:
        """Keep the heartbeat of a busy worker for a while: its answer is the quickest way to reach it."""
        loop, worker = asyncio.get_running_loop(), beat.worker
        until, wake = loop.time() + KEEP_BEAT_S, self.wakes.get(worker)
        while self.status == "running" and worker not in self.leaving and not self.recalls.get(worker):
            if wake is None or loop.time() >= until or not self._is_known(beat):
                return
            wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), max(0.0, until - loop.time()))

    def _has_more_after(self, chunk: Chunk | None) -> bool:
        """False after the last few jobs there are: a worker that fetches ahead would only be in its own way."""
        if chunk is None or len(chunk.indices) > FEW_JOBS:
            return True
        return any(batch.finished_as is None and batch.has_ready_work() for batch in self.state.batches.values())

    async def _park(self, message: Exchange) -> Chunk | None:
        """Wait for work, news, or the end of patience; with a manager that stops, for its end."""
        loop, worker = asyncio.get_running_loop(), message.worker
        until, wake = loop.time() + PARK_S, self.wakes[worker]
        durable = self.durable_seq.get(worker, 0)
        while self.status in ("running", "stopping") and worker not in self.leaving and self._is_known(message):
            wake.clear()
            try:
                await asyncio.wait_for(wake.wait(), max(0.0, until - loop.time()))
            except TimeoutError:
                return None
            if self.recalls.get(worker) or self.durable_seq.get(worker, 0) != durable:
                return None
            chunk = await self._next_chunk(message)
            if chunk is not None:
                return chunk
        return None

    def _control(self, caller: Exchange | Beat) -> Control:
        worker = caller.worker
        if not self._is_known(caller):
            return Control(self.state.epoch, say_hello=True)
        return Control(
            self.state.epoch,
            self.durable_seq.get(worker, 0),
            self.recalls.pop(worker, {}),
            leave=worker in self.leaving,
            breaker_orders=dict(self.breaker_book.orders),
        )


def _hung(message: Hello) -> bool:
    """True if the time limit of one item, and of no other in the same call, ended the last process."""
    mark = message.mark
    return message.timed_out and mark is not None and mark[1] != CONSTRUCTING and message.n_marked == 1
