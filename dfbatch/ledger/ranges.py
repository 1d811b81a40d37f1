"""Sets of job indices as half-open ranges: how events name millions of neighbours in a few bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Ranges = Sequence[Sequence[int]]


def decode_ranges(ranges: Ranges) -> Int64s:
    """The indices of sorted half-open ranges ``[start, stop]``."""
    pieces = [np.arange(start, stop, dtype=np.int64) for start, stop in ranges]
    return np.concatenate(pieces) if pieces else np.empty(0, np.int64)


def in_ranges(indices: Int64s, ranges: Ranges) -> npt.NDArray[np.bool_]:
    """For each index whether one of the sorted half-open ranges holds it."""
    if not ranges:
        return np.zeros(len(indices), np.bool_)
    bounds = np.asarray(ranges, np.int64)
    place = np.searchsorted(bounds[:, 0], indices, side="right") - 1
    return np.asarray((place >= 0) & (indices < bounds[np.maximum(place, 0), 1]))
