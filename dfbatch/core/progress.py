"""What a progress display needs to know, as one frozen value. Displays only draw it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dfbatch.core.states import BatchState


@dataclass(frozen=True, slots=True)
class ProgressSnapshot:
    """One batch at one moment. Counts are jobs of the present generation.

    ``counts`` maps each job state (its string) that occurs to a number; terminal
    states count only what is durable. ``verdicts`` and ``errors`` (error type to
    number) count what the batch has produced so far. ``total`` is None while a
    streamed batch is not sealed. ``rate_per_s`` is smoothed; ``eta_s`` is None
    while it is not known. ``worker_rates``: jobs a second of each worker that is on it.
    """

    batch_id: str
    name: str | None
    status: BatchState
    total: int | None
    counts: Mapping[str, int] = field(default_factory=dict)
    verdicts: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    rate_per_s: float = 0.0
    eta_s: float | None = None
    elapsed_s: float = 0.0
    workers: int = 0
    worker_rates: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None
    queue: str = ""
    updated_at: float = 0.0

    @property
    def done(self) -> int:
        """Jobs with a durable outcome, whatever it is."""
        return sum(self.counts.get(s, 0) for s in ("succeeded", "failed", "cancelled", "expired"))

    @property
    def failed(self) -> int:
        """Jobs that failed or expired."""
        return self.counts.get("failed", 0) + self.counts.get("expired", 0)

    @property
    def fraction(self) -> float | None:
        """0..1, or None while the total is not known."""
        if self.total is None:
            return None
        return self.done / self.total if self.total else 1.0

    @property
    def percent(self) -> float:
        """Jobs with an outcome, of a hundred."""
        return 100.0 * (self.fraction or 0.0)
