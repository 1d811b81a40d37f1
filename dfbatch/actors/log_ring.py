"""What verifiers say about the job at hand, on its way to the manager. Bounded, and free while they are silent."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from dfbatch.actors.messages import LogLine

MOST_LINES = 500
MOST_BYTES = 128 << 10
"""Kept until the next message to the manager; the oldest lines go first."""
MOST_KEPT = 500
"""Lines of jobs that failed, kept beside those."""
LINES_PER_S = 500.0
"""Sent in the long run, and at once: what a verifier says must not keep the manager busy."""
LONGEST_LINE = 2_000
Job = tuple[str, int, int]
"""Batch id, job index, attempt."""


class LogRing:
    """The newest lines that were not sent yet. From any thread."""

    def __init__(self) -> None:
        self._lines: deque[LogLine] = deque()
        self._kept: deque[LogLine] = deque(maxlen=MOST_KEPT)
        self._n_bytes = 0
        self._left_out: tuple[Job, int] | None = None
        self._lock = threading.Lock()
        self._tokens = LINES_PER_S
        self._filled_at = time.monotonic()

    def add(self, job: Job, text: str) -> None:
        """One line, or several at once."""
        at = time.time()
        lines = [LogLine(*job, at, _cut(line)) for line in text.splitlines() or [""]]
        with self._lock:
            self._lines.extend(lines)
            self._n_bytes += sum(len(line.text) for line in lines)
            self._bound()

    def keep(self, job: Job) -> None:
        """The job has failed: its lines are sent whatever others say meanwhile."""
        if self._lines:  # most verifiers say nothing; no lock for them
            with self._lock:
                mine = [line for line in self._lines if line[:3] == job]
                if mine:
                    self._lines = deque(line for line in self._lines if line[:3] != job)
                    self._n_bytes -= sum(len(line.text) for line in mine)
                    self._kept.extend(mine)

    def take(self) -> tuple[LogLine, ...]:
        """What may be sent now, the oldest first."""
        if not self._lines and not self._kept:
            return ()
        with self._lock:
            now = time.monotonic()
            self._tokens = min(LINES_PER_S, self._tokens + (now - self._filled_at) * LINES_PER_S)
            self._filled_at = now
            taken = list(self._kept)
            self._kept.clear()
            while self._lines and self._tokens >= 1.0:
                line = self._lines.popleft()
                self._n_bytes -= len(line.text)
                if self._left_out is not None:
                    if line[:3] == self._left_out[0]:
                        taken.append(line._replace(text=f"... {self._left_out[1]:,} lines left out"))
                    self._left_out = None
                taken.append(line)
                self._tokens -= 1.0
        return tuple(taken)

    def _bound(self) -> None:
        while len(self._lines) > MOST_LINES or self._n_bytes > MOST_BYTES:
            self._leave_out(self._lines.popleft())

    def _leave_out(self, line: LogLine) -> None:
        self._n_bytes -= len(line.text)
        job: Job = line[:3]
        known = self._left_out
        self._left_out = (job, known[1] + 1 if known is not None and known[0] == job else 1)


class RingHandler(logging.Handler):
    """Log records as lines of the job at hand. ``where`` says which that is, None for none."""

    def __init__(self, ring: LogRing, where: Callable[[], Job | None]) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        self._ring = ring
        self._where = where

    def emit(self, record: logging.LogRecord) -> None:
        job = self._where()
        if job is not None:
            try:
                self._ring.add(job, self.format(record))
            except Exception:
                self.handleError(record)


def job_logger(ring: LogRing, where: Callable[[], Job | None]) -> logging.Logger:
    """``ctx.log``: INFO and above into the ring, and on to the loggers of the process."""
    logger = logging.Logger("dfbatch.verifier", logging.INFO)
    logger.parent = logging.getLogger("dfbatch.verifier")
    logger.addHandler(RingHandler(ring, where))
    return logger


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}... ({len(line):,} characters)"
