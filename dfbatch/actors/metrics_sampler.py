"""Samples of what the manager does, every few seconds; kept in memory, and written to the ledger now and then.

A crash loses at most the samples of the last ``SAVE_S`` seconds. They are written after everything else, so that no
outcome ever waits for them.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from dfbatch.actors.committer import Pending
from dfbatch.actors.effect_performer import CallTag, EffectPerformer
from dfbatch.actors.manager_base import ManagerConfig, PoolPort
from dfbatch.actors.opening import OpenedLedger
from dfbatch.clock import Clock
from dfbatch.core.metrics import Surroundings, Tallies, sample_rows, without_time
from dfbatch.core.states import JobState
from dfbatch.errors import DfbatchError
from dfbatch.ledger.schemas import METRICS

SAMPLE_S = 5.0
SAVE_S = 30.0
LOOK_S = 1.0
MOST_UNSAVED = 720
"""Samples that are kept while the ledger takes none: an hour. Older ones go first."""
_logger = logging.getLogger("dfbatch.manager")


class Exporter(Protocol):
    """Takes each sample somewhere else."""

    def export(self, rows: Sequence[Mapping[str, Any]], tallies: Tallies) -> None:
        """``rows`` as ``sample_rows`` gives them. Called for every sample, whether anything changed or not."""
        ...


class MetricsSampler(EffectPerformer):
    """The part of the Manager that samples itself."""

    exporter: Exporter | None = None

    def __init__(self, config: ManagerConfig, pool: PoolPort, clock: Clock | None = None) -> None:
        super().__init__(config, pool, clock)
        self.running_since = self.sampled_at = self._saved_at = self._looked_at = self.now().mono
        self._unsaved: list[pa.Table] = []
        self._said: list[dict[str, Any]] = []
        self._on_its_way: tuple[pa.Table, ...] = ()

    async def metrics(self) -> pa.Table:
        """The samples that are not in the ledger yet, and how it is at this moment."""
        await self.ready()
        self.tallies.commits.add(np.array(self.committer.take_commit_s()))
        # The present interval goes on: looking at it changes nothing.
        rows = sample_rows(self.state, copy.deepcopy(self.tallies), self._around(), self.sampled_at, self.now())
        present = [_table(rows)] if without_time(rows) != self._said else []
        return pa.concat_tables([METRICS.arrow.empty_table(), *self._unsaved, *present])

    def begin_sampling(self, opened: OpenedLedger) -> None:
        """Count from what the ledger holds on."""
        self.running_since = self.sampled_at = self._saved_at = self._looked_at = self.now().mono
        self._said = []
        self.tallies = Tallies()
        found = opened.recovered
        for batch_id, detail in found.finished.items():
            counts = detail.get("counts", {})
            self.tallies.recovered(found.queue_of[batch_id], sum(counts.values()), counts)
        for batch in found.batches:
            codes = np.bincount(batch.result_status, minlength=len(JobState))
            outcomes = {state.value: int(codes[state.code]) for state in JobState}
            self.tallies.recovered(batch.row["queue"], batch.job_count, outcomes)

    def sample_when_due(self) -> None:
        """Called by every tick."""
        now = self.now()
        if now.mono - self._looked_at >= LOOK_S:
            self._looked_at = now.mono
            self.idle_watch.look(self.state, now)
        if now.mono - self.sampled_at >= SAMPLE_S:
            self._sample()
        if now.mono - self._saved_at >= SAVE_S and not self._on_its_way and self.state.storage_refusing is None:
            self._saved_at = now.mono
            if self._unsaved:
                self.spawn(self._save())

    def save_last_samples(self) -> None:
        """The manager ends: what it has not saved goes to the committer, which writes it before it stops."""
        if self.committing is None:
            return
        self._sample()
        left = [table for table in self._unsaved if not any(table is other for other in self._on_its_way)]
        if left:
            self.committing.put(Pending(lambda: {"metrics": pa.concat_tables(left)}, CallTag(_Unheard()), low=True))

    def _sample(self) -> None:
        """One more sample. It is kept if something happened since the last one."""
        now = self.now()
        self.tallies.commits.add(np.array(self.committer.take_commit_s()))
        rows = sample_rows(self.state, self.tallies, self._around(), self.sampled_at, now)
        said = without_time(rows)
        if said != self._said:
            self._said = said
            self._unsaved.append(_table(rows))
            del self._unsaved[:-MOST_UNSAVED]
        self.sampled_at = now.mono
        if self.exporter is not None:
            try:
                self.exporter.export(rows, self.tallies)
            except Exception:
                # Somebody else's system of metrics must cost neither a tick nor an orderly end.
                _logger.exception("A sample could not be exported")

    async def _save(self) -> None:
        tables = self._on_its_way = tuple(self._unsaved)
        try:
            await self.durable(Pending(lambda: {"metrics": pa.concat_tables(tables)}, None, low=True))
        except DfbatchError as error:
            _logger.warning("Samples cannot be saved yet, and are kept in memory: %s", error)
            return
        finally:
            self._on_its_way = ()
        saved = {id(table) for table in tables}
        self._unsaved = [table for table in self._unsaved if id(table) not in saved]

    def _around(self) -> Surroundings:
        return Surroundings(self.committer.backlog_rows)


class _Unheard:
    """In the place of a future when nobody is left to hear."""

    def done(self) -> bool:
        return True


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(
        [{**row, "at": datetime.fromtimestamp(row["at"], UTC)} for row in rows], schema=METRICS.arrow
    )
