"""A worker's patience with its manager: calls are repeated while it restarts, and given up when it stays away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from dfbatch.errors import LedgerFenced, ManagerError

LOST_MANAGER_S = 180.0
"""A worker whose manager stays away for several lease terms leaves by itself."""
LAST_PATIENCE_S = 5.0
"""One that is about to leave anyway waits only this long."""
_PAUSE_S = 0.02
UNREACHABLE = (ManagerError, LedgerFenced)
"""The manager does not answer, or was replaced: the next try may meet its successor."""
_T = TypeVar("_T")


class Patience:
    """Counts from the last answer. ``stopping`` is set by whoever ends the worker, and by this when it gives up."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self.last_contact = time.monotonic()

    def answered(self) -> None:
        """The manager lives."""
        self.last_contact = time.monotonic()

    @property
    def is_over(self) -> bool:
        """True if no answer came for ``LOST_MANAGER_S`` seconds."""
        return time.monotonic() - self.last_contact > LOST_MANAGER_S

    def call(self, call: Callable[[], _T]) -> _T | None:
        """Call until the manager answers; None when it is given up."""
        delay = 0.05
        while True:
            try:
                answer = call()
            except UNREACHABLE as error:
                if self.is_over:
                    self._stopping.set()
                if self._stopping.wait(min(getattr(error, "retry_after_s", None) or delay, 2.0)):
                    if time.monotonic() - self.last_contact > LAST_PATIENCE_S:
                        return None
                    time.sleep(_PAUSE_S)
                delay = min(delay * 1.7, 2.0)
            else:
                self.answered()
                return answer
