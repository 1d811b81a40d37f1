"""The manager's part of ``reuse="content"``: equal items of a submit wait for the first; the index is kept fresh.

A follower is held until its leader ends. Then it gets a row of its own from the leader's report, or, if the leader
did not succeed, it runs. Batches without reuse meet one comparison a chunk here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import numpy as np
import pyarrow as pa

from dfbatch.actors.batch_desk import BatchDesk
from dfbatch.actors.manager_base import ManagerBase, ManagerConfig, PoolPort
from dfbatch.actors.messages import Submit
from dfbatch.actors.reuse_followers import Followers, find_followers, joined, passed_on
from dfbatch.clock import Clock
from dfbatch.core import effects as fx
from dfbatch.core import events, following
from dfbatch.core.states import FIRST_TERMINAL_CODE, JobState
from dfbatch.errors import DfbatchError
from dfbatch.ledger.columns import Int64s
from dfbatch.ledger.reuse_update import update_index

ROWS_AT_ONCE = 16_384
"""Rows of followers copied in one go: the loop must stay free for others."""

FRESH_S = 2.0
"""How often the index follows the results while a batch with reuse is at work."""

PATIENCE_S = 5.0
"""A submit waits so long for the index to know what is durable; it goes on without."""
_logger = logging.getLogger("dfbatch.manager")


class ReuseCalls(ManagerBase):
    """What the Manager does for batches with reuse."""

    def __init__(self, config: ManagerConfig, pool: PoolPort, clock: Clock | None = None) -> None:
        super().__init__(config, pool, clock)
        self._reuse_updates: dict[str, asyncio.Task[None]] = {}
        self._reuse_due: dict[str, float] = {}
        """When the index of a verifier should be looked after again, in monotonic seconds."""

    def perform(self, effects: list[fx.Effect]) -> None:
        """Overridden by the EffectPerformer."""

    # ------------------------------------------------------------------------------- followers

    async def begin_reuse(self, message: Submit) -> Followers | None:
        """Before a submit is accepted: its equal items, and an index that knows what is durable by now."""
        if message.options.get("reuse") != "content":
            return None
        await self.refresh_reuse(message.verifier_fingerprint)
        return await self.followers_of(message.kind, 0, message.jobs, message.inputs)

    async def followers_of(
        self, kind: str, first: int, jobs: pa.Table | None, inputs: pa.Table | None
    ) -> Followers | None:
        """Equal items among new jobs, the first of which has the index ``first``; see ``find_followers``."""
        n = len(jobs) if jobs is not None else len(inputs) if inputs is not None else 0
        indices = np.arange(first, first + n, dtype=np.int64)
        return await asyncio.get_running_loop().run_in_executor(None, find_followers, kind, indices, jobs, inputs)

    def hold_followers(self, batch_id: str, found: Followers | None) -> None:
        """Call it in one go with the event that brought the jobs in, before anything of it is performed."""
        if found is not None:
            desk = self.desks[batch_id]
            desk.followers = joined(desk.followers, found)
            self.state.handle(events.FollowersHeld(batch_id, np.sort(found.followers)), self.now())

    def hold_recovered(self, desk: BatchDesk) -> None:
        """After a restart, equal jobs of an open batch that have no outcome wait again for the first of them."""
        batch_id = desk.facts.batch_id
        batch = self.state.batches.get(batch_id)
        if not desk.order.reuses or batch is None or batch.stopping is not None:
            return
        waiting = batch.jobs.open_indices()
        if not len(waiting):
            return
        try:
            rows = self.readers.submit(desk.payload.slice, waiting).result()
        except (DfbatchError, OSError) as error:
            _logger.warning("Equal items of batch %s run each on their own: %s", batch_id, error)
            return
        inputs = None if desk.facts.kind == "verify" else _struct_columns(rows)
        self.hold_followers(batch_id, find_followers(desk.facts.kind, waiting, rows, inputs))

    def follow_taken(self, effect: fx.OutcomesTaken) -> None:
        """Pass outcomes on to followers, and let those run whose leaders did not succeed."""
        desk = self.desks[effect.batch_id]
        if desk.followers is None:
            return
        won = effect.state == JobState.SUCCEEDED.code
        which, followers, uris = desk.followers.of(effect.indices[won])
        places = effect.positions[won][which]
        for start in range(0, len(followers), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            self._pass_on(effect, places[part], followers[part], None if uris is None else uris[part])
        self._release(desk, effect.indices[(effect.state >= FIRST_TERMINAL_CODE) & ~won])

    def follow_decided(self, effect: fx.OutcomesDecided) -> None:
        """Leaders that were cancelled, or that killed their workers, have nothing to pass on."""
        desk = self.desks[effect.batch_id]
        if desk.followers is not None:
            self._release(desk, effect.indices)

    def _pass_on(self, effect: fx.OutcomesTaken, places: Int64s, followers: Int64s, uris: Any) -> None:
        batch = self.state.batches[effect.batch_id]
        waiting = np.isin(followers, following.waiting(batch, followers))
        if not waiting.any():
            return
        places, followers = places[waiting], followers[waiting]
        order = np.argsort(followers, kind="stable")
        if uris is not None:
            uris = uris.filter(pa.array(waiting)).take(pa.array(order))
        indices = followers[order]
        outcomes = passed_on(effect.payload, places[order], indices, batch.jobs.generation[indices], uris)
        told = events.OutcomesReported(
            effect.worker,
            outcomes.lease_id,
            outcomes.batch_id,
            outcomes.indices,
            outcomes.generation,
            outcomes.error_class,
            outcomes.fingerprint,
            outcomes.busy_s,
            outcomes,
        )
        self.perform(self.state.handle(told, self.now()))

    def _release(self, desk: BatchDesk, leaders: Int64s) -> None:
        if desk.followers is not None and len(leaders):
            _, followers, _ = desk.followers.of(leaders)
            if len(followers):
                self.perform(self.state.handle(events.FollowersReleased(desk.facts.batch_id, followers), self.now()))

    # ----------------------------------------------------------------------------------- index

    async def refresh_reuse(self, fingerprint: str) -> None:
        """Bring the index of a verifier up to date; returns when that is done, or after ``PATIENCE_S``."""
        update = self._reuse_updates.get(fingerprint)
        if update is not None:
            await asyncio.wait([update], timeout=PATIENCE_S)  # it began before what is asked for was durable
        if update is None or update.done():
            update = asyncio.get_running_loop().create_task(self._update(fingerprint))
            self._reuse_updates[fingerprint] = update
            update.add_done_callback(lambda _: self._reuse_updates.pop(fingerprint, None))
            await asyncio.wait([update], timeout=PATIENCE_S)

    async def _update(self, fingerprint: str) -> None:
        begin = time.monotonic()
        try:
            reader = self.ledger.reader
            await asyncio.get_running_loop().run_in_executor(None, update_index, reader, fingerprint)
        except Exception as error:
            # Best effort: without the index everything is verified anew, which is never wrong.
            _logger.warning("The reuse index of verifier %s was not brought up to date: %s", fingerprint, error)
        took = time.monotonic() - begin
        self._reuse_due[fingerprint] = time.monotonic() + max(FRESH_S, 10 * took)

    def keep_reuse_fresh(self) -> None:
        """Once a tick: follow the results for batches at work; free followers whose leaders ended unheard."""
        at_work = set()
        for batch_id, desk in self.desks.items():
            batch = self.state.batches.get(batch_id)
            if not desk.order.reuses or batch is None or batch.finished_as is not None:
                continue
            at_work.add(desk.order.fingerprint)
            stranded = following.stranded(batch)
            if len(stranded):
                self.perform(self.state.handle(events.FollowersReleased(batch_id, stranded), self.now()))
        for fingerprint in at_work:
            if time.monotonic() >= self._reuse_due.get(fingerprint, 0.0) and fingerprint not in self._reuse_updates:
                self._reuse_due[fingerprint] = time.monotonic() + FRESH_S
                self.spawn(self.refresh_reuse(fingerprint))


def _struct_columns(rows: pa.Table) -> pa.Table | None:
    if "input" not in rows.column_names:
        return None
    column = rows.column("input").combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    return pa.table(column.flatten(), names=[field.name for field in column.type])
