"""What a worker holds at a moment: chunks, recalls, and reports that are not durable yet. One lock guards it all."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from dfbatch.actors.messages import Chunk, Control, HeldChunk, Outcomes
from dfbatch.actors.outbox import Outbox
from dfbatch.core.recalls import JOBS_CANCELLED

CAPACITY = 2
"""Chunks held at one time: the one that runs and the one fetched ahead."""
ASK_AGAIN_S = 0.25
"""With something to run, a manager that had nothing more is not asked again at once."""
EARLY_KEPT = 64
"""Recalls of chunks that are not here yet, the newest."""
PASSING = frozenset({"paused", "queue paused", "yield", JOBS_CANCELLED})
"""Reasons of a recall that leave the item at hand alone; all others mean that its outcome is not wanted."""


class HeldWork:
    """Shared by the threads of a worker. Methods take the lock, unless they say that it is held."""

    def __init__(self, stopping: threading.Event) -> None:
        self.condition = threading.Condition()
        self.outbox = Outbox()
        self.running: Chunk | None = None
        self._stopping = stopping
        self._waiting: deque[Chunk] = deque()
        self._recalled: dict[int, str] = {}
        self._early: OrderedDict[int, str] = OrderedDict()
        """Recalls that overtook their chunk: heartbeats and exchanges are answered on two ways."""
        self._sending = False
        self._last_work = time.monotonic()

    def wake(self) -> None:
        """Have every waiting thread look again."""
        with self.condition:
            self.condition.notify_all()

    def begin(self) -> None:
        """From now on it counts as idle: a manager that was slow to say hello takes nothing away from that."""
        with self.condition:
            self._last_work = time.monotonic()

    # ----------------------------------------------------------------------- the thread that runs

    def next_chunk(self) -> Chunk | None:
        """Waits for the next chunk to run; None when the worker stops."""
        with self.condition:
            while not self._waiting and not self._stopping.is_set():
                self.condition.wait(timeout=1.0)
            if self._stopping.is_set():
                return None
            self.running = self._waiting.popleft()
            self.condition.notify_all()
            return self.running

    def is_recalled(self, chunk: Chunk) -> bool:
        """True if the rest of the chunk should not be run here."""
        return self._stopping.is_set() or chunk.lease_id in self._recalled

    def is_cancelled(self, chunk: Chunk) -> bool:
        """True if not even the item at hand is wanted any more."""
        return chunk.lease_id in self._recalled and self._recalled[chunk.lease_id] not in PASSING

    def report(self, outcomes: Outcomes) -> None:
        """Send this; waits while too much is not durable yet."""
        with self.condition:
            while self.outbox.is_full and not self._stopping.is_set():
                self.condition.wait(timeout=1.0)
            self.report_now(outcomes)

    def report_now(self, outcomes: Outcomes) -> None:
        """Send this, however much is not durable yet. From any thread."""
        with self.condition:
            self.outbox.add(outcomes)
            self.condition.notify_all()

    def open_positions(self, chunk: Chunk) -> npt.NDArray[np.int64]:
        """Positions of the jobs in the chunk that have no outcome yet."""
        with self.condition:
            return np.flatnonzero(np.isin(chunk.indices, self.outbox.open_part(chunk).indices))

    def finish(self, chunk: Chunk) -> str | None:
        """The chunk is not run any more. Returns why its rest has to go back, or None if there is no rest."""
        with self.condition:
            n_answered = self.outbox.close_lease(chunk.lease_id)
            reason = self._recalled.pop(chunk.lease_id, "stopping")
            self.running = None
            self._last_work = time.monotonic()
            self.condition.notify_all()
        return reason if n_answered < len(chunk.indices) else None

    def wait_until_sent(self) -> bool:
        """Wait until the manager has every report; False when the worker stops before."""
        with self.condition:
            while (self.outbox.has_unsent or self._sending) and not self._stopping.is_set():
                self.condition.wait(timeout=0.2)
        return not self._stopping.is_set()

    # ----------------------------------------------------------------------- the thread that talks

    def wait_for_news(self, longest_s: float) -> None:
        """Until there is something to send or the worker stops."""
        with self.condition:
            if not self.outbox.has_unsent and not self._stopping.is_set():
                self.condition.wait(timeout=longest_s)

    def begin_sending(self) -> tuple[Outcomes, ...]:
        """What has to be sent now. Called with the lock held."""
        outcomes = self.outbox.take_unsent()
        self._sending = bool(outcomes)
        return outcomes

    def end_sending(self) -> None:
        """The call with the reports is over, whether it arrived or not."""
        with self.condition:
            self._sending = False
            self.condition.notify_all()

    def add(self, chunk: Chunk) -> None:
        """A chunk has come; if its recall overtook it, it is called back already."""
        with self.condition:
            self._waiting.append(chunk)
            if chunk.lease_id in self._early:
                self._recalled[chunk.lease_id] = self._early.pop(chunk.lease_id)
            self._last_work = time.monotonic()
            self.condition.notify_all()

    def has_room(self, refused_at: float) -> bool:
        """True if the manager should be asked for a chunk. ``refused_at``: when it last had none. Lock held."""
        n_held = len(self._waiting) + (self.running is not None)
        if n_held >= CAPACITY or self.outbox.is_full or (self.running is not None and self.running.solo):
            return False
        return n_held == 0 or time.monotonic() - refused_at > ASK_AGAIN_S

    def is_empty(self) -> bool:
        """True if there is no chunk, and every report is durable. Lock held, or only as a hint."""
        return self.holds_no_chunk() and self.outbox.is_empty

    def holds_no_chunk(self) -> bool:
        """True if nothing runs and nothing was fetched ahead. Lock held, or only as a hint."""
        return not self._waiting and self.running is None

    def idle_s(self) -> float:
        """Seconds since there was something to do; 0 while there is. Lock held."""
        return time.monotonic() - self._last_work if self.is_empty() else 0.0

    def obey(self, control: Control) -> None:
        """Take note of what is durable and what is called back."""
        with self.condition:
            self.outbox.confirm(control.durable_seq)
            mine = {chunk.lease_id for chunk in self.chunks()}
            for lease_id, reason in control.recalled.items():
                (self._recalled if lease_id in mine else self._early)[lease_id] = reason
            while len(self._early) > EARLY_KEPT:
                self._early.popitem(last=False)
            self.condition.notify_all()

    def take_recalled(self) -> list[Chunk]:
        """Chunks that were called back before they were begun; they are not held any more."""
        with self.condition:
            back = [chunk for chunk in self._waiting if chunk.lease_id in self._recalled]
            for chunk in back:
                self._waiting.remove(chunk)
                del self._recalled[chunk.lease_id]
            self.condition.notify_all()
        return back

    def take_waiting(self) -> list[Chunk]:
        """Chunks that were fetched ahead; they are not held any more."""
        with self.condition:
            back = list(self._waiting)
            self._waiting.clear()
        return back

    def recall(self, lease_ids: Iterable[int], reason: str) -> None:
        """Called with the lock held."""
        self._recalled.update(dict.fromkeys(lease_ids, reason))

    def chunks(self) -> list[Chunk]:
        """The one that runs, then those fetched ahead. Lock held."""
        return [*([self.running] if self.running else []), *self._waiting]

    def open_parts(self) -> tuple[HeldChunk, ...]:
        """What is held and has no outcome yet, for a manager that does not know it. Lock held."""
        return tuple(part for part in map(self.outbox.open_part, self.chunks()) if len(part.indices))
