"""Which batch is served next: strict priority with ageing, round robin within one priority."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

AGEING_S = 60.0
"""Waiting this long counts as one step of priority, so that nothing starves."""


class ServiceOrder:
    """Batches with work to lease, of one worker shape.

    A level is one priority; within it the batch served longest ago comes first.
    A level that was not served ages: it gains one step of priority every
    ``AGEING_S`` seconds, until it is served.
    """

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[str, None]] = {}
        self._served_at: dict[int, float] = {}
        self._priority: dict[str, int] = {}

    def __contains__(self, batch_id: str) -> bool:
        return batch_id in self._priority

    def __len__(self) -> int:
        return len(self._priority)

    def add(self, batch_id: str, priority: int, now_mono: float) -> None:
        """Put a batch in line, at the end of its level; one that is there with this priority keeps its place."""
        if self._priority.get(batch_id) == priority:
            return
        self.remove(batch_id)
        level = self._levels.setdefault(priority, OrderedDict())
        if not level:
            self._served_at[priority] = now_mono
        level[batch_id] = None
        self._priority[batch_id] = priority

    def remove(self, batch_id: str) -> None:
        """Take a batch out of line; one that is not there is no error."""
        priority = self._priority.pop(batch_id, None)
        if priority is None:
            return
        level = self._levels[priority]
        del level[batch_id]
        if not level:
            del self._levels[priority]
            del self._served_at[priority]

    def pick(self, now_mono: float, may_serve: Callable[[str], bool]) -> str | None:
        """The batch to serve now, or None. ``may_serve`` says if a batch can be leased from at this moment."""
        for priority in sorted(self._levels, key=lambda p: self._effective(p, now_mono), reverse=True):
            for batch_id in self._levels[priority]:
                if may_serve(batch_id):
                    return batch_id
        return None

    def served(self, batch_id: str, now_mono: float) -> None:
        """The batch got a lease: it goes to the end of its level, and the level is young again."""
        priority = self._priority.get(batch_id)
        if priority is not None:
            self._levels[priority].move_to_end(batch_id)
            self._served_at[priority] = now_mono

    def top_priority(self) -> int | None:
        """The greatest priority with work, without ageing."""
        return max(self._levels, default=None)

    def priorities(self) -> tuple[int, ...]:
        """Those with work, the greatest first, without ageing."""
        return tuple(sorted(self._levels, reverse=True))

    def of_priority(self, priority: int) -> tuple[str, ...]:
        """Batches of one level, the next to be served first."""
        return tuple(self._levels.get(priority, ()))

    def _effective(self, priority: int, now_mono: float) -> float:
        return priority + (now_mono - self._served_at[priority]) / AGEING_S
