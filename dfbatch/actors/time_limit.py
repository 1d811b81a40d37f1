"""The hard limit of an item's time."""

from __future__ import annotations

import faulthandler
from typing import TextIO


class TimeLimit:
    """Ends the process, with the stack in a file, when one item takes too long: a C thread that needs no GIL.

    Arming costs 62 µs, so it is done again only after a tenth of the limit: an item
    gets between 1 and 1.1 times its limit. Without a file for the stack nothing is limited.
    """

    def __init__(self, limit_s: float | None, stack_file: TextIO | None) -> None:
        self._limit_s = limit_s if stack_file is not None else None
        self._file = stack_file
        self._armed_at = -1e18

    def item_starts(self, now: float) -> None:
        if self._limit_s is not None and now - self._armed_at > 0.1 * self._limit_s:
            self._armed_at = now
            assert self._file is not None
            faulthandler.dump_traceback_later(1.1 * self._limit_s, exit=True, file=self._file)

    def ends(self) -> None:
        if self._limit_s is not None:
            faulthandler.cancel_dump_traceback_later()
