"""The handle of a queue: what waits in it, and its limits."""

from __future__ import annotations

from typing import Any

from dfbatch.client.html_text import facts_line
from dfbatch.client.session import Session
from dfbatch.errors import DfbatchError


class Queue:
    """A named partition of work with its own policy."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def stats(self) -> dict[str, Any]:
        """``queue, paused, waiting, running, policy``."""
        for queue in self._session.call("queues"):
            if queue["queue"] == self._name:
                found: dict[str, Any] = queue
                return found
        return {"queue": self._name, "paused": False, "waiting": 0, "running": 0, "policy": {}}

    @property
    def policy(self) -> dict[str, Any]:
        """Limits in force; None is no limit."""
        found: dict[str, Any] = self.stats()["policy"]
        return found

    def set_policy(self, **changes: Any) -> dict[str, Any]:
        """Change limits (``max_length, rate_per_s, burst, concurrency, ...``); they persist. Returns all of them."""
        found: dict[str, Any] = self._session.call("set_queue", self._name, changes)
        return found

    def pause(self) -> Queue:
        """Lease nothing from this queue until ``resume()``; survives a restart."""
        self._session.call("set_queue", self._name, {}, True)
        return self

    def resume(self) -> Queue:
        self._session.call("set_queue", self._name, {}, False)
        return self

    def __repr__(self) -> str:
        return f"<Queue {self._name}: {self._state()}>"

    def _repr_html_(self) -> str:
        return facts_line("Queue", {"name": self._name, "state": self._state()})

    def _state(self) -> str:
        """How much waits and runs, or why it cannot be told: a repr never raises."""
        try:
            stats = self.stats()
        except DfbatchError as error:
            return f"({error})"
        paused = ", paused" if stats["paused"] else ""
        return f"{stats['waiting']:,} waiting, {stats['running']:,} running{paused}"
