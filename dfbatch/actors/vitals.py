"""How a worker is, for probes: is it alive, does it lease."""

from __future__ import annotations

from dataclasses import dataclass

LIVE_S = 30.0
"""A heartbeat older than this is no sign of life. One call to a manager that is away lasts up to 10 s."""
REACHED_S = 10.0
"""A manager that did not answer for so long is not reachable; heartbeats go out every second."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """Seen from the worker itself. ``beat_at``, ``contact_at``: monotonic seconds of the last beat and answer.

    ``job``: id of the item at hand, or None.
    """

    beat_at: float
    contact_at: float
    has_met: bool
    is_stopping: bool
    job: str | None = None

    def is_live(self, now: float) -> bool:
        """True if its heart beats, whether the manager answers or not."""
        return now - self.beat_at < LIVE_S

    def is_ready(self, now: float) -> bool:
        """True if it leases: it has said hello, is not about to leave, and its manager answers."""
        reached = now - self.contact_at < REACHED_S
        return self.has_met and not self.is_stopping and reached and self.is_live(now)

    @property
    def state(self) -> str:
        """In the words of ``client.workers()``."""
        if self.is_stopping:
            return "draining"
        if not self.has_met:
            return "starting"
        return "idle" if self.job is None else "running"
