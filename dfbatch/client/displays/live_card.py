"""A card that keeps itself up to date while the notebook goes on: what ``Batch.show()`` puts into a cell."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable

from dfbatch.client.displays.choice import surroundings
from dfbatch.client.displays.display import ProgressDisplay
from dfbatch.client.displays.html_display import HtmlDisplay
from dfbatch.client.displays.log_display import LogDisplay
from dfbatch.client.displays.shield import Shield
from dfbatch.core.progress import ProgressSnapshot
from dfbatch.errors import DfbatchError

_POLL_S = 1.0
_LEAST_POLL_S = 0.1

_logger = logging.getLogger("dfbatch.progress")


class LiveCard:
    """Follows one batch from a thread of its own until the batch ends or ``stop`` is called.

    ``poll(max_wait_s)`` may block that long for news. The card itself is made in the
    calling thread, so that it belongs to the calling cell; the thread only repaints it.
    Outside a notebook it is sparse lines on stderr.
    """

    def __init__(self, poll: Callable[[float], ProgressSnapshot], display: ProgressDisplay | None = None) -> None:
        self._poll = poll
        self._display = Shield(display if display is not None else _card_or_line())
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> LiveCard:
        """Show the card now. A batch that has ended gets a static one, and no thread."""
        snapshot = self._poll(0.0)
        if snapshot.status.is_terminal:
            self._display.close(snapshot)
            return self
        self._display.update(snapshot)
        name = f"dfbatch-card-{snapshot.batch_id}"
        self._thread = threading.Thread(target=self._follow, args=(snapshot,), name=name, daemon=True)
        self._thread.start()
        return self

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop following; the card stays as it is and says that it is no longer updated. The work goes on."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _ipython_display_(self) -> None:
        """Nothing more: ``start`` has shown the card."""

    @property
    def is_live(self) -> bool:
        """True while the card is being repainted."""
        return self._thread is not None and self._thread.is_alive()

    def _follow(self, snapshot: ProgressSnapshot) -> None:
        try:
            while not self._stopped.is_set() and not snapshot.status.is_terminal:
                snapshot = self._poll(_POLL_S)
                if not snapshot.status.is_terminal:
                    self._display.update(snapshot)
                    # A manager that answers at once, news or not, must not be asked without end.
                    self._stopped.wait(_LEAST_POLL_S)
        except DfbatchError as error:
            # The client was closed, or its manager is gone: the cell that made the card ended long ago.
            _logger.info("The card of batch %s is no longer updated: %s", snapshot.batch_id, error)
        self._display.close(snapshot)


def _card_or_line() -> ProgressDisplay:
    around = surroundings(sys.stderr, os.environ)
    return HtmlDisplay(quiet_s=0.0) if around.notebook else LogDisplay(sys.stderr, quiet_s=0.0)
