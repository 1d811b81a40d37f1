"""Waiting for a batch while its progress is shown: poll, draw, and leave the screen in order."""

from __future__ import annotations

import time
from collections.abc import Callable

from dfbatch.client.displays.display import ProgressDisplay
from dfbatch.client.displays.shield import Shield
from dfbatch.client.displays.wording import detached_words
from dfbatch.core.progress import ProgressSnapshot

_POLL_S = 0.4
_LEAST_POLL_S = 0.05


def watch(
    poll: Callable[[float], ProgressSnapshot],
    display: ProgressDisplay,
    timeout_s: float | None,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> ProgressSnapshot:
    """Wait until the batch has ended or ``timeout_s`` has passed; return the newest snapshot.

    ``poll(max_wait_s)`` may block that long for news. The last moment is painted
    however this ends; a batch that had ended before shows nothing. On KeyboardInterrupt
    the user is told how to attach again and how to cancel, and the interrupt goes on to
    the caller; the work is not touched.
    """
    shown = Shield(display)
    deadline = None if timeout_s is None else clock() + timeout_s
    snapshot = poll(0.0)
    if snapshot.status.is_terminal:
        return snapshot
    try:
        while not snapshot.status.is_terminal:
            shown.update(snapshot)
            now = clock()
            left = _POLL_S if deadline is None else min(_POLL_S, deadline - now)
            if left <= 0:
                break
            snapshot = poll(left)
            # A manager that answers at once, news or not, must not be asked without end.
            if not snapshot.status.is_terminal and (spare := min(_LEAST_POLL_S, left) - (clock() - now)) > 0:
                pause(spare)
    except KeyboardInterrupt:
        shown.close(snapshot)
        shown.say(detached_words(snapshot.batch_id))
        raise
    except BaseException:
        shown.close(snapshot)
        raise
    shown.close(snapshot)
    return snapshot
