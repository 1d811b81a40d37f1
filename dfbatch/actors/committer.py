"""The thread that makes rows durable: many reports, one commit.

Whoever waits gets a commit at once; rows nobody waits for are gathered for a
moment. A refused write is tried again with the same rows, as long as it takes;
a newer manager on the ledger ends this one for good.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa

from dfbatch.actors.outcome_rows import OutcomeRows, merged, with_commit_id
from dfbatch.core.group_commit import GATHER_S, gather_s, learned
from dfbatch.errors import CommitUnknown, LedgerError, LedgerFenced, StorageRefused, StorageUnusable
from dfbatch.ledger.writer import CommitGroup, LedgerWriter

UPKEEP_PAUSE_S = 10.0
"""Upkeep that failed is tried again after so long."""
_TROUBLE = (LedgerError, StorageUnusable, OSError)
"""What a storage that comes back, or is given room, no longer raises."""
_T = TypeVar("_T")
_logger = logging.getLogger("dfbatch.manager")


@dataclass(slots=True, eq=False)
class Pending:
    """Something to be made durable. ``build`` runs in the committer's thread and returns tables by name.

    ``tag`` comes back to the shell. ``alone``: a submit; it is refused rather than
    kept, so it never shares a commit with rows that must not be lost. ``fallback``
    makes plain rows of outcomes whose own columns cannot be put together. ``lazy``:
    nobody misses it for a moment, so it does not make an urgent commit longer.
    ``low``: written after what else there is, on its own, and given up if it is refused.
    """

    build: Callable[[], OutcomeRows | dict[str, pa.Table]]
    tag: Any
    n_rows: int = 0
    urgent: bool = False
    alone: bool = False
    lazy: bool = False
    low: bool = False
    fallback: Callable[[Exception], OutcomeRows] | None = None
    since: float = field(default_factory=time.monotonic)


@dataclass(slots=True, eq=False)
class Done:
    """Answer of the committer: these tags are durable, or ``error`` says why not."""

    tags: list[Any]
    error: Exception | None = None


class Committer:
    """Owns the LedgerWriter. ``report`` is called from its thread with Done, or a refusal's text (None: it is over).

    ``now_wall`` tells upkeep the time: that of the manager, by which the rows are dated.
    """

    def __init__(
        self,
        writer: LedgerWriter,
        report: Callable[[Done], object],
        refusing: Callable[[str | None], object],
        now_wall: Callable[[], float],
    ) -> None:
        self._writer = writer
        self._report = report
        self._refusing = refusing
        self._now_wall = now_wall
        self._condition = threading.Condition()
        self._pending: list[Pending] = []
        self._stopping = False
        self._fenced: LedgerFenced | None = None
        self._upkeep_at = 0.0
        self.backlog_rows = 0
        self._commit_s: deque[float] = deque(maxlen=10_000)
        self._small_commit_s = 0.0
        self._thread = threading.Thread(target=self._loop, name="dfbatch-committer", daemon=True)
        self._thread.start()

    def put(self, pending: Pending) -> None:
        """Have rows made durable; returns at once, and the answer comes to ``report``."""
        with self._condition:
            self._pending.append(pending)
            self.backlog_rows += pending.n_rows
            self._condition.notify()

    def take_commit_s(self) -> list[float]:
        """Seconds that each commit since the last call took, those of low priority not counted."""
        return [self._commit_s.popleft() for _ in range(len(self._commit_s))]

    def stop(self, timeout_s: float = 30.0) -> None:
        """Make everything durable that waits, then end the thread."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join(timeout_s)

    def _loop(self) -> None:
        while True:
            batch = self._gather()
            if not batch and self._stopping:
                return
            if not batch:
                self._keep_up()
                continue
            submits = [p for p in batch if p.alone]
            rest = [p for p in batch if not p.alone and not p.low]
            for part, keep in ((submits, False), (rest, True), ([p for p in batch if p.low], False)):
                if part:
                    self._commit(part, keep)
            with self._condition:
                self.backlog_rows -= sum(p.n_rows for p in batch)

    def _gather(self) -> list[Pending]:
        with self._condition:
            while True:
                now = time.monotonic()
                if not self._pending:
                    if self._stopping or not self._condition.wait(timeout=0.5):
                        return []
                    continue
                n_rows = sum(p.n_rows for p in self._pending)
                due = self._pending[0].since + gather_s(n_rows, self._small_commit_s)
                if self._stopping or now >= due or any(p.urgent for p in self._pending):
                    batch: list[Pending] = []
                    left: list[Pending] = []
                    for p in self._pending:
                        (batch if not p.lazy or now >= p.since + GATHER_S or self._stopping else left).append(p)
                    self._pending = left
                    return batch
                self._condition.wait(timeout=due - now)

    def _commit(self, part: list[Pending], keep: bool, written: frozenset[str] = frozenset()) -> None:
        """``written``: tables that got the rows of ``part`` already, in a commit that failed after them."""
        tags = [p.tag for p in part]
        begin = time.monotonic()
        group = CommitGroup({})
        try:
            group = self._group(part, written)
            self._write(group, keep)
        except LedgerFenced as error:
            self._fenced = error
            self._report(Done(tags, error))
        except _TROUBLE as error:
            self._report(Done(tags, error))
        except Exception as error:
            if len(part) > 1:
                # Rows that no table takes must not cost the others theirs.
                for pending in part:
                    self._commit([pending], keep, written | _surely_there(group.committed))
            else:
                _logger.exception("A commit failed")
                self._report(Done(tags, error))
        else:
            if not part[0].low:
                took_s = time.monotonic() - begin
                self._commit_s.append(took_s)
                self._small_commit_s = learned(self._small_commit_s, sum(p.n_rows for p in part), took_s)
            self._report(Done(tags))

    def _write(self, group: CommitGroup, keep: bool) -> None:
        # Always the same group: a part of it may be in the ledger already, and must not get there twice.
        self._insist(lambda: self._writer.commit(group), keep)

    def _insist(self, work: Callable[[], _T], keep: bool) -> _T:
        """Do it again while the storage makes trouble.

        What need not be kept is refused instead, but only once it is certain that it is not in the ledger.
        """
        delay, refused = 0.2, False
        while True:
            try:
                done = work()
            except LedgerFenced:
                raise
            except _TROUBLE as error:
                if self._stopping or not (keep or isinstance(error, CommitUnknown)):
                    if refused:
                        self._refusing(None)  # nothing that must be kept waits
                    raise
                if not refused:
                    refused = True
                    self._refusing(str(error))
                self._refuse_submits(error)
                time.sleep(delay)
                delay = min(delay * 1.7, 5.0)
            else:
                if refused:
                    self._refusing(None)
                return done

    def _refuse_submits(self, error: Exception) -> None:
        """Whoever submits meanwhile is told, instead of waiting for as long as the storage refuses."""
        with self._condition:
            refused = [p for p in self._pending if p.alone]
            self._pending = [p for p in self._pending if not p.alone]
            self.backlog_rows -= sum(p.n_rows for p in refused)
        if refused:
            self._report(Done([p.tag for p in refused], StorageRefused(f"Nothing was accepted: {error}")))

    def _group(self, part: list[Pending], written: frozenset[str]) -> CommitGroup:
        commit_id = self._writer.next_commit_id()
        tables: dict[str, list[pa.Table]] = {}
        for pending in part:
            built = self._insist(partial(_built, pending), not (pending.alone or pending.low))
            for name, table in _by_name(built, commit_id).items():
                if name not in written:
                    tables.setdefault(name, []).append(table)
        return CommitGroup({name: merged(parts) for name, parts in tables.items()}, commit_id)

    def _keep_up(self) -> None:
        """Merging, checkpoints and sweeping, one bounded step at a time, while nothing waits."""
        if self._fenced is not None or time.monotonic() < self._upkeep_at:
            return
        try:
            while self._writer.maintain(self._now_wall()):
                with self._condition:
                    if self._pending:
                        return
        except LedgerFenced as error:
            self._fenced = error
            self._report(Done([], error))
        except Exception as error:
            # Whatever it was: this thread must live on, because it is the one that makes rows durable.
            self._upkeep_at = time.monotonic() + UPKEEP_PAUSE_S
            expected = isinstance(error, _TROUBLE)
            _logger.warning("Upkeep of the ledger failed, and is tried again: %s", error, exc_info=not expected)


def _surely_there(committed: set[str]) -> frozenset[str]:
    """Tables that must not get the same rows again under another commit id.

    ``outputs`` count by the commit id of their ``results``: without these they are orphans, and are written anew.
    """
    return frozenset(n for n in committed if "results" in committed or not n.startswith("outputs_"))


def _built(pending: Pending) -> OutcomeRows | dict[str, pa.Table]:
    try:
        return pending.build()
    except (pa.ArrowException, ValueError, TypeError, KeyError, IndexError) as error:
        if pending.fallback is None:
            raise
        # One report that does not fit must not keep the rows of all others from the ledger.
        _logger.exception("The columns of a report cannot be put together; its outcomes are kept without them")
        return pending.fallback(error)


def _by_name(built: OutcomeRows | dict[str, pa.Table], commit_id: int) -> dict[str, pa.Table]:
    if isinstance(built, dict):
        return built
    tables: dict[str, pa.Table] = {}
    if built.results is not None:
        tables["results"] = with_commit_id(built.results, commit_id)
    if built.output is not None and built.outputs_name is not None:
        tables[built.outputs_name] = with_commit_id(built.output, commit_id)
    if built.attempts is not None:
        tables["attempts"] = built.attempts
    return tables
