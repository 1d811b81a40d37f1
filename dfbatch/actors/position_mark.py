"""Where a worker is, in memory that survives its death.

Three int64 in a small mapped file: lease id, job index, and how many items are run in one call. The
page cache keeps them when the process is killed; the next incarnation reads which
item the last one died on. Storing costs about 0.1 µs (measured; see ledger.md).
Behind them, written once a chunk: its first job, if its jobs are neighbours, and its verifier.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dfbatch.core.death import CONSTRUCTING

_CELLS = 3
_FIRST_AT = _CELLS * 8
_VERIFIER_AT = _FIRST_AT + 8
_SIZE = _VERIFIER_AT + 128
_SCATTERED = -1


def marks_folder(namespace: str) -> Path:
    """A folder of this user on this machine for the marks of one namespace."""
    folder = Path(tempfile.gettempdir()) / f"dfbatch-marks-{os.getuid()}" / namespace
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def breakers_path(folder: Path, worker: str) -> Path:
    """Where its circuit breakers are written down."""
    return folder / f"{worker}.breakers"


class PositionMark:
    """The mark of one worker name."""

    def __init__(self, folder: Path, worker: str) -> None:
        self.path = folder / f"{worker}.mark"
        self.stack_path = folder / f"{worker}.stack"
        self.breakers_path = breakers_path(folder, worker)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, _SIZE)
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self._first = np.frombuffer(self._map, np.int64, 1, _FIRST_AT)
        self.cells = np.frombuffer(self._map, np.int64, _CELLS)
        """Writable view: ``cells[0]`` lease, ``cells[1]`` first index, ``cells[2]`` items of the call, 0 for one."""

    def last(self) -> tuple[int, int] | None:
        """(lease id, job index) of the item under work when this was last written, or None."""
        lease, index = int(self.cells[0]), int(self.cells[1])
        return (lease, index) if lease else None

    @property
    def is_at_item(self) -> bool:
        """True if an item was under work, and not the construction of a verifier."""
        at = self.last()
        return at is not None and at[1] != CONSTRUCTING

    def last_count(self) -> int:
        """How many items of the lease, from the marked one on, were run in one call."""
        return max(1, int(self.cells[2]))

    def begin(self, verifier: str, indices: npt.NDArray[np.int64]) -> None:
        """A chunk of these jobs (sorted) begins; ``clear`` does not forget it."""
        neighbours = len(indices) > 0 and int(indices[-1]) - int(indices[0]) + 1 == len(indices)
        self._first[0] = indices[0] if neighbours else _SCATTERED
        name = verifier.encode()[: _SIZE - _VERIFIER_AT]
        self._map[_VERIFIER_AT:_SIZE] = name.ljust(_SIZE - _VERIFIER_AT, b"\0")

    def last_verifier(self) -> str:
        """The fingerprint of the verifier whose chunk began last; empty if none did."""
        return self._map[_VERIFIER_AT:_SIZE].rstrip(b"\0").decode(errors="replace")

    def last_begun(self) -> int:
        """How many items of the chunk came before the marked one; 0 if that cannot be told."""
        first, at = int(self._first[0]), self.last()
        return 0 if at is None or first == _SCATTERED else max(0, at[1] - first)

    def clear(self) -> None:
        """No item is at hand: a death from here on is nobody's fault."""
        self.cells[:] = 0

    def take_stack(self) -> str:
        """The stack that a time limit left behind, and forget it."""
        try:
            text = self.stack_path.read_text(errors="replace")
            # Emptied, not removed: the next stack is written to the file that is open already.
            os.truncate(self.stack_path, 0)
        except FileNotFoundError:
            return ""
        return text

    def remove(self, is_renewed: bool = False) -> None:
        """Leave nothing behind at an orderly end; where a fresh process takes over, what it must know of breakers."""
        self.path.unlink(missing_ok=True)
        self.stack_path.unlink(missing_ok=True)
        if not is_renewed:
            self.breakers_path.unlink(missing_ok=True)
