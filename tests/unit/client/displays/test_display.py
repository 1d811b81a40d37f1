"""The displays: how often they paint, and what stays on the screen."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest

from dfbatch.client.displays.display import Pace
from dfbatch.client.displays.html_display import Bundle, HtmlDisplay
from dfbatch.client.displays.log_display import LogDisplay
from dfbatch.client.displays.tqdm_display import TqdmDisplay
from dfbatch.clock import ManualClock
from dfbatch.core.progress import ProgressSnapshot
from dfbatch.core.states import BatchState

pytestmark = pytest.mark.integration

RUNNING = ProgressSnapshot("k3f2m9qx", None, BatchState.RUNNING, 1000, {"succeeded": 400}, rate_per_s=50.0, eta_s=12.0)
ENDED = replace(RUNNING, status=BatchState.SUCCEEDED, counts={"succeeded": 1000}, elapsed_s=20.0)
STOPPED = replace(RUNNING, status=BatchState.FAILED, counts={"succeeded": 390, "failed": 10, "cancelled": 600})


class Screen:
    """Keeps what a notebook would show: one bundle per output area."""

    def __init__(self) -> None:
        self.areas: list[Bundle] = []
        self.paintings = 0
        self.bytes = 0

    def open(self, bundle: Bundle) -> Any:
        self.areas.append(bundle)
        index = len(self.areas) - 1
        self._count(bundle)
        screen = self

        class Area:
            def update(self, new: Bundle) -> None:
                screen.areas[index] = new
                screen._count(new)

        return Area()

    def _count(self, bundle: Bundle) -> None:
        self.paintings += 1
        self.bytes += sum(len(text.encode()) for text in bundle.values())


class Watched:
    """A display fed at 20 Hz on a clock moved by hand."""

    def __init__(self, display: Any, clock: ManualClock) -> None:
        self.display = display
        self._clock = clock

    def run(self, seconds: float) -> None:
        for tick in range(round(seconds * 20)):
            done = {"succeeded": tick % 1000}
            self.display.update(replace(RUNNING, counts=done, elapsed_s=tick / 20))
            self._clock.advance(0.05)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def card(screen: Screen, clock: ManualClock) -> Watched:
    return Watched(HtmlDisplay(screen.open, lambda: clock.now().mono), clock)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def bar(stream: io.StringIO, clock: ManualClock) -> Watched:
    return Watched(TqdmDisplay(stream, colour=False, clock=lambda: clock.now().mono), clock)


@pytest.fixture
def log(stream: io.StringIO, clock: ManualClock) -> Watched:
    return Watched(LogDisplay(stream, lambda: clock.now().mono), clock)


def test_pace_starts_quiet_and_slows_down() -> None:
    pace = Pace(least_s=0.5, most_s=5.0, fraction=0.01)
    due = [tick / 10 for tick in range(20_000) if pace.is_due(tick / 10)]
    assert due[0] == 0.5
    assert due[2] - due[1] == pytest.approx(0.5, abs=0.11)
    assert due[-1] - due[-2] == pytest.approx(5.0, abs=0.11)


class TestCard:
    def test_a_card_paints_at_most_four_times_a_second(self, card: Watched, screen: Screen) -> None:
        card.run(10)
        assert 20 <= screen.paintings <= 40

    def test_an_hour_of_waiting_costs_a_bounded_number_of_bytes(self, card: Watched, screen: Screen) -> None:
        card.run(3600)
        assert len(screen.areas) == 1
        assert screen.paintings < 1500
        assert screen.bytes < 12_000_000

    def test_the_last_card_is_static_and_has_plain_text_beside_it(self, card: Watched, screen: Screen) -> None:
        card.run(1)
        card.display.close(ENDED)
        assert len(screen.areas) == 1
        assert "succeeded" in screen.areas[0]["text/html"]
        assert screen.areas[0]["text/plain"].startswith("k3f2m9qx: ✓ succeeded, 1,000 of 1,000 (100 %)")

    def test_a_batch_that_ends_at_once_shows_one_line_only(self, card: Watched, screen: Screen) -> None:
        card.run(0.4)
        assert screen.areas == []
        card.display.close(ENDED)
        assert len(screen.areas) == 1
        assert "dfb-strip" in screen.areas[0]["text/html"]

    def test_a_moment_that_looks_the_same_is_not_sent_again(
        self, card: Watched, screen: Screen, clock: ManualClock
    ) -> None:
        for _ in range(100):
            card.display.update(RUNNING)
            clock.advance(0.5)
        assert screen.paintings == 1


class TestBar:
    def test_a_bar_that_stopped_early_stays_where_it_stopped(self, bar: Watched, stream: io.StringIO) -> None:
        bar.run(1)
        bar.display.close(STOPPED)
        last = stream.getvalue().split("\r")[-1]
        assert "40% " in last
        assert "stopped early" in last
        assert last.endswith("\n")

    def test_the_end_of_a_bar_is_painted_though_no_painting_is_due(self, bar: Watched, stream: io.StringIO) -> None:
        bar.run(1)
        bar.display.close(ENDED)
        assert "100% " in stream.getvalue().split("\r")[-1]

    def test_no_bar_is_opened_for_a_batch_that_ends_at_once(self, bar: Watched, stream: io.StringIO) -> None:
        bar.run(0.4)
        bar.display.close(ENDED)
        assert stream.getvalue() == "k3f2m9qx: ✓ succeeded, 1,000 of 1,000 (100 %), 50.0 items/s, took 20 s\n"

    def test_a_stream_without_a_total_has_a_counter_instead_of_a_bar(
        self, bar: Watched, stream: io.StringIO, clock: ManualClock
    ) -> None:
        for _ in range(20):
            bar.display.update(replace(RUNNING, total=None))
            clock.advance(0.1)
        bar.display.close(replace(ENDED, total=None))
        assert "1000 so far" in stream.getvalue().split("\r")[-1]

    def test_without_colour_no_escape_codes_are_written(self, bar: Watched, stream: io.StringIO) -> None:
        bar.run(1)
        bar.display.close(STOPPED)
        assert "\x1b[3" not in stream.getvalue()


class TestLog:
    def test_a_log_gets_sparse_lines_and_a_last_one(self, log: Watched, stream: io.StringIO) -> None:
        log.run(600)
        log.display.close(ENDED)
        lines = stream.getvalue().splitlines()
        assert 10 <= len(lines) <= 40
        assert lines[-1].startswith("k3f2m9qx: ✓ succeeded")

    def test_control_characters_of_a_name_do_not_reach_the_terminal(self, log: Watched, stream: io.StringIO) -> None:
        log.display.close(replace(ENDED, name="\x1b[2Jboo\nhoo"))
        assert "\x1b" not in stream.getvalue()
        assert len(stream.getvalue().splitlines()) == 1
