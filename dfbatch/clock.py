"""Clocks for the shells. Rules in ``core`` never read one: they get an ``Instant``."""

from __future__ import annotations

import time
from typing import Protocol

from dfbatch.core.instant import Instant


class Clock(Protocol):
    """Tells the present moment."""

    def now(self) -> Instant:
        """Wall and monotonic seconds of this moment."""


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> Instant:
        return Instant(time.time(), time.monotonic())


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, wall: float = 1_780_000_000.0, mono: float = 1_000.0) -> None:
        self._now = Instant(wall, mono)

    def now(self) -> Instant:
        return self._now

    def advance(self, seconds: float) -> Instant:
        """Move both clocks on."""
        self._now = self._now.later(seconds)
        return self._now

    def jump_wall(self, seconds: float) -> Instant:
        """Move the wall clock alone, as NTP or a resumed laptop does."""
        self._now = Instant(self._now.wall + seconds, self._now.mono)
        return self._now
