"""The memory cap of a worker: what goes beyond it costs the item that asked for it, not the machine.

Two lines of defence. The system refuses private memory beyond the cap
(``RLIMIT_DATA``), so that the item sees a MemoryError, which is an exception like any
other. What the system does not count (shared pages, and memory that was asked for
long before it was touched) a thread sees in the resident size; it ends the process
and leaves a note, so that the next incarnation calls it out of memory, not a crash.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WATCH_S = 0.05
"""Seconds between two looks while there is a cap."""
LAZY_WATCH_S = 0.5
"""The same while there is none: only the note is kept."""
OVERDRAFT = 1 / 16
"""The process is ended when it is beyond its cap by this part: the system's refusal should come first."""
LEAST_ROOM_BYTES = 64 << 20
"""A cap that leaves less than this to the verifier is a mistake."""
EXIT_CODE = 137
_PAGE = os.sysconf("SC_PAGE_SIZE")
_CELLS = 4
_SIZE = _CELLS * 8


@dataclass(frozen=True, slots=True)
class MemoryNote:
    """What was last known of the memory of a process. Sizes in bytes; ``cap`` 0 is none.

    ``ended``: its own watch ended it. ``oom_kills``: processes of this machine that
    its kernel had killed for want of memory.
    """

    ended: bool = False
    resident: int = 0
    cap: int = 0
    oom_kills: int = 0

    @property
    def was_at_its_cap(self) -> bool:
        """True if its own watch ended it, or nine tenths of the cap were in use."""
        return self.ended or (self.cap > 0 and self.resident >= 0.9 * self.cap)


class MemoryLimit:
    """Guards the memory of this process. Without a folder it does nothing, for workers that share a process."""

    def __init__(self, folder: Path | None = None, worker: str = "") -> None:
        self._cap: int | None = None
        self._changing = threading.RLock()
        """A look that began under the last cap must not set the limit of the system after it was changed or lifted."""
        self._stopped, self._news = False, threading.Event()
        self._thread: threading.Thread | None = None
        self._path = None if folder is None else folder / f"{worker}.memory"
        self._cells = np.zeros(_CELLS, np.int64)
        self._last = MemoryNote()
        self._before = resource.getrlimit(resource.RLIMIT_DATA)
        self._first = self.resident()
        if self._path is not None:
            self._cells = _mapped(self._path)
            self._last = MemoryNote(bool(self._cells[0]), *map(int, self._cells[1:]))
            self._cells[:] = 0

    @property
    def last_note(self) -> MemoryNote:
        """What the process before this one, of the same worker, left."""
        return self._last

    @staticmethod
    def resident() -> int:
        """Resident bytes of this process."""
        return _sizes()[0]

    def too_small(self, cap: int | None) -> str | None:
        """Why no verifier can run under this cap, or None."""
        needed = self._first + LEAST_ROOM_BYTES
        if self._path is None or cap is None or cap >= needed:
            return None
        return (
            f"memory={cap} ({cap / 2**20:.0f} MiB) is less than a worker needs before the verifier has loaded "
            f"anything ({self._first / 2**20:.0f} MiB, and {LEAST_ROOM_BYTES >> 20} MiB of room). "
            f"Give at least memory={-(-needed >> 20 << 20)}."
        )

    def start(self) -> None:
        """Begin to watch. The thread ends with ``stop`` or with the process."""
        if self._path is not None and self._thread is None:
            self._look()
            self._thread = threading.Thread(target=self._watch, name="dfbatch-memory", daemon=True)
            self._thread.start()

    def set(self, cap: int | None) -> None:
        """Hold the process to ``cap`` resident bytes from now on; None lifts it."""
        if self._path is None:
            return
        with self._changing:
            self._cap = cap
            self._cells[2] = cap or 0
            if cap is None:
                self.lift()
            else:
                self._look()
                self._news.set()

    def lift(self) -> None:
        """Let allocations through until the next look: who clears up after a MemoryError needs some."""
        if self._path is not None:
            with self._changing, contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_DATA, self._before)

    def stop(self) -> None:
        """End of an orderly life: nothing is left behind."""
        self._stopped = True
        self._news.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        self.set(None)
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _watch(self) -> None:
        while not self._stopped:
            try:
                self._watch_once()
            except MemoryError:  # under its own cap: the verifier has taken what a look needs, and may give it back
                time.sleep(WATCH_S)

    def _watch_once(self) -> None:
        if self._news.wait(LAZY_WATCH_S if self._cap is None else WATCH_S):
            self._news.clear()
        else:
            self._look()

    def _look(self) -> None:
        with self._changing:
            self._look_once()

    def _look_once(self) -> None:
        resident, data = _sizes()
        cap = self._cap
        self._cells[1] = resident
        if cap is None:
            self._cells[3] = oom_kills()
            return
        if resident > cap * (1 + OVERDRAFT):
            self._cells[0] = 1
            os._exit(EXIT_CODE)
        # What is asked for and not touched is no resident memory: the room is what is left of the cap.
        _, hard = self._before
        limit = data + max(0, cap - resident)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))


def oom_kills() -> int:
    """Processes that the kernel of this machine has killed for want of memory since it started; 0 if unknown."""
    with contextlib.suppress(OSError, ValueError), open("/proc/vmstat") as file:
        for line in file:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _sizes() -> tuple[int, int]:
    """(resident, data) bytes of this process; data is all private memory that may be written."""
    with open("/proc/self/statm") as file:
        pages = file.read().split()
    return int(pages[1]) * _PAGE, int(pages[5]) * _PAGE


def _mapped(path: Path) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The cells of a note; the page cache keeps them when the process is killed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(descriptor, _SIZE)
        return np.frombuffer(mmap.mmap(descriptor, _SIZE), np.int64)
    finally:
        os.close(descriptor)
