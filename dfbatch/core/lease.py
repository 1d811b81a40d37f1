"""A chunk of one batch held by one worker until a deadline."""

from __future__ import annotations

from dataclasses import dataclass

from dfbatch.core.ready import Indices


@dataclass(slots=True)
class Lease:
    """``n_open`` jobs of ``indices`` still wait for an outcome. Deadlines are monotonic seconds.

    ``solo``: suspects run alone; nothing else may be leased to the same worker meanwhile.
    """

    lease_id: int
    batch_id: str
    worker: str
    indices: Indices
    granted_at: float
    deadline: float
    n_open: int
    solo: bool = False
    recalled_at: float | None = None
    """When the worker was asked to make room for more urgent work, or None."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The suspects of a batch wait for a node to be empty, ``until`` (monotonic) that takes too long."""

    node: str
    until: float
