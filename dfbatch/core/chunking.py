"""How many jobs go into one chunk: about half a second of work, smaller towards the end."""

from __future__ import annotations

from dataclasses import dataclass

TARGET_S = 0.5
FIRST_CHUNK = 64
LARGEST_CHUNK = 65_536
GROWTH = 16
"""A chunk is at most this many times the last: one cheap item says little about the others."""
_WEIGHT = 0.4


@dataclass
class ChunkSizer:
    """Learns the cost of an item of one batch from the chunks that came back."""

    cost_s: float | None = None
    largest_seen: int = 0
    cap: int = LARGEST_CHUNK

    def observe(self, n: int, busy_s: float) -> None:
        """A worker was busy ``busy_s`` seconds with ``n`` jobs."""
        if n <= 0 or not busy_s >= 0.0:
            return
        self.largest_seen = max(self.largest_seen, n)
        cost = max(busy_s, 1e-9) / n
        self.cost_s = cost if self.cost_s is None else (1 - _WEIGHT) * self.cost_s + _WEIGHT * cost

    @property
    def is_slow(self) -> bool:
        """True if one item takes as long as a chunk should: nothing is gained by fetching such items ahead."""
        return self.cost_s is not None and self.cost_s >= TARGET_S

    def size(self, n_ready: int, n_workers: int) -> int:
        """Jobs for the next chunk when ``n_ready`` wait and ``n_workers`` share them; at least 1."""
        share = -(-n_ready // (2 * max(1, n_workers)))
        if self.cost_s is None:
            wanted = min(FIRST_CHUNK, -(-share // 2))
        else:
            wanted = min(int(TARGET_S / self.cost_s), self.largest_seen * GROWTH)
        return max(1, min(wanted, share, self.cap))
