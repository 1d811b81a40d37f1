"""Work that could be leased now, as ranges and arrays: a fresh batch is one cursor, not a list."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


class ReadyWork:
    """Job indices in the order they should be leased.

    Entries may be stale (the job ended meanwhile): ``take`` drops those by the
    state column, so that leaving the queue costs nothing.
    """

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, int] | Indices] = deque()

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def append_range(self, start: int, stop: int) -> None:
        if stop > start:
            self._pieces.append((start, stop))

    def prepend(self, indices: Indices) -> None:
        """Work that was leased before goes to the front, so that old work ends first."""
        if len(indices):
            self._pieces.appendleft(_compact(indices))

    def append(self, indices: Indices) -> None:
        if len(indices):
            self._pieces.append(_compact(indices))

    def clear(self) -> None:
        self._pieces.clear()

    def take(self, n: int, states: npt.NDArray[np.uint8]) -> Indices:
        """Up to ``n`` distinct indices whose state code is 0 (queued), sorted."""
        taken: list[Indices] = []
        missing = n
        while missing > 0 and self._pieces:
            piece = self._pieces.popleft()
            if isinstance(piece, tuple):
                start, stop = piece
                head = np.arange(start, min(stop, start + missing), dtype=np.int64)
                rest: tuple[int, int] | Indices | None = (start + missing, stop) if start + missing < stop else None
            else:
                head = piece[:missing]
                rest = piece[missing:] if len(piece) > missing else None
            if rest is not None:
                self._pieces.appendleft(rest)
            live = states[head] == 0
            head = head if live.all() else head[live]
            taken.append(head)
            missing -= len(head)
        if len(taken) == 1:
            return taken[0]
        return np.unique(np.concatenate(taken)) if taken else np.empty(0, np.int64)


def _compact(indices: Indices) -> tuple[int, int] | Indices:
    """A range if the indices are one, else the array."""
    first, last = int(indices[0]), int(indices[-1])
    if last - first + 1 == len(indices) and (len(indices) < 2 or bool(np.all(np.diff(indices) == 1))):
        return (first, last + 1)
    return indices
