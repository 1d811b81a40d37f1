"""When a worker should make room for a fresh process: after so many items, or when it keeps too much memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SOFT_PART = 0.75
"""Of a memory cap: a process that keeps more than this between two chunks is near its end anyhow."""
LEAST_GROWTH = 0.1
"""Of the soft cap: what a process has used from its first chunk on is what its verifier needs, not a leak."""


@dataclass(slots=True)
class Recycling:
    """What one process has done and kept. Memory in resident bytes.

    The first chunk of each verifier sets what it needs: a model that fills the soft
    cap by itself would otherwise be loaded again after every chunk.
    """

    n_items: int = 0
    needed_bytes: int = 0
    verifier: str = ""

    def after_chunk(
        self, verifier: str, n_items: int, resident: int, after_items: int | None, soft_bytes: int | None
    ) -> str | None:
        """Why the process should be replaced now, or None."""
        self.n_items += n_items
        if verifier != self.verifier:
            self.verifier, self.needed_bytes = verifier, max(self.needed_bytes, resident)
        if after_items is not None and self.n_items >= after_items:
            return f"it has worked {self.n_items:,} items, and is renewed after {after_items:,}"
        if soft_bytes is None or resident <= soft_bytes:
            return None
        if resident - self.needed_bytes < LEAST_GROWTH * soft_bytes:
            return None
        return f"it keeps {resident >> 20} MiB of memory, more than {soft_bytes >> 20} MiB"


def recycling_limits(options: Mapping[str, Any], cap: int | None) -> tuple[int | None, int | None]:
    """(after how many items, above how many resident bytes) by the options of a batch and its memory cap."""
    soft = options.get("recycle_above_bytes")
    if soft is None and cap is not None:
        soft = int(SOFT_PART * cap)
    return options.get("recycle_after_items"), soft
