"""A clock tells one moment on two scales; tests move it by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.clock import Clock, ManualClock, SystemClock
from dfbatch.core.instant import Instant

SECONDS = st.floats(0, 1e6, allow_nan=False)


def test_the_system_clock_never_goes_back_on_its_monotonic_scale() -> None:
    clock: Clock = SystemClock()
    first, second = clock.now(), clock.now()
    assert second.mono >= first.mono
    assert first.wall > 1_735_689_600, "before 2025: the clock of this machine is wrong"


def test_a_manual_clock_stands_still() -> None:
    clock = ManualClock()
    assert clock.now() == clock.now()


@given(SECONDS)
def test_advance_moves_both_scales(seconds: float) -> None:
    clock = ManualClock(wall=10.0, mono=5.0)
    assert clock.advance(seconds) == Instant(10.0 + seconds, 5.0 + seconds) == clock.now()


@given(st.floats(-1e6, 1e6, allow_nan=False))
def test_a_wall_jump_leaves_durations_alone(seconds: float) -> None:
    clock = ManualClock(wall=10.0, mono=5.0)
    clock.jump_wall(seconds)
    assert clock.now() == Instant(10.0 + seconds, 5.0)


def test_an_instant_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Instant(1.0, 2.0).wall = 3.0  # type: ignore[misc]


@given(SECONDS)
def test_later_keeps_the_distance_of_the_scales(seconds: float) -> None:
    assert Instant(100.0, 40.0).later(seconds) == Instant(100.0 + seconds, 40.0 + seconds)
