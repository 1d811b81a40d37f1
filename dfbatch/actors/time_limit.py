"""The hard limit of an item's time."""

from __future__ import annotations

import faulthandler
from pathlib import Path
from typing import TextIO

_OWN_FOLDER = str(Path(__file__).parent)
_CALLERS = ("run.py", "verifier_code.py")
"""Ours that call the user's code."""
_LONGEST_DUMP = 20_000
TIMEOUT_HEAD = "Timeout ("
"""How faulthandler begins the stack of a time limit; that of a crash begins otherwise."""


class TimeLimit:
    """Ends the process, with the stack in a file, when one item takes too long: a C thread that needs no GIL.

    Arming costs 62 µs, so it is done again only after a tenth of the limit: an item
    gets between 1 and 1.1 times its limit; a micro-batch gets that for each of its
    items. Without a file for the stack nothing is limited.
    """

    def __init__(self, limit_s: float | None, stack_file: TextIO | None) -> None:
        self._limit_s = limit_s if stack_file is not None else None
        self._file = stack_file
        self._armed_at = -1e18

    def item_starts(self, now: float, n_items: int = 1) -> None:
        """``n_items`` begin together at ``now`` (monotonic seconds)."""
        if self._limit_s is not None and (n_items > 1 or now - self._armed_at > 0.1 * self._limit_s):
            self._armed_at = now
            assert self._file is not None
            faulthandler.dump_traceback_later(1.1 * self._limit_s * n_items, exit=True, file=self._file)

    def ends(self) -> None:
        """No item is at hand: the limit rests until the next one starts."""
        if self._limit_s is not None:
            faulthandler.cancel_dump_traceback_later()


def where_it_hung(stack: str) -> str:
    """The frames of user code, the innermost first; the whole dump if none is found."""
    return user_frames(stack, "Where it was when its time was over")


def user_frames(stack: str, head: str) -> str:
    """Out of a dump of all threads those frames that are not ours, under ``head``; the whole dump if none is found."""
    for block in stack.split("\n\n"):
        lines = block.splitlines()
        own = next((k for k, line in enumerate(lines) if _OWN_FOLDER in line), 0)
        if any(name in block for name in _CALLERS) and own > 1:
            return "\n".join([f"{head} (innermost call first):", *lines[1:own]])
    return stack[:_LONGEST_DUMP]
