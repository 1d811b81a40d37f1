"""A rate is what the last seconds say."""

from __future__ import annotations

import pytest

from dfbatch.core.rate import RateMeter


def test_nothing_is_known_at_first() -> None:
    assert RateMeter().per_s(5.0) == 0.0


def test_the_first_outcomes_count_from_the_start() -> None:
    meter = RateMeter()
    meter.start(0.0)
    meter.add(2.0, 10)
    assert meter.per_s(2.0) == pytest.approx(5.0)


def test_outcomes_that_come_right_after_the_start_count_too() -> None:
    """A worker whose first items take milliseconds is not one that does nothing."""
    meter = RateMeter()
    meter.start(0.0)
    for at in (0.01, 0.04, 0.08):
        meter.add(at, 1)
    assert meter.per_s(1.0) == pytest.approx(3.0)
    meter.add(1.0, 7)
    assert meter.per_s(2.0) == pytest.approx(5.0)


def test_a_second_start_changes_nothing() -> None:
    meter = RateMeter()
    meter.start(0.0)
    meter.start(1.0)
    meter.add(2.0, 10)
    assert meter.per_s(2.0) == pytest.approx(5.0)


def test_only_the_window_counts() -> None:
    meter = RateMeter(window_s=10.0)
    meter.start(0.0)
    meter.add(1.0, 1_000)
    for second in range(20, 31):
        meter.add(float(second), 2)
    assert meter.per_s(30.0) == pytest.approx(2.0)


def test_silence_lets_the_rate_fall_to_nothing() -> None:
    meter = RateMeter(window_s=10.0)
    meter.start(0.0)
    meter.add(1.0, 100)
    assert meter.per_s(1.0) > meter.per_s(5.0) > 0.0
    assert meter.per_s(60.0) == 0.0


def test_a_million_small_reports_take_no_room() -> None:
    meter = RateMeter(window_s=10.0)
    meter.start(0.0)
    for k in range(10_000):
        meter.add(k * 0.001, 1)
    assert len(meter._samples) < 150
    assert meter.per_s(10.0) == pytest.approx(1_000, rel=0.05)
