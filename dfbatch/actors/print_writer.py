"""Standard output of a worker process: what verifiers print goes line by line to whoever listens, not to a notebook."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import BinaryIO, TextIO

LONGEST_LINE = 8_192
"""A line that grows longer without an end is passed on in pieces."""


class PrintWriter(io.TextIOBase):
    """Installed once in a process. Each thread has its own unfinished line, so that lines do not mix."""

    def __init__(self, behind: TextIO, say: Callable[[str], None]) -> None:
        """``behind``: the stream that was there; bytes and descriptors are asked of it. ``say`` gets whole lines."""
        self._behind = behind
        self._say = say
        self._threads = threading.local()

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        mine = self._threads
        whole = getattr(mine, "text", "") + text
        if "\n" not in text and len(whole) <= LONGEST_LINE:
            mine.text = whole
            return len(text)
        *lines, rest = whole.split("\n")
        while len(rest) > LONGEST_LINE:
            lines.append(rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        mine.text = rest
        if not getattr(mine, "is_saying", False):
            mine.is_saying = True  # whoever listens may print itself
            try:
                for line in lines:
                    # A progress bar draws one line over and over; only how it looked in the end is said.
                    self._say(line.rpartition("\r")[2] if not line.endswith("\r") else line[:-1].rpartition("\r")[2])
            finally:
                mine.is_saying = False
        return len(text)

    def flush(self) -> None:
        """Unfinished lines wait for their end."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._behind.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """For code that asks."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """Anything can be printed."""
        return "backslashreplace"

    @property
    def buffer(self) -> BinaryIO:
        """For code that writes bytes: past the listener, into the stream behind."""
        return self._behind.buffer
