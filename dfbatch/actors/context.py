"""What a verifier is told about the job it works on, and how it reports its steps."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dfbatch.actors.breaker import Breaker
from dfbatch.actors.breakers import WorkerBreakers
from dfbatch.actors.log_ring import Job, LogRing, job_logger
from dfbatch.actors.messages import StepReport

STEPS_PER_S = 10.0
"""Steps taken from one item in a second, and at once."""
MOST_UNSENT = 500
"""Reports kept until the next message to the manager; the oldest go first."""
LONGEST_NAME = 100


@dataclass
class JobContext:
    """Handed to verifiers that take a second argument. One object a worker; it follows the present item.

    ``cancelled`` turns True when the item should end early. ``log`` is a logger whose
    lines go to ``job.log()`` and to the worker's log, never to the notebook.
    """

    batch_id: str = ""
    job_index: int = 0
    attempt: int = 1
    begun: float = 0.0
    """When the item at hand began, on ``time.perf_counter``; 0 before the first of a chunk."""
    log: logging.Logger = field(init=False, repr=False)
    _is_cancelled: Callable[[], bool] = lambda: False
    _steps: dict[tuple[str, int, int, str | None], StepReport] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _counted: tuple[str, int, int] = ("", 0, 0)
    _tokens: float = STEPS_PER_S
    _filled_at: float = 0.0
    breakers: WorkerBreakers = field(default_factory=WorkerBreakers, repr=False)
    said: LogRing = field(default_factory=LogRing, repr=False)
    """What ``log``, and in a worker process standard output, was given for the jobs."""

    def __post_init__(self) -> None:
        self.log = job_logger(self.said, self.at_hand)

    @property
    def job_id(self) -> str:
        """``<batch id>-<job index>`` of the item at hand; for a vectorised verifier the first of its table."""
        return f"{self.batch_id}-{self.job_index}"

    @property
    def cancelled(self) -> bool:
        """True if the outcome is not wanted any more: code that looks may stop early."""
        return self._is_cancelled()

    def begin(self, is_cancelled: Callable[[], bool]) -> None:
        """Another chunk begins; ``is_cancelled`` tells whether it was called back for good."""
        self._is_cancelled = is_cancelled
        self.begun = 0.0

    def since(self) -> float | None:
        """When the item at hand began, in wall seconds; None between two chunks. From any thread."""
        begun = self.begun
        return time.time() - (time.perf_counter() - begun) if begun else None

    def current(self) -> tuple[str, int, float] | None:
        """Batch id, index and start (wall seconds) of the item at hand; None between two chunks. From any thread."""
        since = self.since()
        return None if since is None else (self.batch_id, self.job_index, since)

    def at_hand(self) -> Job | None:
        """Batch id, index and attempt of the item at hand; None between two chunks."""
        return (self.batch_id, self.job_index, self.attempt) if self.begun else None

    def fails(self) -> None:
        """The item at hand has failed, so that somebody will want to read what it said."""
        self.said.keep((self.batch_id, self.job_index, self.attempt))

    def breaker(self, name: str, **policy: Any) -> Breaker:
        """The circuit breaker of a dependency: ``ctx.breaker("scorer").call(fn, *args)``, or ``with`` it.

        One a worker, verifier and name, kept over items, chunks and batches. ``policy``:
        the fields of BreakerPolicy, at the first use. While it is open it raises
        BreakerOpen; when that leaves the verifier, the item goes back unharmed.
        """
        return self.breakers.get(name, policy)

    def take_steps(self) -> tuple[StepReport, ...]:
        """The newest report of each step since the last call, in the order the steps began. From any thread."""
        with self._lock:
            taken, self._steps = self._steps, {}
        return tuple(taken.values())

    def progress(self, done: float, total: float | None = None, step: str | None = None) -> None:
        """Report a step of a long item: ``done`` of ``total``. The newest report of each step is kept.

        At most ten steps a second are taken from one item; it may be called as often as one likes.
        """
        done, total = float(done), None if total is None else float(total)
        name = None if step is None else str(step)[:LONGEST_NAME]
        job = (self.batch_id, self.job_index, self.attempt)
        wall = time.time()
        with self._lock:
            known = self._steps.get((*job, name))
            if known is None and not self._may_add(job):
                return
            started_at = wall if known is None else known.started_at
            self._steps[(*job, name)] = StepReport(*job, name, done, total, started_at, wall)
            if len(self._steps) > MOST_UNSENT:
                del self._steps[next(iter(self._steps))]

    def _may_add(self, job: tuple[str, int, int]) -> bool:
        """A token bucket for each item. Lock held."""
        now = time.monotonic()
        if job != self._counted:
            self._counted, self._tokens, self._filled_at = job, STEPS_PER_S, now
        self._tokens = min(STEPS_PER_S, self._tokens + (now - self._filled_at) * STEPS_PER_S)
        self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
