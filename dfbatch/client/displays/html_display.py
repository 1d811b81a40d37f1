"""Progress as a card in a notebook: one output, repainted in place, static at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from dfbatch.client.displays.card import batch_card, batch_strip
from dfbatch.client.displays.display import QUIET_START_S, Pace
from dfbatch.client.displays.wording import one_line
from dfbatch.core.progress import ProgressSnapshot

Bundle = dict[str, str]
"""A MIME bundle: ``text/plain`` and ``text/html``."""


class Slot(Protocol):
    """One output area that can be painted again."""

    def update(self, bundle: Bundle) -> None:
        """Paint this in place of what is there; from any thread."""
        ...


class IPythonSlot:
    """An output of the running cell, found again by its display id."""

    def __init__(self, bundle: Bundle) -> None:
        from IPython.display import display

        # A display id rather than a widget: it needs no extension, survives a reload,
        # and an update reaches the right cell from whichever thread it comes.
        show: Callable[..., Any] = display
        self._handle = show(bundle, raw=True, display_id=True)

    def update(self, bundle: Bundle) -> None:
        self._handle.update(bundle, raw=True)


class HtmlDisplay:
    """A live card. Paints at most three times a second, ever more seldom in a long wait, never the same twice."""

    def __init__(
        self,
        open_slot: Callable[[Bundle], Slot] = IPythonSlot,
        clock: Callable[[], float] = time.monotonic,
        quiet_s: float = QUIET_START_S,
    ) -> None:
        self._open_slot = open_slot
        self._clock = clock
        self._pace = Pace(least_s=0.34, most_s=5.0, quiet_s=quiet_s)
        self._slot: Slot | None = None
        self._painted: Bundle | None = None

    def update(self, snapshot: ProgressSnapshot) -> None:
        if self._pace.is_due(self._clock()):
            self._paint(_bundle(snapshot, batch_card(snapshot)))

    def close(self, snapshot: ProgressSnapshot) -> None:
        html = batch_card(snapshot, live=False) if self._slot else batch_strip(snapshot)
        self._paint(_bundle(snapshot, html))

    def say(self, text: str) -> None:
        self._open_slot({"text/plain": text})

    def _paint(self, bundle: Bundle) -> None:
        if self._slot is None:
            self._slot = self._open_slot(bundle)
        elif bundle != self._painted:
            self._slot.update(bundle)
        self._painted = bundle


def _bundle(snapshot: ProgressSnapshot, html: str) -> Bundle:
    return {"text/plain": one_line(snapshot), "text/html": html}
