"""``dfbatch worker``: starts worker processes of its own, replaces those that crash, and drains them when told to.

It connects to nothing itself, so that nothing that happens to a worker can take it along.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType

from dfbatch.actors.probes import FRESH_S, Health, probe_port, write_health
from dfbatch.actors.standalone_plan import StandalonePlan
from dfbatch.actors.standalone_process import ChildProcess
from dfbatch.errors import ManagerUnavailable

TICK_S = 0.1
HEALTH_S = 1.0
NOW_S = 5.0
"""Children that were told to hand everything back at once get so long for it."""
GIVE_UP_S = 180.0
"""Workers that cannot get at work for so long are of no use."""
_logger = logging.getLogger("dfbatch.worker")


class StandaloneWorker:
    """``concurrency`` child processes, one worker each."""

    def __init__(self, plan: StandalonePlan) -> None:
        self._plan = plan
        self._selector = selectors.DefaultSelector()
        stem = plan.name or f"{socket.gethostname()}-{os.getpid()}"
        names = [f"{stem}-{k}" for k in range(1, plan.concurrency + 1)]
        self._children = [ChildProcess(plan, name, self._selector) for name in names]
        self._signals: list[signal.Signals] = []
        self._drain_until: float | None = None
        self._ready_at = time.monotonic()
        self._was_ready = False
        self._health = Health(True, False, time.time(), os.getpid())
        self._health_due = 0.0

    def run(self) -> int:
        """Work until a signal, or until all workers have left by themselves. Call it in the main thread.

        Returns 0 after a drain, 128 + the signal's number after a second signal. Raises ManagerUnavailable if there
        is no manager to work for, ConnectError for a health port that is taken.
        """
        with contextlib.ExitStack() as at_end:
            at_end.enter_context(self._probes())
            at_end.enter_context(_signals_to(self._signals))
            at_end.callback(self._end)
            while any(child.is_wanted for child in self._children):
                self._step()
                code = self._obey_signals()
                if code is not None:
                    return code
                self._check_use()
                self._tell_health()
        if self._drain_until is None:
            self._raise_refusal()
        _logger.info("All workers have left")
        return 0

    # ------------------------------------------------------------------------------------ signals

    def _obey_signals(self) -> int | None:
        """The first signal drains, the second ends; so does the end of the grace. Returns the exit code at the end."""
        now, grace_s = time.monotonic(), self._plan.grace_s
        if self._signals and self._drain_until is None:
            self._drain_until = now + grace_s
            _logger.info("%s: draining, at most %g s", self._signals[0].name, grace_s)
            for child in self._children:
                child.drain()
        if len(self._signals) > 1:
            _logger.warning("%s again: everything is handed back", self._signals[-1].name)
            self._hand_back(now + NOW_S)
            return 128 + self._signals[-1]
        if self._drain_until is not None and now > self._drain_until - min(2.0, 0.3 * grace_s):
            _logger.warning("The grace period is nearly over: what is not finished is handed back")
            self._hand_back(min(now + NOW_S, self._drain_until))
            return 0
        return None

    def _hand_back(self, until: float) -> None:
        for child in self._children:
            child.hand_back()
        while time.monotonic() < until and any(child.is_running for child in self._children):
            self._step()
        self._end()
        late = [child.name for child in self._children if not child.handed_back]
        if late:
            _logger.warning("Not handed back in time by %s: its leases expire within a minute", ", ".join(late))

    # ----------------------------------------------------------------------------------- children

    def _step(self) -> None:
        now = time.monotonic()
        for child in self._children:
            child.look_after(now)
        for key, _ in self._selector.select(TICK_S):
            key.data.hear()

    def _check_use(self) -> None:
        """Without a manager at the start there is no point in waiting; one that was there may come back."""
        now = time.monotonic()
        if any(child.is_ready for child in self._children):
            self._ready_at, self._was_ready = now, True
        elif not self._was_ready:
            self._raise_refusal()
        at_work = any(child.is_running and child.pulse.state != "starting" for child in self._children)
        if now - self._ready_at > GIVE_UP_S and not at_work and self._drain_until is None:
            self._raise_refusal()
            raise ManagerUnavailable(f"No worker got ready for {GIVE_UP_S:g} s. What they said is in the log above.")

    def _raise_refusal(self) -> None:
        for child in self._children:
            if child.error and not child.is_running:
                raise ManagerUnavailable(child.error)

    def _end(self) -> None:
        for child in self._children:
            child.kill()

    # -------------------------------------------------------------------------------------- health

    @contextlib.contextmanager
    def _probes(self) -> Iterator[None]:
        plan = self._plan
        with contextlib.ExitStack() as stack:
            if plan.health_port is not None:
                port = stack.enter_context(probe_port(plan.health_host, plan.health_port, self._health_now))
                _logger.info("Probes answer at http://%s:%d/livez and /readyz", plan.health_host, port)
            try:
                yield
            finally:
                if plan.health_file is not None:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(plan.health_file)

    def _health_now(self) -> Health:
        """For the thread of the port, which must not say that a main thread which hangs is well."""
        health = self._health
        return health if time.time() - health.at < FRESH_S else replace(health, live=False, ready=False)

    def _tell_health(self) -> None:
        now = time.monotonic()
        if now < self._health_due:
            return
        self._health_due = now + HEALTH_S
        workers = [child.shown(now) for child in self._children]
        is_ready = self._drain_until is None and any(worker["ready"] for worker in workers)
        is_live = all(worker["live"] for worker in workers)
        self._health = Health(is_live, is_ready, time.time(), os.getpid(), workers)
        if self._plan.health_file is not None:
            try:
                write_health(self._plan.health_file, self._health)
            except OSError as error:
                _logger.warning("The health file %s cannot be written: %s", self._plan.health_file, error)


@contextlib.contextmanager
def _signals_to(heard: list[signal.Signals]) -> Iterator[None]:
    """SIGTERM and SIGINT are noted, and nothing else happens."""

    def note(number: int, _: FrameType | None) -> None:
        heard.append(signal.Signals(number))

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
