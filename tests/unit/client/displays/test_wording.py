"""The words of a snapshot."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.client.displays.wording import (
    SYMBOLS,
    duration_words,
    one_line,
    rate_words,
    shorten,
    state_words,
    whole_percent,
    without_folder,
    worked,
)
from dfbatch.core.progress import ProgressSnapshot
from dfbatch.core.states import BatchState


def snap(status: str = "running", total: int | None = 10, **more: Any) -> ProgressSnapshot:
    return ProgressSnapshot("k3f2m9qx", more.pop("name", None), BatchState(status), total, **more)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0.0 s"),
        (-1.0, "0.0 s"),  # a clock that was set back
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1:00 min"),
        (185, "3:05 min"),
        (8_040, "2:14 h"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_duration_has_its_unit(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


@pytest.mark.parametrize(("rate", "words"), [(1310.4, "1,310 items/s"), (4.25, "4.2 items/s"), (0.05, "3.0 items/min")])
def test_a_slow_rate_is_told_by_the_minute(rate: float, words: str) -> None:
    assert rate_words(rate) == words


@pytest.mark.parametrize(
    ("status", "counts", "words"),
    [
        ("queued", {"queued": 3}, "queued, waiting for a worker"),
        ("running", {"succeeded": 3}, "running"),
        ("running", {"succeeded": 3, "failed": 2}, "running, 2 failed"),
        ("partial", {"succeeded": 8, "failed": 2}, "ended, 2 failed"),
        ("partial", {"succeeded": 8, "cancelled": 2}, "ended, 2 cancelled"),
        ("failed", {"failed": 2, "cancelled": 8}, "stopped early"),
        ("stalled", {}, "stalled"),
    ],
)
def test_the_state_is_said_in_words(status: str, counts: dict[str, int], words: str) -> None:
    assert state_words(snap(status, counts=counts)) == words


@pytest.mark.parametrize(
    ("message", "uri", "words"),
    [
        ("/a/b.jpg: It is cut.", "/a/b.jpg", "It is cut."),
        ("/a/b.jpg has no bytes.", "/a/b.jpg", "b.jpg has no bytes."),
        ("s3://c/a/b.jpg is gone", "s3://c/a/b.jpg", "b.jpg is gone"),
        ("b.jpg is gone", "b.jpg", "b.jpg is gone"),
        ("It is cut.", None, "It is cut."),
        (None, "/a", ""),
    ],
)
def test_a_folder_that_stands_beside_the_message_is_not_repeated(message, uri, words) -> None:
    assert without_folder(message, uri) == words


def test_every_batch_state_has_a_sign() -> None:
    assert set(SYMBOLS) == set(BatchState)


def test_a_bar_that_stopped_early_does_not_read_100_percent() -> None:
    stopped = snap("failed", 5000, counts={"failed": 50, "cancelled": 4950})
    assert (worked(stopped), whole_percent(stopped)) == (50, 1)


@given(st.integers(1, 10**7), st.data())
def test_100_percent_means_all(total: int, data: st.DataObject) -> None:
    done = data.draw(st.integers(0, total))
    percent = whole_percent(snap(total=total, counts={"succeeded": done}))
    assert 0 <= percent <= 100
    assert (percent == 100) == (done == total)


def test_one_line_holds_id_name_state_numbers_and_reason() -> None:
    line = one_line(
        snap("stalled", 5000, name="night\nrun", counts={"succeeded": 2000, "failed": 3}, reason="breaker 'x' is open")
    )
    assert line == "k3f2m9qx (night run): ! stalled, 2,003 of 5,000 (40 %), 3 failed. breaker 'x' is open"


def test_an_open_stream_has_no_percentage() -> None:
    assert "1,200 so far" in one_line(snap(total=None, counts={"succeeded": 1200}))


@given(st.text(), st.integers(1, 50))
def test_shortened_text_is_one_line_within_its_limit(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert len(short) <= limit
    assert short.isprintable()
