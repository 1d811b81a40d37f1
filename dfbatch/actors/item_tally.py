"""What a chunk that is run item by item has achieved since its last report.

The thread that runs appends without a lock, values last: their number is that of whole
entries. Another thread may report some of them meanwhile; it notes which it has left.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dfbatch.actors.failure import Failure
from dfbatch.authenticity.findings import Report

_PLAIN = frozenset(
    {
        *(type(None), bool, int, float, str, bytes, decimal.Decimal, Report),
        *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta),
    }
)
_MOST_PARTS = 10_000


def is_plain(value: Any) -> bool:
    """True if the value can be read from any thread: no code of the user's runs for it, which might wait for ever."""
    parts, n = [value], 0
    while parts:
        part = parts.pop()
        kind, n = type(part), n + 1
        if kind in (list, tuple):
            parts += part
        elif kind is dict:
            parts += [*part, *part.values()]
        elif kind not in _PLAIN and not (isinstance(part, np.generic | np.ndarray) and part.dtype != object):
            return False
        if n + len(parts) > _MOST_PARTS:  # too much to look at, or it contains itself
            return False
    return True


@dataclass(slots=True)
class Tally:
    """Lists are aligned, one entry a job; ``failures`` by place in them."""

    positions: list[int] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    failures: dict[int, Failure] = field(default_factory=dict)
    n_seen: int = 0
    """Another thread has looked at so many entries, and reported them but for ``left``."""
    left: list[int] = field(default_factory=list)
    busy_s: float | None = None
    """Time spent on these entries, where others were between them."""

    def part(self, places: Sequence[int]) -> Tally:
        """These entries alone."""
        starts, ends = [self.starts[k] for k in places], [self.ends[k] for k in places]
        return Tally(
            [self.positions[k] for k in places],
            starts,
            ends,
            [self.values[k] for k in places],
            {new: self.failures[k] for new, k in enumerate(places) if k in self.failures},
            busy_s=sum(end - start for start, end in zip(starts, ends, strict=True)),
        )

    def rest(self) -> Tally:
        """What nobody has reported. For the thread that runs, when no other one looks any more."""
        return self.part([*self.left, *range(self.n_seen, len(self.values))]) if self.n_seen else self

    def look(self, *, plain_only: bool = True) -> list[int]:
        """Places of successes since the last look. All entries count as left until they are reported."""
        fresh = range(self.n_seen, len(self.values))
        self.left += fresh
        self.n_seen = fresh.stop
        return [k for k in fresh if k not in self.failures and (not plain_only or is_plain(self.values[k]))]
