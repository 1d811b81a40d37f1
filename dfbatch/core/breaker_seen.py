"""A worker's circuit breaker, as the manager knows it."""

from __future__ import annotations

from dataclasses import dataclass

from dfbatch.core.circuit_breaker import BreakerState

CONSTRUCTION = "(construction)"
"""The breaker that opens when a verifier cannot be constructed on a worker."""
OWN = "(verifier)"
"""The breaker that every verifier has of its own: it counts timeouts and out-of-memory."""


@dataclass(frozen=True, slots=True)
class BreakerSeen:
    """``verifier``: the fingerprint it belongs to. ``retry_at``: monotonic seconds of the manager; infinite if forced.

    ``blocks``: no fallback catches what it refuses, so that the worker should get no
    work of that verifier while it is open, and a few ``probes`` after that.
    """

    verifier: str
    name: str
    state: BreakerState
    retry_at: float
    probes: int
    blocks: bool
    failure_rate: float | None = None
    slow_rate: float | None = None
    opened: int = 0
    last_error: str = ""
