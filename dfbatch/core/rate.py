"""A smoothed rate from (time, count) samples of the last seconds."""

from __future__ import annotations

from collections import deque


class RateMeter:
    """Jobs a second over a sliding window of about ``window_s`` monotonic seconds."""

    def __init__(self, window_s: float = 10.0) -> None:
        self._window_s = window_s
        self._samples: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, now_mono: float, n: int) -> None:
        """``n`` more jobs were done at ``now_mono`` (seconds); counts within a tenth of a second are put together."""
        self._total += n
        # The first sample is where the window begins: what came after it must never be counted as before it.
        if len(self._samples) > 1 and now_mono - self._samples[-1][0] < 0.1:
            self._samples[-1] = (self._samples[-1][0], self._total)
        else:
            self._samples.append((now_mono, self._total))
        self._trim(now_mono)

    def start(self, now_mono: float) -> None:
        """Note the beginning, so that the first outcomes have a duration."""
        if not self._samples:
            self._samples.append((now_mono, self._total))

    def per_s(self, now_mono: float) -> float:
        """0.0 while nothing is known."""
        self._trim(now_mono)
        if not self._samples:
            return 0.0
        start, before = self._samples[0]
        # What was counted since came within the window, however long ago the sample before it was.
        span = min(now_mono - start, self._window_s)
        return (self._total - before) / span if span > 0 else 0.0

    def _trim(self, now_mono: float) -> None:
        # The newest sample before the window stays: it is where the window begins.
        while len(self._samples) > 1 and self._samples[1][0] <= now_mono - self._window_s:
            self._samples.popleft()
