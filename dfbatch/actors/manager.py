"""The manager: a thin shell around ``core.ManagerState``.

A plain asynchronous class; ``ray.remote`` wraps it where it is started. One event
loop owns the state; a committer thread makes rows durable; recovery is a task that
cannot kill the actor, because an ``__init__`` that fails on a restart would never be
run again. Calls while it recovers answer ManagerRecovering.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from dataclasses import replace

import numpy as np

from dfbatch.actors.committer import Committer, Done
from dfbatch.actors.health_calls import HealthCalls
from dfbatch.actors.manager_base import ManagerConfig, PoolPort
from dfbatch.actors.messages import Description
from dfbatch.actors.opening import OpenedLedger, open_ledger
from dfbatch.actors.recovering import INTERRUPTED, recovered_event, shelved_batches
from dfbatch.actors.retention_calls import RetentionCalls
from dfbatch.actors.watch_calls import WatchCalls
from dfbatch.actors.worker_calls import WorkerCalls
from dfbatch.clock import Clock
from dfbatch.core import events
from dfbatch.core.dead_letters import shelve
from dfbatch.core.instant import Instant
from dfbatch.core.manager import ManagerState
from dfbatch.core.policy import QueuePolicy
from dfbatch.core.states import FIRST_TERMINAL_CODE
from dfbatch.errors import LedgerFenced
from dfbatch.version import __version__

TICK_S = 0.25
RECOVERY_GRACE_S = 2.0
"""After a recovery, workers that were at work get this long to say hello before anything new is leased."""
_logger = logging.getLogger("dfbatch.manager")


class Manager(RetentionCalls, WatchCalls, WorkerCalls, HealthCalls):
    """One manager of one ledger. Construct it cheaply; the first call begins the recovery."""

    def __init__(self, config: ManagerConfig, pool: PoolPort, clock: Clock | None = None) -> None:
        super().__init__(config, pool, clock)
        self._begun = False
        self.error: Exception | None = None

    # ------------------------------------------------------------------------------------ life

    async def ensure_started(self) -> None:
        """Begin the recovery, once. Every call of the outside goes through here first."""
        if not self._begun:
            self._begun = True
            self.status = "recovering"
            self.spawn(self._recover())

    async def describe(self) -> Description:
        """Who this is and how it does; answers in every status."""
        await self.ensure_started()
        return Description(
            __version__,
            self.state.epoch,
            self.status,
            self.config.storage_path,
            self.config.namespace,
            self.reason,
            self.recovery_s,
            self.error,
        )

    async def _recover(self) -> None:
        """Open, fence, replay; again and again with back-off until it works."""
        delay = 0.2
        while True:
            begin = time.monotonic()
            try:
                opened = await asyncio.get_running_loop().run_in_executor(None, open_ledger, self.config, self.clock)
                self._replay(opened)
            except Exception as error:
                self.reason, self.error = str(error) or type(error).__name__, error
                _logger.warning("The ledger cannot be opened yet: %s", error, exc_info=error)
                await self._let_go()
                await asyncio.sleep(delay)
                delay = min(delay * 1.7, 5.0)
                continue
            self.recovery_s = time.monotonic() - begin
            self.status, self.reason, self.error = "running", "", None
            self.spawn(self._tick_loop())
            return

    async def _let_go(self) -> None:
        """Give up what is held of the ledger: the committer ends, the lock is free."""
        committing, opened = self.committing, self.opened
        self.committing, self.opened = None, None
        if committing is not None:
            await asyncio.get_running_loop().run_in_executor(None, committing.stop)
        if opened is not None:
            opened.lock.release()

    def _replay(self, opened: OpenedLedger) -> None:
        self.opened = opened
        loop = asyncio.get_running_loop()
        now = self.now()
        self.state = ManagerState(epoch=opened.epoch, rng=np.random.default_rng())
        self.committing = Committer(
            opened.writer,
            lambda done: loop.call_soon_threadsafe(self._on_done, done),
            lambda text: loop.call_soon_threadsafe(self._on_refusing, text),
            lambda: self.now().wall,
        )
        self.state.submit_ids.update(opened.recovered.submit_ids)
        self.state.keys.update(opened.recovered.keys)
        self.requests.update(opened.recovered.requests)
        self._replay_queues(opened, now)
        self.breaker_book.recall_orders(opened.recovered.queue_events)
        self.obey_last_order(opened.recovered.queue_events)
        self.begin_sampling(opened)
        interrupted = opened.interrupted and not self.config.resume
        self.note("manager_started", detail={"pid": os.getpid(), "host": socket.gethostname()})
        for found in opened.recovered.batches:
            desk = self.make_recovered_desk(found)
            event = recovered_event(found, interrupted)
            if event.paused == INTERRUPTED and self.config.resume:
                event = replace(event, paused=None)
                self.note("resumed", batch_id=event.spec.batch_id)
            elif event.paused == INTERRUPTED and interrupted:
                self.note("paused", batch_id=event.spec.batch_id, detail={"reason": INTERRUPTED})
            self.perform(self.state.handle(event, now))
            self.hold_recovered(desk)
            if opened.interrupted and not event.spec.sealed:
                self._seal_orphan(event.spec.batch_id)
        if opened.recovered.batches and not opened.interrupted and opened.epoch > 1:
            self.state.hold_leases_until = now.mono + RECOVERY_GRACE_S
        self.pool.attach(self)

    def _seal_orphan(self, batch_id: str) -> None:
        """The process that streamed its items ended with its kernel: no more will come."""
        reason = "The process that streamed the items ended before the stream did."
        n_jobs = len(self.state.batch(batch_id).jobs)
        self.note("sealed", batch_id, detail={"n_jobs": n_jobs, "reason": reason})
        self.perform(self.state.handle(events.BatchSealed(batch_id, reason), self.now()))

    def _replay_queues(self, opened: OpenedLedger, now: Instant) -> None:
        for event in opened.recovered.queue_events:
            if event["kind"] != "queue_changed" or event["queue"] is None:
                continue
            detail = event["detail"]
            policy = QueuePolicy(**detail["policy"]) if detail.get("policy") else None
            self.state.handle(events.QueueChanged(event["queue"], policy, detail.get("paused")), now)
        for batch_id, queue, n_dead in shelved_batches(opened.recovered):
            shelve(self.state, batch_id, queue, n_dead)

    async def _tick_loop(self) -> None:
        while self.status == "running":
            await asyncio.sleep(TICK_S)
            if self.status != "running":
                return
            try:
                self.perform(self.state.handle(events.Tick(), self.now()))
                self.spare_a_cpu()
                self.adjust_pool()
                self.perform(self.state.handle(events.PoolTroubled(self.pool.troubles()), self.now()))
                self.keep_reuse_fresh()
                self._release_desks()
                self.retire_when_due()
                self.sample_when_due()
            except Exception:
                # The clock of the machine must not stop because of one tick.
                _logger.exception("A tick failed")

    def _release_desks(self) -> None:
        """Desks of batches, and what is kept of workers, that left the state's memory."""
        batches = self.state.batches
        for batch_id in [b for b in self.desks if b not in batches]:
            self.drop_desk(batch_id)
        self.forget_logs()
        self.forget_gone_workers()
        self.step_book.expire(
            self.now().wall,
            lambda b, k: b not in batches or bool(batches[b].jobs.state[k] >= FIRST_TERMINAL_CODE),
        )

    # ----------------------------------------------------------------------- news from the committer

    def _on_done(self, done: Done) -> None:
        if isinstance(done.error, LedgerFenced):
            self._fence(done.error)
        self.on_committed(done)

    def _on_refusing(self, text: str | None) -> None:
        self.perform(self.state.handle(events.StorageHealth(text), self.now()))

    def _fence(self, error: LedgerFenced) -> None:
        if self.status != "fenced":
            _logger.error("This manager has ended: %s", error)
            self.status, self.reason, self.fenced = "fenced", str(error), error
            self.wake_all()
            self.spawn(self._end_fenced())

    async def _end_fenced(self) -> None:
        """The ledger belongs to a newer manager: the workers leave, and whoever calls is told."""
        await self.pool.close()
        await self._let_go()
        await self.ended()

    async def ended(self) -> None:
        """Nothing more will be done here. Overridden where the process should end too."""

    # ----------------------------------------------------------------------------------- the end

    async def shutdown(self) -> None:
        """Workers leave, rows become durable, the ledger is free. Open batches stay open in the ledger."""
        if self.status in ("stopped", "stopping"):
            return
        self.status = "stopping"
        self.wake_all()
        await self.pool.close()
        self.wake_all()
        self.save_last_samples()
        if self.committing is not None:
            await asyncio.get_running_loop().run_in_executor(None, self.committing.stop)
        if self.opened is not None:
            self.opened.lock.release()
        self.readers.shutdown(wait=False)
        for task in list(self._tasks):
            task.cancel()
        self.status = "stopped"
        self.wake_all()
