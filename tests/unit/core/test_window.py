"""Windows count the last calls, by number or by time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.core.window import FAILED, SLOW, TIME_SLOTS, CountWindow, TimeWindow

CALLS = st.lists(st.tuples(st.floats(0, 3), st.booleans(), st.booleans()), max_size=120)
"""Seconds since the call before, whether it failed, whether it was slow."""


def counts(window: Any) -> tuple[int, int, int]:
    return window.n, window.failed, window.slow


@given(CALLS, st.integers(1, 30))
def test_a_count_window_knows_the_last_calls_and_no_others(calls: list[tuple[float, bool, bool]], size: int) -> None:
    window = CountWindow(size)
    for k, (_, failed, slow) in enumerate(calls):
        window.add(0.0, failed, slow)
        last = calls[max(0, k + 1 - size) : k + 1]
        assert counts(window) == (len(last), sum(c[1] for c in last), sum(c[2] for c in last))


@given(CALLS, st.floats(0.5, 20))
def test_a_time_window_knows_the_calls_of_its_slots(calls: list[tuple[float, bool, bool]], seconds: float) -> None:
    window, width, now = TimeWindow(seconds), seconds / TIME_SLOTS, 1_000.0
    seen = []
    for gap, failed, slow in calls:
        now += gap
        window.add(now, failed, slow)
        seen.append((now // width, failed, slow))
        kept = [c for c in seen if c[0] > now // width - TIME_SLOTS]
        assert counts(window) == (len(kept), sum(c[1] for c in kept), sum(c[2] for c in kept))


def test_a_time_window_forgets_while_nobody_calls() -> None:
    window = TimeWindow(10.0)
    window.add(100.0, True, False)
    window.roll(109.0)
    assert counts(window) == (1, 1, 0)
    window.roll(110.5)
    assert counts(window) == (0, 0, 0)
    window.add(1e9, False, True)  # after a very long pause it does not count slot by slot
    assert counts(window) == (1, 0, 1)


def test_a_call_that_comes_a_little_late_is_counted_with_the_newest() -> None:
    window = TimeWindow(1.0)
    window.add(50.0, False, False)
    window.add(49.9, True, False)
    assert counts(window) == (2, 1, 0)


@pytest.mark.parametrize("window", [CountWindow(5), TimeWindow(5.0)])
def test_a_window_can_be_cleared(window: Any) -> None:
    for _ in range(9):
        window.add(1.0, True, True)
    window.clear()
    assert counts(window) == (0, 0, 0)
    window.add(1.0, False, False)
    assert counts(window) == (1, 0, 0)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 11])
def test_the_calls_of_a_count_window_are_told_in_their_order(n):
    window = CountWindow(4)
    given = [(k % 3 == 0) + 2 * (k % 2) for k in range(n)]
    for call in given:
        window.add(0.0, bool(call & FAILED), bool(call & SLOW))
    assert window.calls() == tuple(given[-4:])
    assert TimeWindow(1.0).calls() == ()
