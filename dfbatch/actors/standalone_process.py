"""One child process of ``dfbatch worker`` as its parent sees it: start, hear, tell, replace, end."""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any

from dfbatch.actors.standalone_plan import COULD_NOT_RUN, LEFT, RENEWED, ChildPlan, Pulse, StandalonePlan

STEADY_S = 30.0
"""A child that lived so long did not crash because of how it was started."""
LONGEST_DELAY_S = 10.0
SILENT_S = 45.0
"""A child that says nothing for so long is not live: it says something every quarter of a second."""
_logger = logging.getLogger("dfbatch.worker")


def restart_delay_s(n_crashes: int) -> float:
    """Seconds to wait before the next start, after so many crashes in a row: the first replacement starts at once."""
    return 0.0 if n_crashes <= 1 else min(LONGEST_DELAY_S, 0.5 * 2.0 ** min(n_crashes - 2, 10))


class ChildProcess:
    """A worker name, and the processes that bear it one after another.

    The next process of a name reads where the last one died. ``error``: why it cannot run at all.
    """

    def __init__(self, plan: StandalonePlan, name: str, selector: selectors.BaseSelector) -> None:
        self.name = name
        self.pulse = Pulse("starting")
        self.error = ""
        self.restarts = 0
        self.handed_back = True
        self._plan = plan
        self._selector = selector
        self._process: subprocess.Popen[bytes] | None = None
        self._report = -1
        self._heard = b""
        self._heard_at = self._started_at = time.monotonic()
        self._n_crashes = 0
        self._is_leaving = False
        self._start_at: float | None = 0.0
        """When it has to be started (monotonic); None while it runs, and after it has left."""

    @property
    def is_running(self) -> bool:
        """True while there is a process, whatever its worker does."""
        return self._process is not None

    @property
    def is_wanted(self) -> bool:
        """True while it runs or is about to be started again."""
        return self.is_running or self._start_at is not None

    @property
    def is_ready(self) -> bool:
        """True if its worker last said that it can take work."""
        return self.is_running and self.pulse.ready

    def shown(self, now: float) -> dict[str, Any]:
        """For probes: name, state, live, ready, pid, job, restarts. One that is being replaced counts as live."""
        is_heard = now - self._heard_at < SILENT_S
        return {
            "worker": self.name,
            "state": self.pulse.state,
            "live": not self.is_running or (self.pulse.live and is_heard),
            "ready": self.is_ready and is_heard,
            "pid": None if self._process is None else self._process.pid,
            "job": self.pulse.job if self.is_running else None,
            "restarts": self.restarts,
        }

    def look_after(self, now: float) -> None:
        """Start it if that is due; see whether it has ended."""
        if self._process is not None and self._process.poll() is not None:
            self._ended(self._process.returncode, now)
        if self._process is None and self._start_at is not None and now >= self._start_at:
            self._start(now)

    def drain(self) -> None:
        """Leave after the item at hand, and do not come back. Returns at once."""
        self._is_leaving, self._start_at = True, None
        self._say(b"drain\n")

    def hand_back(self) -> None:
        """Leave at once, with everything given back."""
        self._is_leaving, self._start_at = True, None
        self._say(b"now\n")

    def kill(self) -> None:
        """End it now, with whatever it started."""
        self._start_at = None
        if self._process is not None:
            self.handed_back = False
            self._process.kill()
            self._process.wait()
            self._close()

    def hear(self) -> None:
        """Read what the child has reported."""
        data = os.read(self._report, 1 << 16)
        if not data:
            self._selector.unregister(self._report)
            return
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            self.pulse = Pulse(**json.loads(line))
            self.error = self.pulse.error
            self.handed_back = self.pulse.handed_back
        self._heard_at = time.monotonic()

    def _say(self, words: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            try:
                self._process.stdin.write(words)
                self._process.stdin.flush()
            except BrokenPipeError:
                _logger.debug("Worker %s has ended already", self.name)

    def _start(self, now: float) -> None:
        self._report, theirs = os.pipe()
        plan = self._plan
        told = ChildPlan(
            self.name,
            plan.storage_path,
            plan.namespace,
            plan.address,
            plan.shape,
            None if plan.queues is None else list(plan.queues),
            plan.idle_s,
            plan.grace_s,
            theirs,
            plan.name is not None,
            plan.log_format,
            plan.log_level,
        )
        command = child_command(json.dumps(asdict(told)))
        try:
            # A process group of its own: Ctrl-C in a terminal reaches the parent only, which passes it on as it should.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=2, pass_fds=(theirs,), process_group=0
            )
        finally:
            os.close(theirs)
        self._selector.register(self._report, selectors.EVENT_READ, self)
        self._heard, self._heard_at, self._started_at, self._start_at = b"", now, now, None
        self.pulse = Pulse("starting")
        if self._is_leaving:
            self._say(b"drain\n")

    def _ended(self, code: int, now: float) -> None:
        while self._report in self._selector.get_map():
            self.hear()
        self._close()
        if code == LEFT or (code == RENEWED and self._is_leaving):
            _logger.info("Worker %s has left", self.name)
        elif code == RENEWED:
            _logger.info("Worker %s makes room for a fresh process", self.name)
            self._start_at = now
        elif code == COULD_NOT_RUN:
            _logger.error("Worker %s: %s", self.name, self.error)
        else:
            self.handed_back = False
            self.restarts += 1
            self._n_crashes = 1 if now - self._started_at > STEADY_S else self._n_crashes + 1
            delay_s = restart_delay_s(self._n_crashes)
            self._start_at = now + delay_s
            after = f"in {delay_s:g} s" if delay_s else "at once"
            _logger.warning("Worker %s was ended by %s; it is replaced %s", self.name, _cause(code), after)

    def _close(self) -> None:
        process = self._process
        self._process = None
        if self._report in self._selector.get_map():
            self._selector.unregister(self._report)
        os.close(self._report)
        if process is not None and process.stdin is not None:
            process.stdin.close()


def child_command(plan: str) -> list[str]:
    """The command line of a child; ``plan`` is what it is told, as JSON."""
    return [sys.executable, "-m", "dfbatch.actors.standalone_child", plan]


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
