"""How many workers of which shape: by the seconds of work that wait, within the limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dfbatch.core.resource_shape import DEFAULT, ResourceShape, cpus_of_key

GROW_S = 2.0
"""About what a new worker takes to be of use: for less work than this a worker, none is started."""
UNKNOWN_COST_S = 0.25
"""Seconds an item is taken for until one has come back."""
_NEARLY = 1e-6


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is left of a batch: ``n_jobs`` that wait or run, of which ``most`` may run at one time."""

    n_jobs: int
    most: int
    cost_s: float

    @property
    def seconds(self) -> float:
        """Worth starting workers for."""
        return min(self.n_jobs * self.cost_s, min(self.n_jobs, self.most) * GROW_S)


@dataclass(frozen=True, slots=True)
class Demand:
    """Work of one shape. ``n_wanted``: workers it would be worth to have."""

    shape: ResourceShape
    n_wanted: int


def cost_of(measured_s: float | None, usual_s: float | None, at_it_s: float) -> float:
    """Seconds an item takes: as measured, else as usual in its queue, but no less than it has taken already."""
    if measured_s is not None:
        return measured_s
    return max(UNKNOWN_COST_S if usual_s is None else usual_s, at_it_s)


def workers_for(backlogs: Iterable[Backlog]) -> int:
    """Workers that a backlog is worth: one for every ``GROW_S`` seconds of work, and one for any work at all.

    Many cheap jobs are a short backlog, whatever their number; few dear ones get a worker each.
    """
    work = [backlog for backlog in backlogs if backlog.n_jobs > 0 and backlog.most > 0]
    return max(1, math.ceil(sum(backlog.seconds for backlog in work) / GROW_S - 1e-9)) if work else 0


@dataclass(frozen=True, slots=True)
class Limits:
    """``low`` workers of the default shape are always there; ``high`` is the limit over all shapes.

    ``cpus``: what all workers together may have, or None if the cluster grows by itself.
    """

    low: int
    high: int
    cpus: float | None = None


def allot(demands: Sequence[Demand], limits: Limits) -> dict[str, int]:
    """Workers of each shape, by its key; earlier demands come first where there is not enough for all.

    Every shape gets one before any gets its second, so that no long batch of one shape keeps another from running.
    """
    wanted = {demand.shape.key: demand.n_wanted for demand in demands}
    wanted[DEFAULT] = max(wanted.get(DEFAULT, 0), limits.low)
    found = dict.fromkeys(wanted, 0)
    cpus_left = math.inf if limits.cpus is None else limits.cpus
    n_left = limits.high
    hungry = [key for key, n in wanted.items() if n > 0]
    while hungry and n_left > 0:
        for key in list(hungry):
            if n_left <= 0:
                break
            if cpus_of_key(key) > cpus_left + _NEARLY:
                hungry.remove(key)
                continue
            found[key] += 1
            n_left -= 1
            cpus_left -= cpus_of_key(key)
            if found[key] >= wanted[key]:
                hungry.remove(key)
    return found


def excess(have: Mapping[str, int], target: Mapping[str, int], limits: Limits) -> dict[str, int]:
    """Workers of each shape that must make way, because there are too many, or another shape goes without.

    Those that are merely not needed now are not in it: they stay a while.
    """
    over = {key: n - target.get(key, 0) for key, n in have.items() if n > target.get(key, 0)}
    after = {key: max(n, have.get(key, 0)) for key, n in {**dict.fromkeys(have, 0), **target}.items()}
    found: dict[str, int] = {}
    while over and not _fits(after, limits):
        key = max(over, key=lambda k: over[k])
        over[key] -= 1
        after[key] -= 1
        found[key] = found.get(key, 0) + 1
        if not over[key]:
            del over[key]
    return found


def _fits(workers: Mapping[str, int], limits: Limits) -> bool:
    cpus = sum(n * cpus_of_key(key) for key, n in workers.items())
    return sum(workers.values()) <= limits.high and (limits.cpus is None or cpus <= limits.cpus + _NEARLY)
