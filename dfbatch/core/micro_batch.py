"""How many items a vectorised verifier gets at once: halved when memory ran out, grown back slowly."""

from __future__ import annotations

GROW_AFTER = 8
"""Calls of the full size that must succeed before a larger one is tried."""
PATIENCE = 4
"""So many times longer is waited before the size that failed is tried again."""


class MicroBatchSize:
    """Remembers, for one verifier on one worker, what has fitted. Without a failure there is no limit.

    After a failure at ``n`` the size is at most ``n / 2``. It grows by a quarter after
    ``GROW_AFTER`` successes of that size, up to one below ``n``; only after
    ``PATIENCE`` times as many successes there is ``n`` given another chance.
    """

    def __init__(self) -> None:
        self.size: int | None = None
        """The most items of one call, or None for as many as there are."""
        self._ceiling = 0
        self._n_good = 0

    def ran_out(self, n: int) -> None:
        """Memory did not suffice for ``n`` items at once."""
        if n < 1:
            raise ValueError(f"a call of {n} items cannot have run out of memory")
        self._ceiling = n
        self.size = max(1, min(n, self.size or n) // 2)
        self._n_good = 0

    def fitted(self, n: int) -> None:
        """``n`` items at once were no problem. Calls below the size say nothing about a larger one."""
        if self.size is None or n < self.size:
            return
        self._n_good += 1
        at_the_ceiling = self.size >= self._ceiling - 1
        if self._n_good < GROW_AFTER * (PATIENCE if at_the_ceiling else 1):
            return
        self._n_good = 0
        grown = self.size + max(1, self.size // 4)
        if at_the_ceiling:
            self._ceiling = max(self._ceiling + 1, grown + 1)
        self.size = min(grown, self._ceiling - 1)
