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
from typing import Protocol, TextIO

from dfbatch.actors.chunk_run import ChunkRun, LoadedVerifier, TimeLimit, failed_outright
from dfbatch.actors.context import JobContext
from dfbatch.actors.messages import (
    Beat,
    Chunk,
    Control,
    Exchange,
    ExchangeReply,
    Hello,
    HelloReply,
    Outcomes,
)
from dfbatch.actors.outbox import Outbox
from dfbatch.actors.patience import UNREACHABLE, Patience
from dfbatch.actors.position_mark import PositionMark
from dfbatch.actors.verifier_store import VerifierStore
from dfbatch.errors import VerifierUnusable
from dfbatch.version import __version__

HEARTBEAT_S = 1.0
CAPACITY = 2
"""Chunks held at one time: the one that runs and the one fetched ahead."""
_ASK_AGAIN_S = 0.25
"""With something to run, a manager that had nothing more is not asked again at once."""
_logger = logging.getLogger("dfbatch.worker")


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
        self._condition = threading.Condition()
        self._chunks: deque[Chunk] = deque()
        self._running: Chunk | None = None
        self._recalled: dict[int, str] = {}
        self._outbox = Outbox()
        self._stopping = threading.Event()
        self._left = threading.Event()
        self._patience = Patience(self._stopping)
        self._last_work = time.monotonic()

    def run(self) -> None:
        """Work until it is over. Returns after everything held was finished or handed back."""
        last_mark, stack = self._mark.last(), self._mark.take_stack()
        self._mark.clear()
        threads = [self._thread(self._exchange_loop, "exchange"), self._thread(self._heartbeat_loop, "heartbeat")]
        try:
            self._say_hello(last_mark, stack)
            for thread in threads:
                thread.start()
            self._run_loop()
        finally:
            self._stopping.set()
            self._wake()
            for thread in threads:
                if thread.ident is not None:
                    thread.join(timeout=15.0)
            self._say_goodbye()
            self._left.set()

    def stop(self) -> None:
        """Finish the item at hand, hand back the rest, report, and leave. Returns at once."""
        self._stopping.set()
        self._wake()

    def wait_left(self, timeout_s: float | None = None) -> bool:
        return self._left.wait(timeout_s)

    def _thread(self, loop: Callable[[], None], what: str) -> threading.Thread:
        def guarded() -> None:
            try:
                loop()
            except Exception:
                # A loop that ends would leave a worker that looks alive and does nothing.
                _logger.exception("Worker %s ends: its %s failed", self.name, what)
                self.stop()

        return threading.Thread(target=guarded, name=f"dfbatch-{what}", daemon=True)

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
            n_answered = self._outbox.close_lease(chunk.lease_id)
            reason = self._recalled.pop(chunk.lease_id, "stopping")
            self._running = None
            self._last_work = time.monotonic()
            self._condition.notify_all()
        if n_answered < len(chunk.indices):
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
            while self._outbox.is_full and not self._stopping.is_set():
                self._condition.wait(timeout=1.0)
            self._outbox.add(outcomes)
            self._condition.notify_all()

    def _flush_then_hand_back(self, lease_id: int, reason: str) -> None:
        """The rest of a lease goes back after its outcomes, so that none of them is worked again."""
        _logger.info("Worker %s hands back lease %d: %s", self.name, lease_id, reason)
        with self._condition:
            while self._outbox.has_unsent and not self._stopping.is_set():
                self._condition.wait(timeout=0.2)
        if not self._stopping.is_set():
            self._patience.call(lambda: self._manager.hand_back(self.name, lease_id))

    # ---------------------------------------------------------------------------------- exchange

    def _exchange_loop(self) -> None:
        refused_at = -1.0
        while True:
            with self._condition:
                while not (self._outbox.has_unsent or self._stopping.is_set() or self._has_room(refused_at)):
                    self._condition.wait(timeout=0.5)
                    self._leave_if_idle()
                if self._stopping.is_set() and not self._outbox.has_unsent:
                    return
                message = self._next_exchange(refused_at)
            reply = self._exchange(message)
            if reply is None:
                return
            refused_at = self._take_reply(message, reply)

    def _exchange(self, message: Exchange) -> ExchangeReply | None:
        return self._patience.call(lambda: self._manager.exchange(message))

    def _has_room(self, refused_at: float) -> bool:
        held = len(self._chunks) + (self._running is not None)
        if held >= CAPACITY or self._outbox.is_full:
            return False
        solo = self._running is not None and self._running.solo
        return not solo and (held == 0 or time.monotonic() - refused_at > _ASK_AGAIN_S)

    def _next_exchange(self, refused_at: float) -> Exchange:
        """Called with the lock held."""
        outcomes = self._outbox.take_unsent()
        want = not self._stopping.is_set() and self._has_room(refused_at)
        # Unconfirmed outcomes make the worker ask again soon, to hear that they are durable.
        idle = self._holds_nothing() and self._outbox.is_empty
        return Exchange(self.name, self.incarnation, self._epoch, outcomes, want, idle)

    def _take_reply(self, message: Exchange, reply: ExchangeReply) -> float:
        """Returns when the manager had nothing for this worker, or -1."""
        if reply.control.say_hello:
            with self._condition:
                self._outbox.put_back(message.outcomes)
            self._say_hello(None, "")
            return -1.0
        with self._condition:
            if reply.chunk is not None:
                self._chunks.append(reply.chunk)
                self._last_work = time.monotonic()
            self._condition.notify_all()
        self._obey(reply.control)
        got_nothing = message.want and reply.chunk is None
        if got_nothing and not message.idle and not message.outcomes and self._holds_nothing():
            # Nothing to run and nothing granted, but rows are not durable yet: do not ask in a tight circle.
            self._stopping.wait(0.02)
        return time.monotonic() if got_nothing else -1.0

    def _holds_nothing(self) -> bool:
        return not self._chunks and self._running is None

    def _obey(self, control: Control) -> None:
        with self._condition:
            self._outbox.confirm(control.durable_seq)
            mine = {c.lease_id for c in self._held()}
            self._recalled.update({k: v for k, v in control.recalled.items() if k in mine})
            if control.leave:
                self._stopping.set()
            self._condition.notify_all()

    def _held(self) -> list[Chunk]:
        return [*([self._running] if self._running else []), *self._chunks]

    # --------------------------------------------------------------------------------- heartbeat

    def _heartbeat_loop(self) -> None:
        while not self._stopping.wait(HEARTBEAT_S):
            beat = self._beat()
            try:
                control = self._manager.heartbeat(beat)
            except UNREACHABLE:
                if self._patience.is_over:
                    self.stop()
                continue
            self._patience.answered()
            if control.say_hello:
                self._say_hello(None, "")
            else:
                self._obey(control)

    def _beat(self) -> Beat:
        with self._condition:
            running = self._running
            leases = tuple(c.lease_id for c in self._held())
        current = None if running is None else (running.order.batch_id, self._context.job_index, time.time())
        steps = self._context.take_steps()
        return Beat(self.name, self.incarnation, self._epoch, leases, steps, current, _resident_bytes())

    # ------------------------------------------------------------------------- hello and goodbye

    def _say_hello(self, mark: tuple[int, int] | None, stack: str) -> None:
        with self._condition:
            message = Hello(
                worker=self.name,
                incarnation=self.incarnation,
                shape=self._shape,
                node=self._node,
                pid=os.getpid(),
                version=__version__,
                queues=self._queues,
                held=tuple(h for h in map(self._outbox.open_part, self._held()) if len(h.indices)),
                outcomes=self._outbox.unconfirmed(),
                mark=mark,
                timed_out=bool(stack),
                stack=stack,
            )
        reply = self._patience.call(lambda: self._manager.hello(message))
        if reply is None:
            return
        with self._condition:
            self._epoch = reply.epoch
            self._outbox.received(message.outcomes)
            offered = {h.lease_id for h in message.held}
            self._recalled.update(dict.fromkeys(offered - reply.kept, "not kept by the new manager"))

    def _say_goodbye(self) -> None:
        """Whatever is left goes back with the goodbye: the manager returns the leases of a worker that left."""
        if not self._patience.is_over:
            with self._condition:
                outcomes = self._outbox.take_unsent()
            try:
                if outcomes:
                    self._manager.exchange(Exchange(self.name, self.incarnation, self._epoch, outcomes, False, False))
                self._manager.leave(self.name, self.incarnation)
            except UNREACHABLE as error:
                _logger.warning("Worker %s left without a goodbye: %s", self.name, error)
        self._mark.remove()

    def _leave_if_idle(self) -> None:
        """Called with the lock held."""
        idle = self._holds_nothing() and self._outbox.is_empty
        if idle and self._idle_s is not None and time.monotonic() - self._last_work > self._idle_s:
            self._stopping.set()


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
