"""What operators said about the number of workers, as rows of ``events``: kept for the next life of the same manager.

A manager that is restarted after a crash bears the ``session`` that was drawn when it was created, and obeys the last
order that bears it too. One that is created anew has another session: the limits it is created with win over whatever
was said to managers before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

KIND = "pool_scaled"
"""The kind of the rows in ``events``."""


@dataclass(frozen=True, slots=True)
class PoolOrder:
    """From ``low`` to ``high`` workers. ``leaving``: name and incarnation of those that were told to leave."""

    low: int
    high: int
    leaving: Mapping[str, str] = field(default_factory=dict)

    def detail(self, session: str) -> dict[str, Any]:
        """As the detail of its row."""
        return {"low": self.low, "high": self.high, "leaving": dict(self.leaving), "session": session}


def last_order(rows: Iterable[Mapping[str, Any]], session: str) -> PoolOrder | None:
    """The newest order to a manager of this session; None if there was none. ``rows`` of ``events``, in order."""
    found = None
    for row in rows:
        if row["kind"] == KIND and row["detail"]["session"] == session:
            found = row["detail"]
    return None if found is None else PoolOrder(found["low"], found["high"], found["leaving"])
