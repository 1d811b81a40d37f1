"""Where a worker is, in memory that survives its death.

Three int64 in a small mapped file: lease id, job index, and how many items are run in one call. The
page cache keeps them when the process is killed; the next incarnation reads which
item the last one died on. Storing costs about 0.1 µs (measured; see ledger.md).
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path

import numpy as np

_SIZE = 3 * 8


def marks_folder(namespace: str) -> Path:
    """A folder of this user on this machine for the marks of one namespace."""
    folder = Path(tempfile.gettempdir()) / f"dfbatch-marks-{os.getuid()}" / namespace
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


class PositionMark:
    """The mark of one worker name."""

    def __init__(self, folder: Path, worker: str) -> None:
        self.path = folder / f"{worker}.mark"
        self.stack_path = folder / f"{worker}.stack"
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, _SIZE)
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self.cells = np.frombuffer(self._map, np.int64)
        """Writable view: ``cells[0]`` lease, ``cells[1]`` first index, ``cells[2]`` items of the call, 0 for one."""

    def last(self) -> tuple[int, int] | None:
        """(lease id, job index) of the item under work when this was last written, or None."""
        lease, index = int(self.cells[0]), int(self.cells[1])
        return (lease, index) if lease else None

    def last_count(self) -> int:
        """How many items of the lease, from the marked one on, were run in one call."""
        return max(1, int(self.cells[2]))

    def clear(self) -> None:
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

    def remove(self) -> None:
        """Leave nothing behind at an orderly end."""
        self.path.unlink(missing_ok=True)
        self.stack_path.unlink(missing_ok=True)
