"""The handle of a queue: what waits in it, what failed in it, and its limits."""

from __future__ import annotations

import secrets
from typing import Any

from dfbatch.client.dead_letters import DeadLetters, keys_of_queue, of_queue
from dfbatch.client.html_text import facts_line
from dfbatch.client.session import Session
from dfbatch.core.policy import QueuePolicy
from dfbatch.errors import DfbatchError


class Queue:
    """A named partition of work with its own policy. It comes into being by a policy, a pause, or its first batch."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name

    @property
    def name(self) -> str:
        """What the queue is called."""
        return self._name

    # ------------------------------------------------------------------------------------- limits

    def stats(self) -> dict[str, Any]:
        """What is in the queue now.

        ``queue, paused, batches`` (not ended) ``, waiting, running, retrying`` (jobs) ``, dead_letters,
        oldest_waiting_s`` (age of the work that waits longest, or None) ``, policy``.
        """
        for queue in self._session.call("queues"):
            if queue["queue"] == self._name:
                found: dict[str, Any] = queue
                return found
        counts = dict.fromkeys(("batches", "waiting", "running", "retrying", "dead_letters"), 0)
        policy = QueuePolicy().as_options()
        return {"queue": self._name, "paused": False, **counts, "oldest_waiting_s": None, "policy": policy}

    @property
    def policy(self) -> dict[str, Any]:
        """Limits in force; None is no limit."""
        found: dict[str, Any] = self.stats()["policy"]
        return found

    def set_policy(self, **changes: Any) -> dict[str, Any]:
        """Change limits; they hold from now on and over restarts. Returns all of them.

        ``max_length``: jobs without an outcome, beyond it ``QueueFull``. ``rate_per_s``: jobs begun a second, in
        bursts of ``burst``. ``concurrency``: jobs leased at one time. ``retry``: the ``dfbatch.Retry`` of batches
        that are submitted from now on without one of their own. ``retention_s``, ``retention_batches``: how long and
        how many ended batches stay in the ledger. None takes a limit away. Raises InvalidInput.
        """
        found: dict[str, Any] = self._session.call("set_queue", self._name, changes)
        return found

    def pause(self) -> Queue:
        """Lease nothing from this queue until ``resume()``; survives a restart."""
        self._session.call("set_queue", self._name, {}, True)
        return self

    def resume(self) -> Queue:
        """Lease from this queue again; returns the queue."""
        self._session.call("set_queue", self._name, {}, False)
        return self

    # ------------------------------------------------------------------------------- dead letters

    def dead_letters(self, where: Any = None, limit: int | None = None) -> DeadLetters:
        """Failed and expired jobs of all its batches that were neither redriven nor purged, oldest batch first.

        ``where``: an Arrow expression, a function of the row, or a mapping such as
        ``{"error_type": "MediaTruncated"}``. ``limit``: at most so many rows. ``.story(i)`` tells every try of one.
        """
        return of_queue(self._session, self._name, where, limit)

    def redrive(self, where: Any = None) -> int:
        """Run its dead letters, or those that ``where`` chooses, again in their batches; returns how many.

        They begin their next generation with all tries before them; what happened so far is kept. All or nothing:
        raises QueueFull if the queue has no room for them. Raises UnknownId if there is no such queue.
        """
        keys = keys_of_queue(self._session, self._name, where)
        return int(self._session.call("redrive_dead", self._name, keys, secrets.token_hex(16)))

    def purge(self, where: Any = None) -> int:
        """Give its dead letters, or those that ``where`` chooses, up for good; returns how many.

        They are listed and redriven no more. Their rows in the results stay, and the ledger's ``events`` tell when
        which jobs were purged. Raises UnknownId if there is no such queue.
        """
        keys = keys_of_queue(self._session, self._name, where)
        return int(self._session.call("purge_dead", self._name, keys, secrets.token_hex(16)))

    # --------------------------------------------------------------------------------------- face

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
        dead = f", {stats['dead_letters']:,} dead letters" if stats["dead_letters"] else ""
        paused = ", paused" if stats["paused"] else ""
        return f"{stats['waiting']:,} waiting, {stats['running']:,} running{dead}{paused}"
