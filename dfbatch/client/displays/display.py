"""What a progress display is, and the one that shows nothing."""

from __future__ import annotations

from typing import Protocol

from dfbatch.core.progress import ProgressSnapshot

QUIET_START_S = 0.5
"""A batch that ends sooner shows only its last line."""


class ProgressDisplay(Protocol):
    """Draws snapshots of one batch. Used from one thread; ``watch`` shields the caller from its errors."""

    def update(self, snapshot: ProgressSnapshot) -> None:
        """Show this moment, or skip it: a display limits its own pace."""

    def close(self, snapshot: ProgressSnapshot) -> None:
        """Show the last moment and leave it there for good."""

    def say(self, text: str) -> None:
        """Show a few lines to the user below the progress."""


class NullDisplay:
    """Shows nothing."""

    def update(self, snapshot: ProgressSnapshot) -> None:
        pass

    def close(self, snapshot: ProgressSnapshot) -> None:
        pass

    def say(self, text: str) -> None:
        pass


class Pace:
    """Says when a display may paint: first after a quiet start, then ever more seldom.

    The gap between two paintings is ``fraction`` of the time since the first call,
    within ``least_s`` and ``most_s``: lively at the start, and an hour or a day of
    waiting still paints a bounded number of times.
    """

    def __init__(self, least_s: float, most_s: float, fraction: float = 0.01, quiet_s: float = QUIET_START_S) -> None:
        self._least_s = least_s
        self._most_s = most_s
        self._fraction = fraction
        self._quiet_s = quiet_s
        self._start: float | None = None
        self._next = 0.0

    def is_due(self, now: float) -> bool:
        """True if a painting is due at ``now`` (monotonic seconds), which then counts as done."""
        if self._start is None:
            self._start = now
            self._next = now + self._quiet_s
        if now < self._next:
            return False
        gap = min(self._most_s, max(self._least_s, (now - self._start) * self._fraction))
        self._next = now + gap
        return True
