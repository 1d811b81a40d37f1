"""Keeps the errors of a display away from the work."""

from __future__ import annotations

import logging
from collections.abc import Callable

from dfbatch.client.displays.display import NullDisplay, ProgressDisplay
from dfbatch.core.progress import ProgressSnapshot

_logger = logging.getLogger("dfbatch.progress")


class Shield:
    """A display around another one: if that fails, it is logged once and not used again."""

    def __init__(self, display: ProgressDisplay) -> None:
        self._display = display

    def update(self, snapshot: ProgressSnapshot) -> None:
        self._guard(lambda: self._display.update(snapshot))

    def close(self, snapshot: ProgressSnapshot) -> None:
        self._guard(lambda: self._display.close(snapshot))

    def say(self, text: str) -> None:
        self._guard(lambda: self._display.say(text))

    def _guard(self, paint: Callable[[], None]) -> None:
        try:
            paint()
        except Exception:
            _logger.exception("Progress can no longer be shown; the work goes on")
            self._display = NullDisplay()
