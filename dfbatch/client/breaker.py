"""The circuit breakers of one dependency, over all workers: for whoever operates the service behind it."""

from __future__ import annotations

from typing import Any

from dfbatch.client.session import Session
from dfbatch.errors import InvalidInput


class Breaker:
    """``client.breaker("scorer")``. What it says reaches a worker with its next heartbeat, within about a second."""

    def __init__(self, session: Session, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise InvalidInput("breaker", f"{name!r} is no name of a dependency", "Give the name used in ctx.breaker()")
        self._session = session
        self.name = name

    def __repr__(self) -> str:
        return f"<Breaker {self.name!r} of all workers>"

    @property
    def state(self) -> str:
        """The most severe one of any worker: ``open``, ``half_open`` or ``closed``; ``closed`` if none has it."""
        states = {row["state"] for row in self.workers()}
        return next((state for state in ("open", "half_open") if state in states), "closed")

    def workers(self) -> list[dict[str, Any]]:
        """A row a worker and verifier: ``worker``, and what ``client.workers()`` shows of its breaker."""
        rows = self._session.call("workers")
        return [{"worker": row["worker"], **b} for row in rows for b in row["breakers"] if b["name"] == self.name]

    def force_open(self) -> None:
        """Keep everybody from the dependency until ``reset()``: its items wait, uncharged. New workers obey too."""
        self._session.call("order_breaker", self.name, "force_open")

    def reset(self) -> None:
        """Close the breaker on every worker, and forget what was."""
        self._session.call("order_breaker", self.name, "reset")
