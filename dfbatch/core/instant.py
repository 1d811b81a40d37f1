"""A moment on two clocks: wall time for what is stored, monotonic time for durations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instant:
    """``wall``: seconds since 1970 UTC. ``mono``: seconds of a clock that never jumps."""

    wall: float
    mono: float

    def later(self, seconds: float) -> Instant:
        """Both clocks put forward."""
        return Instant(self.wall + seconds, self.mono + seconds)
