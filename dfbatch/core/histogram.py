"""How long things took, in bounded memory: counts by magnitude, from which quantiles are read."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_BITS = 4
"""Each doubling has ``2 ** _BITS`` bins, so that a bin is at most a sixteenth of its values wide."""
_FIRST_OCTAVE, _OCTAVES = -24, 46
LEAST, GREATEST = 2.0**_FIRST_OCTAVE, 2.0 ** (_FIRST_OCTAVE + _OCTAVES)
"""In seconds: 60 nanoseconds and 48 days. What is beyond counts as the nearer of the two."""
N_BINS = _OCTAVES << _BITS
_SHIFT = 52 - _BITS
_FIRST_BIN = int(np.float64(LEAST).view(np.int64)) >> _SHIFT
_EDGES = (np.arange(_FIRST_BIN, _FIRST_BIN + N_BINS + 1, dtype=np.int64) << _SHIFT).view(np.float64)


class LogHistogram:
    """Values of at least 0, in seconds or any other unit. Adding a chunk of thousands takes microseconds.

    Quantiles are exact within a sixteenth of the value, and never beyond the least and the greatest value added.
    """

    __slots__ = ("counts", "greatest", "least", "sum")

    def __init__(self) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros(N_BINS, np.int64)
        self.sum = 0.0
        self.least = np.inf
        self.greatest = 0.0

    def __len__(self) -> int:
        """How many values were added."""
        return int(self.counts.sum())

    def add(self, values: npt.ArrayLike) -> None:
        """Count every value of an array. Negative ones count as 0; what is no finite number is left out."""
        given = np.asarray(values, np.float64).ravel()
        total = float(given.sum())
        if not np.isfinite(total):
            given = given[np.isfinite(given)]
            total = float(given.sum())
        if not len(given):
            return
        least = float(given.min())
        if least < 0:
            given = np.maximum(given, 0.0)
            total, least = float(given.sum()), 0.0
        self.sum += total
        self.least = min(self.least, least)
        self.greatest = max(self.greatest, float(given.max()))
        # The bits of a positive float are its logarithm, but for the linear steps within an octave.
        inside = np.maximum(given, LEAST)
        np.minimum(inside, _EDGES[-2], out=inside)
        bins = inside.view(np.int64)
        bins >>= _SHIFT
        bins -= _FIRST_BIN
        self.counts += np.bincount(bins, minlength=N_BINS)

    def merge(self, other: LogHistogram) -> None:
        """Count what the other has counted, too."""
        self.counts += other.counts
        self.sum += other.sum
        self.least = min(self.least, other.least)
        self.greatest = max(self.greatest, other.greatest)

    def quantile(self, q: float) -> float | None:
        """The smallest value that a share ``q`` (0..1) of all does not exceed; None if there is none."""
        ends = np.cumsum(self.counts)
        n = int(ends[-1])
        if not n:
            return None
        rank = max(0, math.ceil(min(1.0, q) * n) - 1)
        bin_ = int(np.searchsorted(ends, rank, side="right"))
        inside = (rank - float(ends[bin_] - self.counts[bin_]) + 0.5) / float(self.counts[bin_])
        value = float(_EDGES[bin_] + inside * (_EDGES[bin_ + 1] - _EDGES[bin_]))
        return min(self.greatest, max(self.least, value))

    def quantiles(self, shares: Sequence[float]) -> list[float | None]:
        """``quantile`` of each share (0 to 1); None where nothing was counted."""
        return [self.quantile(q) for q in shares]

    def count_below(self, bound: float) -> int:
        """How many values are at most ``bound``, which is rounded up to the end of its bin."""
        return int(self.counts[: int(np.searchsorted(_EDGES, bound, side="left"))].sum())

    def clear(self) -> None:
        """Count anew, in place."""
        self.counts[:] = 0
        self.sum, self.least, self.greatest = 0.0, np.inf, 0.0
