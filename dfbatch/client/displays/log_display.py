"""Progress as sparse lines of text, for logs, pipes and CI."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from dfbatch.client.displays.display import Pace
from dfbatch.client.displays.wording import one_line
from dfbatch.core.progress import ProgressSnapshot

_QUIET_START_S = 2.0


class LogDisplay:
    """One line every few seconds, every minute later on, and one at the end."""

    def __init__(
        self, stream: TextIO, clock: Callable[[], float] = time.monotonic, quiet_s: float = _QUIET_START_S
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._pace = Pace(least_s=5.0, most_s=60.0, fraction=0.1, quiet_s=quiet_s)

    def update(self, snapshot: ProgressSnapshot) -> None:
        if self._pace.is_due(self._clock()):
            self.say(one_line(snapshot))

    def close(self, snapshot: ProgressSnapshot) -> None:
        self.say(one_line(snapshot))

    def say(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()
