"""What a verifier is told about the job it works on, and how it reports its steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_REPORT_EVERY_S = 0.1


@dataclass
class JobContext:
    """Handed to verifiers that take a second argument. One object a worker; it follows the present item.

    ``cancelled`` turns True when the item should end early. ``log`` is a logger whose
    lines go to the worker's log, never to the notebook.
    """

    batch_id: str = ""
    job_index: int = 0
    attempt: int = 1
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("dfbatch.verifier"))
    _is_cancelled: Callable[[], bool] = lambda: False
    _steps: dict[tuple[str, int], tuple[float, float | None, str | None]] = field(default_factory=dict)
    _reported_at: float = 0.0

    @property
    def job_id(self) -> str:
        return f"{self.batch_id}-{self.job_index}"

    @property
    def cancelled(self) -> bool:
        return self._is_cancelled()

    def begin(self, is_cancelled: Callable[[], bool]) -> None:
        """Another chunk begins; ``is_cancelled`` tells whether it was called back for good."""
        self._is_cancelled = is_cancelled

    def take_steps(self) -> dict[tuple[str, int], tuple[float, float | None, str | None]]:
        """What was reported since the last call, by (batch id, job index)."""
        taken, self._steps = self._steps, {}
        return taken

    def progress(self, done: float, total: float | None = None, step: str | None = None) -> None:
        """Report a step of a long item; at most ten reports a second are kept, and the last of each step."""
        now = time.monotonic()
        key = (self.batch_id, self.job_index)
        last = self._steps.get(key)
        if now - self._reported_at < _REPORT_EVERY_S and last is not None and last[2] == step:
            return
        self._reported_at = now
        self._steps[key] = (float(done), None if total is None else float(total), step)
