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
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TextIO

from dfbatch.actors.breaker_memory import BreakerMemory
from dfbatch.actors.breakers import WorkerBreakers
from dfbatch.actors.chunk_runner import ChunkRunner
from dfbatch.actors.context import JobContext
from dfbatch.actors.held_work import HeldWork
from dfbatch.actors.job_news import JobNews
from dfbatch.actors.last_death import last_death, over_a_limit
from dfbatch.actors.memory_limit import MemoryLimit
from dfbatch.actors.messages import (
    Beat,
    Chunk,
    Control,
    Exchange,
    ExchangeReply,
    Hello,
    HelloReply,
)
from dfbatch.actors.patience import UNREACHABLE, Patience
from dfbatch.actors.position_mark import PositionMark
from dfbatch.actors.time_limit import TIMEOUT_HEAD
from dfbatch.actors.verifier_store import VerifierStore
from dfbatch.actors.vitals import Vitals
from dfbatch.version import __version__

HEARTBEAT_S = 1.0
SHORTEST_PAUSE_S = 0.02
_logger = logging.getLogger("dfbatch.worker")


class ManagerPort(Protocol):
    """What a worker asks of its manager. Raises ManagerError while it cannot be reached; calls may be repeated."""

    def hello(self, message: Hello) -> HelloReply:
        """Make oneself known, with what one holds; says which leases stay."""
        ...

    def exchange(self, message: Exchange) -> ExchangeReply:
        """Outcomes in, the next chunk out; may be kept while there is nothing to do."""
        ...

    def heartbeat(self, beat: Beat) -> Control:
        """A sign of life that renews leases; may be kept while nothing is called back."""
        ...

    def hand_back(self, worker: str, lease_id: int) -> None:
        """What has no outcome of this lease is queued again, uncharged."""
        ...

    def leave(self, worker: str, incarnation: str) -> None:
        """Good-bye: all leases go back. Of a process that another one has replaced it means nothing."""
        ...


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
        memory: MemoryLimit | None = None,
        incarnation: str | None = None,
    ) -> None:
        self.name = name
        self.incarnation = incarnation or secrets.token_hex(6)
        self._manager = manager
        self._mark = mark
        self._memory = memory or MemoryLimit()
        who = (name, self.incarnation, shape, node or socket.gethostname())
        self._hello = Hello(*who, os.getpid(), __version__, queues)
        self._idle_s = idle_s
        self.context = self._context = JobContext()
        self._breakers = self._context.breakers
        self._news = JobNews(self._context)
        self._epoch = 0
        self._meeting = threading.Lock()
        self._parked = self._gone = self.failed = False
        self._stopping, self._ending, self._left = threading.Event(), threading.Event(), threading.Event()
        self._beat_at = time.monotonic()
        self.renewal: str | None = None
        """Why it leaves to make room for a fresh process, or None."""
        self._work = HeldWork(self._stopping)
        self.patience = self._patience = Patience(self._stopping)
        self._runner = ChunkRunner(verifiers, mark, self._context, self._work, stack_file, self._memory)

    def run(self) -> None:
        """Work until it is over. Returns after everything held was finished or handed back."""
        story = _story_of_last(self._mark, self._memory, self._breakers)
        self._memory.start()
        loops = {"exchange": self._exchange_loop, "heartbeat": self._heartbeat_loop}
        threads = [_guarded(loop, what, self) for what, loop in loops.items()]
        try:
            self._say_hello(**story)
            self._work.begin()
            for thread in threads:
                thread.start()
            self._run_loop()
        finally:
            self.stop()
            self._ending.set()
            started = [thread for thread in threads if thread.ident is not None]
            with self._work.condition:
                parked = self._parked
            if not parked:
                _join(started[:1])  # the heartbeat may be parked, too
            self._say_goodbye()  # which ends a parked call too
            _join(started)
            self._left.set()

    def stop(self) -> None:
        """Finish the item at hand, hand back the rest, report, and leave. Returns at once."""
        self._stopping.set()
        self._work.wake()

    def wait_left(self, timeout_s: float | None = None) -> bool:
        return self._left.wait(timeout_s)

    def leave_now(self) -> None:
        """Report what is finished and give back all that is held, the item at hand too; then end the process."""
        self.stop()
        self._runner.rescue()
        self._say_goodbye()

    def vitals(self) -> Vitals:
        running = self._work.running
        job = None if running is None else f"{running.order.batch_id}-{self._context.job_index}"
        return Vitals(self._beat_at, self._patience.last_contact, self._epoch > 0, self._stopping.is_set(), job)

    # -------------------------------------------------------------------------------- run chunks

    def _run_loop(self) -> None:
        while (chunk := self._work.next_chunk()) is not None:
            self._runner.run(chunk)
            self.renewal = self.renewal or self._runner.why_renew(chunk)
            if self.renewal is not None:  # whoever started this process starts another one
                _logger.info("Worker %s makes room for a fresh process: %s", self.name, self.renewal)
                self.stop()
            reason = self._work.finish(chunk)
            if reason is not None:
                _logger.info("Worker %s hands back lease %d: %s", self.name, chunk.lease_id, reason)
                # After its outcomes, so that none of them is worked again. One that stops gives back all at its end.
                if self._work.wait_until_sent():
                    self._hand_back(chunk)

    def _hand_back(self, chunk: Chunk) -> None:
        self._patience.call(lambda: self._manager.hand_back(self.name, chunk.lease_id))

    # ---------------------------------------------------------------------------------- exchange

    def _exchange_loop(self) -> None:
        work, refused_at = self._work, -1.0
        while not self._gone:
            with work.condition:
                if self._idle_s is not None and work.idle_s() > self._idle_s and not self._breakers.keeps_busy():
                    self._stopping.set()
                while not (work.outbox.has_unsent or self._stopping.is_set() or work.has_room(refused_at)):
                    work.condition.wait(timeout=0.5)
                if self._stopping.is_set() and not work.outbox.has_unsent:
                    break
                message = self._next_exchange(refused_at)
            reply = self._exchange(message)
            if reply is None:
                self._take_back(message)  # perhaps it goes with the goodbye
                return
            self._parked = False
            refused_at = self._take_reply(message, reply)
        for chunk in work.take_waiting():
            self._hand_back(chunk)  # the item at hand may take long; nobody has to wait for it to get these

    def _next_exchange(self, refused_at: float) -> Exchange:
        """Called with the lock held."""
        want = not self._stopping.is_set() and self._work.has_room(refused_at)
        # Unconfirmed outcomes make the worker ask again soon, to hear that they are durable.
        idle = self._work.is_empty()
        outcomes = self._work.begin_sending()
        self._parked = want and idle and not outcomes
        news = self._news.take() if outcomes else ()  # after the outcomes, so that it is all there is of their jobs
        who = (self.name, self.incarnation, self._epoch)
        return Exchange(*who, outcomes, want, idle, news, self._breakers.report())

    def _exchange(self, message: Exchange) -> ExchangeReply | None:
        try:
            return self._patience.call(lambda: self._manager.exchange(message))
        finally:
            self._work.end_sending()

    def _take_back(self, message: Exchange) -> None:
        """The manager has not taken it."""
        with self._work.condition:
            self._work.outbox.put_back(message.outcomes)

    def _take_reply(self, message: Exchange, reply: ExchangeReply) -> float:
        """Returns when the manager had nothing for this worker, or -1."""
        work = self._work
        if reply.control.say_hello:
            self._take_back(message)
            self._meet_again(message.epoch)
            return -1.0
        self._breakers.confirm(message.breakers)
        self._news.confirm(message.news)
        with work.condition:  # if the heartbeat has met the next manager, that one gives these jobs out anew
            if reply.chunk is not None and reply.control.epoch == self._epoch:
                work.add(reply.chunk)
        self._obey(reply.control)
        got_nothing = message.want and reply.chunk is None
        has_all = reply.chunk is not None and not reply.more
        if got_nothing and not message.idle and not message.outcomes and work.holds_no_chunk():
            # Nothing to run and nothing granted, but rows are not durable yet: do not ask in a tight circle.
            work.wait_for_news(0.02)
        return time.monotonic() if got_nothing or has_all else -1.0

    def _obey(self, control: Control) -> None:
        self._work.obey(control)
        self._breakers.obey(control.breaker_orders)
        for chunk in self._work.take_recalled():
            self._hand_back(chunk)
        if control.leave:
            self.stop()

    def _heartbeat_loop(self) -> None:
        pause_s = HEARTBEAT_S
        while not self._ending.wait(pause_s):
            pause_s, self._beat_at = HEARTBEAT_S, time.monotonic()
            self._runner.report_finished()
            beat = self._beat()
            try:
                control = self._manager.heartbeat(beat)
            except UNREACHABLE:
                if self._patience.is_over:
                    self.stop()
                continue
            self._patience.answered()
            if control.say_hello:
                self._meet_again(beat.epoch)
            else:
                self._breakers.confirm(beat.breakers)
                self._news.confirm(beat.news)
                self._obey(control)
            # The manager keeps the call of a busy worker, to answer at once when it wants a chunk back.
            pause_s = max(SHORTEST_PAUSE_S, HEARTBEAT_S - (time.monotonic() - self._beat_at))

    def _beat(self) -> Beat:
        with self._work.condition:
            current = None if self._work.running is None else self._context.current()
            leases = tuple(chunk.lease_id for chunk in self._work.chunks())
        news, breakers = self._news.take(), self._breakers.report()
        rss, draining = MemoryLimit.resident(), self._stopping.is_set()
        return Beat(self.name, self.incarnation, self._epoch, leases, news, current, rss, draining, breakers)

    # ------------------------------------------------------------------------- hello and goodbye

    def _say_hello(self, **story: Any) -> None:
        """``story``: how the last incarnation ended, for the first hello of this one."""
        work = self._work
        with work.condition:
            message = replace(
                self._hello,
                held=work.open_parts(),
                outcomes=work.outbox.unconfirmed(),
                breakers=self._breakers.report(),
                news=self._news.take_for_hello(),
                **story,
            )
        if (reply := self._patience.call(lambda: self._manager.hello(message))) is None:
            return
        self._news.confirm(message.news)
        with work.condition:
            self._epoch = reply.epoch
            self._breakers.confirm(message.breakers)
            work.outbox.received(message.outcomes)
            work.recall({c.lease_id for c in work.chunks()} - reply.kept, "not kept by the new manager")

    def _meet_again(self, epoch: int) -> None:
        """The manager of ``epoch`` is gone, or has forgotten this worker. Only one of the threads says hello."""
        with self._meeting:
            if self._epoch == epoch and not self._gone:
                self._say_hello()

    def _say_goodbye(self) -> None:
        """Whatever is left goes back with the goodbye: the manager returns the leases of a worker that left."""
        self._ending.set()
        self._gone = True
        if not self._patience.is_over:
            with self._work.condition:
                outcomes = self._work.outbox.take_unsent()
            last, news = self._breakers.report(), self._news.take()
            try:
                if outcomes or news or (last is not None and last.turns):
                    who = (self.name, self.incarnation, self._epoch)
                    self._manager.exchange(Exchange(*who, outcomes, False, False, news, last))
                self._manager.leave(self.name, self.incarnation)
            except UNREACHABLE as error:
                _logger.warning("Worker %s left without a goodbye: %s", self.name, error)
        self._breakers.stop_keeping()
        self._mark.remove(is_renewed=self.renewal is not None)
        self._memory.stop()


