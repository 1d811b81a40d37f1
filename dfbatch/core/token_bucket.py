"""A rate limit: tokens drip in at a rate, up to a burst; each job takes one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class TokenBucket:
    """``rate_per_s`` tokens a second, at most ``burst`` saved up. Time is monotonic seconds."""

    rate_per_s: float
    burst: float
    tokens: float
    filled_at: float

    @classmethod
    def full(cls, rate_per_s: float, now_mono: float, burst: float | None = None) -> TokenBucket:
        """A bucket with all its tokens; without ``burst`` it holds those of one second, at least one."""
        size = max(1.0, rate_per_s if burst is None else burst)
        return cls(rate_per_s, size, size, now_mono)

    def available(self, now_mono: float) -> int:
        """Whole tokens that could be taken now."""
        elapsed = max(0.0, now_mono - self.filled_at)
        self.tokens = min(self.burst, self.tokens + elapsed * self.rate_per_s)
        self.filled_at = now_mono
        # A token that is there but for rounding is there.
        return int(self.tokens + 1e-9)

    def take(self, n: int) -> None:
        """Remove tokens; more than there are leaves a debt that later ones pay."""
        self.tokens -= n

    def wait_s(self) -> float:
        """Seconds until the next whole token, by what is known now."""
        return max(0.0, (1.0 - self.tokens) / self.rate_per_s)
