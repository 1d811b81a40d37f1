"""The loop that runs verifiers over chunks. The same object runs in a Ray actor, in a process, and in tests.

Three threads: one runs verifiers, one exchanges outcomes for chunks (so that the
next chunk is there before the last one ends), one sends heartbeats. Outcomes are
kept until the manager says that they are durable, and are sent again to a manager
that was restarted; nothing that was worked is thrown away.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol, TextIO, TypeVar

import numpy as np
import numpy.typing as npt

from dfbatch.actors.chunk_run import ChunkRun, LoadedVerifier, TimeLimit, failed_outright
from dfbatch.actors.context import JobContext
from dfbatch.actors.messages import (
    Beat,
    Chunk,
    Control,
    Exchange,
    ExchangeReply,
    HeldChunk,
    Hello,
    HelloReply,
    Outcomes,
)
from dfbatch.actors.position_mark import PositionMark
from dfbatch.actors.verifier_store import VerifierStore
from dfbatch.errors import ManagerError, VerifierUnusable
from dfbatch.version import __version__

HEARTBEAT_S = 1.0
CAPACITY = 2
"""Chunks held at one time: the one that runs and the one fetched ahead."""
MOST_UNCONFIRMED = 64
"""Reports kept until they are durable; beyond it the worker waits."""
LOST_MANAGER_S = 180.0

_logger = logging.getLogger("dfbatch.worker")
_T = TypeVar("_T")


class ManagerPort(Protocol):
    """What a worker asks of its manager. Raises ManagerError while it cannot be reached; calls may be repeated."""

    def hello(self, message: Hello) -> HelloReply: ...

    def exchange(self, message: Exchange) -> ExchangeReply: ...

    def heartbeat(self, beat: Beat) -> Control: ...

    def hand_back(self, worker: str, lease_id: int) -> None: ...

    def leave(self, worker: str, incarnation: str) -> None: ...


class Worker:
    """Leases chunks, runs them, reports outcomes, until it is told to leave or its manager stays away."""

    def __init__(
        self,
        name: str,
        manager: ManagerPort,
        verifiers: VerifierStore,
        mark: PositionMark,
        *,
        shape: str = "default",
        queues: tuple[str, ...] | None = None,
        node: str | None = None,
        idle_s: float | None = 60.0,
        stack_file: TextIO | None = None,
    ) -> None:
        self.name = name
        self.incarnation = secrets.token_hex(6)
        self._manager = manager
        self._verifiers = verifiers
        self._mark = mark
        self._shape = shape
        self._queues = queues
        self._node = node or socket.gethostname()
        self._idle_s = idle_s
        self._stack_file = stack_file
        self._context = JobContext()
        self._epoch = 0
        self._seq = 0
        self._condition = threading.Condition()
        self._chunks: deque[Chunk] = deque()
        self._running: Chunk | None = None
        self._answered: dict[int, list[npt.NDArray[np.int64]]] = {}
        self._unsent: deque[Outcomes] = deque()
        self._unconfirmed: deque[Outcomes] = deque()
        self._recalled: dict[int, str] = {}
        self._stopping = threading.Event()
        self._left = threading.Event()
        self._last_contact = time.monotonic()
        self._last_work = time.monotonic()

    # ------------------------------------------------------------------------------------ life

    def run(self) -> None:
        """Work until it is over. Returns after everything held was finished or handed back."""
        last_mark, stack = self._mark.last(), self._mark.take_stack()
        self._mark.clear()
        self._say_hello(last_mark, stack)
        threads = [
            threading.Thread(
                target=self._guarded, args=(loop,), name=f"dfbatch-{loop.__name__.strip('_')}", daemon=True
            )
            for loop in (self._exchange_loop, self._heartbeat_loop)
        ]
        for thread in threads:
            thread.start()
        try:
            self._run_loop()
        finally:
            self._stopping.set()
            self._wake()
            for thread in threads:
                thread.join(timeout=15.0)
            self._say_goodbye()
            self._left.set()

    def stop(self) -> None:
        """Finish the item at hand, hand back the rest, report, and leave. Returns at once."""
        self._stopping.set()
        self._wake()

    def wait_left(self, timeout_s: float | None = None) -> bool:
        return self._left.wait(timeout_s)

    def _guarded(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except Exception:
            # A loop that ends would leave a worker that looks alive and does nothing.
            _logger.exception("Worker %s ends: its %s failed", self.name, loop.__name__)
            self._stopping.set()
            self._wake()

    def _wake(self) -> None:
        with self._condition:
            self._condition.notify_all()

    # -------------------------------------------------------------------------------- run chunks

    def _run_loop(self) -> None:
        while True:
            with self._condition:
                self._running = None
                while not self._chunks and not self._stopping.is_set():
                    self._condition.wait(timeout=1.0)
                if self._stopping.is_set():
                    return
                chunk = self._chunks.popleft()
                self._running = chunk
                self._condition.notify_all()
            self._run_chunk(chunk)

    def _run_chunk(self, chunk: Chunk) -> None:
        def recalled() -> bool:
            return self._stopping.is_set() or chunk.lease_id in self._recalled

        for outcomes in self._outcomes(chunk, recalled):
            self._report(outcomes)
        with self._condition:
            answered = sum(map(len, self._answered.pop(chunk.lease_id, ())))
            reason = self._recalled.pop(chunk.lease_id, "stopping")
            self._running = None
            self._last_work = time.monotonic()
            self._condition.notify_all()
        if answered < len(chunk.indices):
            self._flush_then_hand_back(chunk.lease_id, reason)

    def _outcomes(self, chunk: Chunk, recalled: Callable[[], bool]) -> Iterator[Outcomes]:
        if recalled():
            return
        try:
            verifier: LoadedVerifier = self._verifiers.get(chunk.order)
        except VerifierUnusable as error:
            yield failed_outright(chunk, error)
            return
        limit = TimeLimit(chunk.order.timeout_s, self._stack_file)
        yield from ChunkRun(chunk, verifier, self._mark, self._context, recalled, limit).outcomes()

    def _report(self, outcomes: Outcomes) -> None:
        with self._condition:
            while len(self._unconfirmed) >= MOST_UNCONFIRMED and not self._stopping.is_set():
                self._condition.wait(timeout=1.0)
            self._seq += 1
            outcomes.seq = self._seq
            self._unsent.append(outcomes)
            self._unconfirmed.append(outcomes)
            self._answered.setdefault(outcomes.lease_id, []).append(outcomes.indices)
            self._condition.notify_all()

    def _flush_then_hand_back(self, lease_id: int, reason: str) -> None:
        """The rest of a lease goes back after its outcomes, so that none of them is worked again."""
        _logger.info("Worker %s hands back lease %d: %s", self.name, lease_id, reason)
        with self._condition:
            while self._unsent and not self._stopping.is_set():
                self._condition.wait(timeout=0.2)
        if not self._stopping.is_set():
            self._retrying(lambda: self._handed_back(lease_id))

    def _handed_back(self, lease_id: int) -> bool:
        self._manager.hand_back(self.name, lease_id)
        return True

    # ---------------------------------------------------------------------------------- exchange

    def _exchange_loop(self) -> None:
        refused_at = -1.0
        while True:
            with self._condition:
                while not self._has_business(refused_at):
                    self._condition.wait(timeout=0.5)
                    self._leave_if_idle()
                if self._stopping.is_set() and not self._unsent:
                    return
                message = self._next_exchange(refused_at)
            reply = self._exchange(message)
            if reply is None:
                return
            refused_at = self._take_reply(message, reply)

    def _exchange(self, message: Exchange) -> ExchangeReply | None:
        return self._retrying(lambda: self._manager.exchange(message))

    def _has_business(self, refused_at: float) -> bool:
        return bool(self._unsent) or self._stopping.is_set() or self._has_room(refused_at)

    def _has_room(self, refused_at: float) -> bool:
        held = len(self._chunks) + (self._running is not None)
        if held >= CAPACITY or len(self._unconfirmed) >= MOST_UNCONFIRMED:
            return False
        solo = self._running is not None and self._running.solo
        # With something to run, a manager that had nothing more is not asked again at once.
        return not solo and (held == 0 or time.monotonic() - refused_at > 0.25)

    def _next_exchange(self, refused_at: float) -> Exchange:
        """Called with the lock held."""
        outcomes = tuple(self._unsent)
        self._unsent.clear()
        idle = not self._chunks and self._running is None
        want = not self._stopping.is_set() and self._has_room(refused_at)
        # Unconfirmed outcomes make the worker ask again soon, to hear that they are durable.
        return Exchange(self.name, self.incarnation, self._epoch, outcomes, want, idle and not self._unconfirmed)

    def _take_reply(self, message: Exchange, reply: ExchangeReply) -> float:
        if reply.control.say_hello:
            with self._condition:
                self._unsent.extendleft(reversed(message.outcomes))
            self._say_hello(None, "")
            return -1.0
        with self._condition:
            if reply.chunk is not None:
                self._chunks.append(reply.chunk)
                self._last_work = time.monotonic()
            self._condition.notify_all()
        self._obey(reply.control)
        got_nothing = message.want and reply.chunk is None
        if got_nothing and message.idle is False and not message.outcomes and self._nothing_held():
            # Nothing to run and nothing granted, but rows are not durable yet: do not ask in a tight circle.
            self._stopping.wait(0.02)
        return time.monotonic() if got_nothing else -1.0

    def _nothing_held(self) -> bool:
        return not self._chunks and self._running is None

    def _obey(self, control: Control) -> None:
        with self._condition:
            while self._unconfirmed and self._unconfirmed[0].seq <= control.durable_seq:
                self._unconfirmed.popleft()
            mine = {c.lease_id for c in self._chunks} | ({self._running.lease_id} if self._running else set())
            self._recalled.update({k: v for k, v in control.recalled.items() if k in mine})
            if control.leave:
                self._stopping.set()
            self._condition.notify_all()

    # --------------------------------------------------------------------------------- heartbeat

    def _heartbeat_loop(self) -> None:
        while not self._stopping.wait(HEARTBEAT_S):
            with self._condition:
                running = self._running
                leases = tuple(c.lease_id for c in [*self._chunks, *([running] if running else [])])
                steps, self._context._steps = self._context._steps, {}
            current = None if running is None else (running.order.batch_id, self._context.job_index, time.time())
            beat = Beat(self.name, self.incarnation, self._epoch, leases, steps, current, _resident_bytes())
            try:
                control = self._manager.heartbeat(beat)
            except ManagerError:
                self._leave_if_lost()
                continue
            self._last_contact = time.monotonic()
            if control.say_hello:
                self._say_hello(None, "")
            else:
                self._obey(control)

    # ------------------------------------------------------------------------- hello and goodbye

    def _say_hello(self, mark: tuple[int, int] | None, stack: str) -> None:
        with self._condition:
            held = tuple(self._held(c) for c in [*([self._running] if self._running else []), *self._chunks])
            message = Hello(
                worker=self.name,
                incarnation=self.incarnation,
                shape=self._shape,
                node=self._node,
                pid=os.getpid(),
                version=__version__,
                queues=self._queues,
                held=tuple(h for h in held if len(h.indices)),
                outcomes=tuple(self._unconfirmed),
                mark=mark,
                timed_out=bool(stack),
                stack=stack,
            )
        reply = self._retrying(lambda: self._manager.hello(message))
        if reply is None:
            return
        with self._condition:
            self._epoch = reply.epoch
            # They all went along with the hello.
            sent = {o.seq for o in message.outcomes}
            self._unsent = deque(o for o in self._unsent if o.seq not in sent)
            offered = {h.lease_id for h in message.held}
            self._recalled.update(dict.fromkeys(offered - reply.kept, "not kept by the new manager"))

    def _held(self, chunk: Chunk) -> HeldChunk:
        answered = self._answered.get(chunk.lease_id)
        keep = ~np.isin(chunk.indices, np.concatenate(answered)) if answered else np.ones(len(chunk.indices), np.bool_)
        return HeldChunk(chunk.lease_id, chunk.order.batch_id, chunk.indices[keep], chunk.generation[keep], chunk.solo)

    def _say_goodbye(self) -> None:
        """Whatever is left goes back with the goodbye: the manager returns the leases of a worker that left."""
        if time.monotonic() - self._last_contact < LOST_MANAGER_S:
            try:
                with self._condition:
                    outcomes = tuple(self._unsent)
                    self._unsent.clear()
                if outcomes:
                    self._manager.exchange(Exchange(self.name, self.incarnation, self._epoch, outcomes, False, False))
                self._manager.leave(self.name, self.incarnation)
            except ManagerError as error:
                _logger.warning("Worker %s left without a goodbye: %s", self.name, error)
        self._mark.remove()

    # -------------------------------------------------------------------------------- patience

    def _retrying(self, call: Callable[[], _T]) -> _T | None:
        """Call until the manager answers; None when the worker gives up on it."""
        delay = 0.05
        while True:
            try:
                answer = call()
            except ManagerError as error:
                wait = getattr(error, "retry_after_s", None) or delay
                if self._leave_if_lost() or (self._stopping.wait(min(wait, 2.0)) and self._patience_is_over()):
                    return None
                delay = min(delay * 1.7, 2.0)
            else:
                self._last_contact = time.monotonic()
                return answer

    def _patience_is_over(self) -> bool:
        return time.monotonic() - self._last_contact > 5.0

    def _leave_if_lost(self) -> bool:
        """A worker whose manager stays away for several lease terms leaves by itself."""
        if time.monotonic() - self._last_contact > LOST_MANAGER_S:
            self._stopping.set()
            self._wake()
            return True
        return False

    def _leave_if_idle(self) -> None:
        """Called with the lock held."""
        idle = self._nothing_held() and not self._unconfirmed
        if idle and self._idle_s is not None and time.monotonic() - self._last_work > self._idle_s:
            self._stopping.set()


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
