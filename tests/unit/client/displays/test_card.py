"""The card of a batch: everything is told in words, escaped, and within a byte budget."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.client.displays.card import batch_card, batch_strip
from dfbatch.client.displays.card_style import STYLE
from dfbatch.core.progress import ProgressSnapshot
from dfbatch.core.states import BatchState, JobState

_BYTE_BUDGET = 12_000


def snap(status: str = "running", total: int | None = 100, **more: Any) -> ProgressSnapshot:
    return ProgressSnapshot("k3f2m9qx", more.pop("name", None), BatchState(status), total, **more)


class _Reader(HTMLParser):
    """Visible text and the tags of a card, and whether every tag was closed."""

    def __init__(self, card: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(card.removeprefix(STYLE))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def read(card: str) -> _Reader:
    reader = _Reader(card)
    assert reader.open == []
    return reader


@pytest.mark.parametrize("status", list(BatchState))
def test_every_state_is_told_by_word_and_by_colour(status: BatchState) -> None:
    card = batch_card(snap(status, counts={"failed": 3}))
    words = {BatchState.PARTIAL: "ended", BatchState.FAILED: "stopped early"}.get(status, status.value)
    assert words in read(card).text
    assert f'class="dfb dfb-{status.value}"' in card


def test_numbers_pace_errors_and_the_way_back_are_on_the_card() -> None:
    card = batch_card(
        snap(
            total=50_000,
            name="Claims of May",
            counts={"succeeded": 12_840, "failed": 412, "running": 64, "queued": 36_684},
            verdicts={"ai_generated": 300, "no_manipulation_found": 9_120},
            errors={"MediaMissing": 30, "MediaTruncated": 380},
            rate_per_s=312.4,
            eta_s=117.0,
            elapsed_s=42.3,
            workers=8,
        )
    )
    text = read(card).text
    for words in (
        "Claims of May",
        "12,840 succeeded",
        "412 failed",
        "36,684 queued",
        "of 50,000",
        "312 items/s",
        "about 1:57 min",
        "300 AI generated",
        "380 \u00d7 MediaTruncated 30 \u00d7 MediaMissing",
        'client.attach("k3f2m9qx")',
    ):
        assert words in text, words


def test_the_reason_of_a_stall_is_shown() -> None:
    assert "breaker 'scorer' is open" in read(batch_card(snap("stalled", reason="breaker 'scorer' is open"))).text


def test_a_card_that_is_no_longer_watched_says_so() -> None:
    assert "is not updated" in read(batch_card(snap(), live=False)).text
    assert "is not updated" not in read(batch_card(snap("succeeded"), live=False)).text


def test_segments_of_the_bar_fill_the_share_of_their_jobs() -> None:
    card = batch_card(snap(total=200, counts={"succeeded": 100, "failed": 50, "queued": 50}))
    assert re.findall(r'class="dfb-(\w+)" style="width:([\d.]+)%', card) == [
        ("succeeded", "50.00"),
        ("failed", "25.00"),
    ]


def test_a_stream_without_a_total_shows_no_percentage() -> None:
    text = read(batch_card(snap(total=None, counts={"succeeded": 1200, "queued": 80}))).text
    assert "stream still open" in text
    assert "%" not in text


@pytest.mark.parametrize("draw", [batch_card, batch_strip])
@given(
    hostile=st.text(st.characters(codec="utf-8")) | st.sampled_from(["<script>x</script>", '"><img src=x>', "&amp;"]),
    status=st.sampled_from(BatchState),
    total=st.none() | st.integers(0, 10**9),
    counts=st.dictionaries(st.sampled_from([s.value for s in JobState]), st.integers(0, 10**9)),
)
def test_nothing_a_user_or_a_file_says_becomes_markup(
    draw: Any, hostile: str, status: BatchState, total: int | None, counts: dict[str, int]
) -> None:
    snapshot = ProgressSnapshot(
        "k3f2m9qx",
        hostile,
        status,
        total,
        counts,
        {hostile: 3},
        {hostile: 3},
        reason=hostile,
        queue=hostile,
    )
    assert set(read(draw(snapshot)).tags) <= {"div", "span", "b", "i", "code"}


def test_a_card_keeps_to_its_byte_budget_whatever_the_batch_holds() -> None:
    card = batch_card(
        snap(
            total=10**9,
            name="<" * 10_000,
            counts={s.value: 10**9 for s in JobState},
            verdicts={f"{'v' * 500}{n}": 10**9 for n in range(1000)},
            errors={f"{'&' * 500}{n}": 10**9 for n in range(1000)},
            reason="<" * 10_000,
            queue="<" * 1000,
        )
    )
    assert len(card.encode()) < _BYTE_BUDGET
