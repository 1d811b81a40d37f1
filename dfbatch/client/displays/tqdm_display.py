"""Progress as one tqdm bar in a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TextIO

from dfbatch.client.displays.display import Pace
from dfbatch.client.displays.wording import one_line, pace_words, state_words, title, worked
from dfbatch.core.progress import ProgressSnapshot
from dfbatch.core.states import BatchState

_WITH_TOTAL = "{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt}{postfix}"
_WITHOUT_TOTAL = "{desc} {n_fmt} so far{postfix}"
_LONGEST_NAME = 20
"""So that a bar and its numbers still fit into 80 columns."""
_COLOURS = {
    BatchState.SUCCEEDED: "green",
    BatchState.PARTIAL: "yellow",
    BatchState.FAILED: "red",
    BatchState.EXPIRED: "red",
    BatchState.STALLED: "yellow",
}


class TqdmDisplay:
    """One bar. It stays where the batch ended: a batch that stopped at 40 % shows 40 %, in red."""

    def __init__(self, stream: TextIO, colour: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._colour = colour
        self._clock = clock
        self._pace = Pace(least_s=0.1, most_s=1.0)
        self._bar: Any = None

    def update(self, snapshot: ProgressSnapshot) -> None:
        if self._pace.is_due(self._clock()):
            self._paint(snapshot)

    def close(self, snapshot: ProgressSnapshot) -> None:
        if self._bar is None:
            self.say(one_line(snapshot))
            return
        self._paint(snapshot)
        self._bar.close()
        self._bar = None
        if snapshot.reason:
            self.say(one_line(snapshot))

    def say(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def _paint(self, snapshot: ProgressSnapshot) -> None:
        bar = self._bar if self._bar is not None else self._open()
        bar.total = snapshot.total
        bar.n = worked(snapshot)
        bar.bar_format = _WITHOUT_TOTAL if snapshot.total is None else _WITH_TOTAL
        bar.colour = _COLOURS.get(snapshot.status) if self._colour else None
        bar.set_description_str(title(snapshot, _LONGEST_NAME), refresh=False)
        bar.set_postfix_str(", ".join([state_words(snapshot), *pace_words(snapshot)]), refresh=False)
        bar.refresh()

    def _open(self) -> Any:
        from tqdm import tqdm

        # ``disable`` is given so that TQDM_DISABLE does not undo an explicit choice of this display.
        # ``delay`` keeps tqdm from drawing a bar of its own, without total or name, before the first of ours.
        self._bar = tqdm(file=self._stream, disable=False, dynamic_ncols=True, leave=True, mininterval=0, delay=1e-9)
        return self._bar
