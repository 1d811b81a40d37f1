"""Who is in the pool: the handle of each worker, whether it has come, and since when it has nothing to do."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dfbatch.actors.breaker_memory import Kept
from dfbatch.core.books import Worker
from dfbatch.core.placement import Placed
from dfbatch.core.pool_size import Limits, excess

RETURN_S = 30.0
"""A worker that died may come back within this time, and tell what it died of."""
MOST_ESTATES = 64
"""Of one shape, left by workers whose places nobody has taken yet."""


@dataclass(slots=True)
class Member:
    """Times are monotonic. ``is_here``: it has a place and works. ``idle_since``: None at work."""

    handle: Any
    shape: str
    demands: Mapping[str, float]
    since: float
    is_here: bool = False
    has_come: bool = False
    gone_since: float | None = None
    idle_since: float | None = None
    n_done: int = 0

    def look(self, worker: Worker | None, now: float) -> None:
        """Take note of how the manager knows it at the moment."""
        self.is_here = worker is not None and worker.lost_at is None
        if worker is None or not self.is_here:
            self.idle_since = None
            self.gone_since = self.gone_since or now
            return
        self.has_come, self.gone_since = True, None
        if worker.leases or worker.n_done != self.n_done:
            self.idle_since, self.n_done = None, worker.n_done
        elif self.idle_since is None:
            self.idle_since = now

    def has_no_place(self, now: float) -> bool:
        """It is waited for, and nothing is lost if it never comes."""
        return not self.is_here and (
            not self.has_come or (self.gone_since is not None and now - self.gone_since > RETURN_S)
        )


class Estates:
    """What workers that were renewed knew of their dependencies, for those that take their places, by shape."""

    def __init__(self) -> None:
        self._of_shape: dict[str, deque[Kept]] = {}

    def leave(self, shape: str, kept: Kept | None) -> None:
        """One has left; None if it knew nothing of note. Of very many the newest are kept."""
        if kept is not None:
            self._of_shape.setdefault(shape, deque(maxlen=MOST_ESTATES)).append(kept)

    def take(self, shape: str) -> Kept | None:
        """For the next one that starts: what was left first."""
        left = self._of_shape.get(shape)
        return left.popleft() if left else None


def who_leaves(
    members: Mapping[str, Member], target: Mapping[str, int], limits: Limits, idle_s: float, now: float
) -> list[str]:
    """Those too many, beginning with those that do least; and those not needed that were idle for ``idle_s``."""
    have = Counter(member.shape for member in members.values())
    must_go = excess(have, target, limits)
    found: list[str] = []
    for key, n_have in have.items():
        mine = [(name, member) for name, member in members.items() if member.shape == key]
        absent = [name for name, member in reversed(mine) if member.has_no_place(now)]
        idle = [name for name, member in mine if member.idle_since is not None]
        busy = [name for name, member in reversed(mine) if member.is_here and member.idle_since is None]
        tired = [name for name, m in mine if m.idle_since is not None and now - m.idle_since >= idle_s]
        chosen = [*absent, *idle, *busy][: must_go.get(key, 0)]
        n_unneeded = max(0, n_have - target.get(key, 0))
        chosen += [name for name in (*absent, *tired) if name not in chosen][: max(0, n_unneeded - len(chosen))]
        found += chosen
    return found


def placed(members: Mapping[str, Member], workers: Mapping[str, Worker]) -> Iterator[Placed]:
    """Those that work, and where."""
    for name, member in members.items():
        if member.is_here and name in workers:
            is_idle = member.idle_since is not None
            yield Placed(name, workers[name].node, member.demands, is_idle, member.since)
