"""The last calls of a dependency, counted: by number or by time, in constant time and memory a call."""

from __future__ import annotations

from typing import Protocol

TIME_SLOTS = 20
"""A time window forgets a twentieth of itself at a time."""


FAILED, SLOW = 1, 2


class Window(Protocol):
    """``n`` calls, of which ``failed`` failed and ``slow`` were slow; a call may be both."""

    n: int
    failed: int
    slow: int

    def add(self, now: float, failed: bool, slow: bool) -> None:
        """One more call ended at ``now`` (monotonic seconds)."""
        ...

    def roll(self, now: float) -> None:
        """Forget what is too old at ``now``."""
        ...

    def clear(self) -> None:
        """Forget all calls."""
        ...

    def calls(self) -> tuple[int, ...]:
        """Those that can be told one by one, the newest last: the sum of FAILED and SLOW each."""
        ...


class CountWindow:
    """The last ``size`` calls."""

    __slots__ = ("_at", "_ring", "failed", "n", "slow")

    def __init__(self, size: int) -> None:
        self._ring = bytearray(size)
        self.clear()

    def clear(self) -> None:
        self._at = self.n = self.failed = self.slow = 0

    def roll(self, now: float) -> None:
        """Nothing gets too old."""

    def calls(self) -> tuple[int, ...]:
        end = self._at + len(self._ring)
        return tuple(self._ring[k % len(self._ring)] for k in range(end - self.n, end))

    def add(self, now: float, failed: bool, slow: bool) -> None:
        ring, at = self._ring, self._at
        if self.n < len(ring):
            self.n += 1
        elif ring[at]:
            self.failed -= ring[at] & 1
            self.slow -= ring[at] >> 1
        if failed or slow:
            ring[at] = failed | slow << 1
            self.failed += failed
            self.slow += slow
        else:
            ring[at] = 0
        self._at = at + 1 if at + 1 < len(ring) else 0


class TimeWindow:
    """The calls of the last ``seconds``, in slots: between 19 and 20 twentieths of that time."""

    __slots__ = ("_counts", "_slot", "_width", "failed", "n", "slow")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / TIME_SLOTS
        self.clear()

    def clear(self) -> None:
        self._counts = [[0, 0, 0] for _ in range(TIME_SLOTS)]
        self._slot: int | None = None
        self.n = self.failed = self.slow = 0

    def calls(self) -> tuple[int, ...]:
        """Only counts of a while are known."""
        return ()

    def roll(self, now: float) -> None:
        """Forget slots older than the window; a time that goes back changes nothing."""
        slot = int(now // self._width)
        if self._slot is None:
            self._slot = slot
        if slot <= self._slot:  # threads may come a little late
            return
        for k in range(self._slot + 1, min(slot, self._slot + TIME_SLOTS) + 1):
            old = self._counts[k % TIME_SLOTS]
            self.n -= old[0]
            self.failed -= old[1]
            self.slow -= old[2]
            old[:] = (0, 0, 0)
        self._slot = slot

    def add(self, now: float, failed: bool, slow: bool) -> None:
        self.roll(now)
        assert self._slot is not None
        counts = self._counts[self._slot % TIME_SLOTS]
        counts[0] += 1
        self.n += 1
        if failed:
            counts[1] += 1
            self.failed += 1
        if slow:
            counts[2] += 1
            self.slow += 1
