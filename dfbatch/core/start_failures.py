"""Workers that cannot be started: try again less and less often, and say why."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
_LONGEST_CAUSE = 500
_HEAD = 150


@dataclass(slots=True)
class _Failing:
    cause: str
    pause_s: float
    next_at: float


class StartFailures:
    """By the key of a shape."""

    def __init__(self) -> None:
        self._failing: dict[str, _Failing] = {}

    def failed(self, shape: str, cause: str, now_mono: float) -> None:
        """A worker ended before it was of any use."""
        before = self._failing.get(shape)
        pause_s = FIRST_PAUSE_S if before is None else min(2 * before.pause_s, LONGEST_PAUSE_S)
        self._failing[shape] = _Failing(cause, pause_s, now_mono + pause_s)

    def came_up(self, shape: str) -> None:
        """A worker of this shape works: whatever was wrong is over."""
        self._failing.pop(shape, None)

    def may_start(self, shape: str, now_mono: float) -> bool:
        """False while the pause after the last failure of this shape lasts."""
        failing = self._failing.get(shape)
        return failing is None or now_mono >= failing.next_at

    def reasons(self) -> dict[str, str]:
        """Why nobody works, by shape; empty if nothing is wrong."""
        return {shape: f"Workers do not start: {_shortened(failing.cause)}" for shape, failing in self._failing.items()}


def _shortened(text: str) -> str:
    """How it begins and how it ends: what goes wrong stands in the last words of a traceback."""
    one_line = " ".join(text.split())
    return (
        one_line if len(one_line) <= _LONGEST_CAUSE else f"{one_line[:_HEAD]} ... {one_line[_HEAD - _LONGEST_CAUSE :]}"
    )