def _story_of_last(mark: PositionMark, memory: MemoryLimit, breakers: WorkerBreakers) -> dict[str, Any]:
    """Where and how the last process of this name died, as fields of a Hello; the mark is cleared.

    Its circuit breakers live on, and the verifier's own one hears of the death.
    """
    stack = mark.take_stack()
    story: dict[str, Any] = {
        "mark": mark.last(),
        "n_marked": mark.last_count(),
        "timed_out": TIMEOUT_HEAD in stack,
        "stack": stack,
        "death": last_death(stack, memory.last_note),
    }
    breakers.keep_in(BreakerMemory(mark.breakers_path))
    over_limit = over_a_limit(story["timed_out"], story["death"])
    if over_limit and mark.is_at_item:
        breakers.died_of(mark.last_verifier(), mark.last_begun(), over_limit)
    mark.clear()
    return story


def _guarded(loop: Callable[[], None], what: str, worker: Worker) -> threading.Thread:
    """A loop that ends would leave a worker that looks alive and does nothing."""

    def run() -> None:
        try:
            loop()
        except Exception:
            _logger.exception("The %s of worker %s failed, so that it ends", what, worker.name)
            worker.failed = True
            worker.stop()

    return threading.Thread(target=run, name=f"dfbatch-{what}", daemon=True)


def _join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(timeout=15.0)
