"""Work that could be leased now, as ranges and arrays: a fresh batch is one cursor, not a list."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]

_FAR_SIGHT = 65_536
"""Entries looked at in one go once stale ones were met: millions of ended jobs are skipped in milliseconds."""


class ReadyWork:
    """Job indices in the order they should be leased.

    Entries may be stale (the job ended meanwhile): ``take`` drops those by the
    state column, so that leaving the queue costs nothing.
    """

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, int] | Indices] = deque()

    def __bool__(self) -> bool:
        return bool(self._pieces)

    @property
    def nbytes(self) -> int:
        """Bytes of the indices held, ranges not counted."""
        return sum(p.nbytes for p in self._pieces if not isinstance(p, tuple))

    def append_range(self, start: int, stop: int) -> None:
        """The jobs ``start`` to ``stop`` (exclusive) go to the end; kept as two numbers."""
        if stop > start:
            self._pieces.append((start, stop))

    def prepend(self, indices: Indices) -> None:
        """Work that was leased before goes to the front, so that old work ends first."""
        if len(indices):
            self._pieces.appendleft(_compact(indices))

    def append(self, indices: Indices) -> None:
        """Sorted indices go to the end."""
        if len(indices):
            self._pieces.append(_compact(indices))

    def remove(self, indices: Indices) -> None:
        """Forget all entries of these jobs; the others keep their places."""
        pieces, self._pieces = self._pieces, deque()
        for piece in pieces:  # one by one: a job may be in several of them, and in each of them once
            entries = np.arange(*piece) if isinstance(piece, tuple) else piece
            self.append(entries[~np.isin(entries, indices)])

    def clear(self) -> None:
        """Forget all entries; the jobs themselves stay as they are."""
        self._pieces.clear()

    def entries(self) -> Indices:
        """All entries, stale ones and repeats too, in order. For checks: it writes ranges out."""
        pieces = [np.arange(*p) if isinstance(p, tuple) else p for p in self._pieces]
        return np.concatenate(pieces) if pieces else np.empty(0, np.int64)

    def take(self, n: int, states: npt.NDArray[np.uint8]) -> Indices:
        """Up to ``n`` distinct indices whose state code is 0 (queued), sorted."""
        taken: list[Indices] = []
        missing = reach = n
        while missing > 0 and self._pieces:
            piece = self._pieces.popleft()
            window = _head(piece, reach)
            live = np.flatnonzero(states[window] == 0)[:missing]
            used = int(live[-1]) + 1 if len(live) == missing else len(window)
            rest = _without_head(piece, used)
            if rest is not None:
                self._pieces.appendleft(rest)
            taken.append(window if len(live) == len(window) else window[live])
            missing -= len(live)
            if len(live) < used:
                reach = max(n, _FAR_SIGHT)
        if len(taken) == 1:
            return taken[0]
        return np.unique(np.concatenate(taken)) if taken else np.empty(0, np.int64)


def _head(piece: tuple[int, int] | Indices, n: int) -> Indices:
    if isinstance(piece, tuple):
        return np.arange(piece[0], min(piece[1], piece[0] + n), dtype=np.int64)
    return piece[:n]


def _without_head(piece: tuple[int, int] | Indices, n: int) -> tuple[int, int] | Indices | None:
    if isinstance(piece, tuple):
        return (piece[0] + n, piece[1]) if piece[0] + n < piece[1] else None
    return piece[n:] if n < len(piece) else None


def _compact(indices: Indices) -> tuple[int, int] | Indices:
    """A range if the indices are one, else the array."""
    first, last = int(indices[0]), int(indices[-1])
    if last - first + 1 == len(indices) and (len(indices) < 2 or bool(np.all(np.diff(indices) == 1))):
        return (first, last + 1)
    return indices
