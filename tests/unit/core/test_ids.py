"""Ids are short, sort by time, and forgive what a person mistypes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.core.ids import job_id, new_batch_id, parse_id
from dfbatch.errors import InvalidInput

WALL_2025 = 1_735_689_600.0
LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
# Five letters hold 32^5 minutes: until the year 2088.
MOMENTS = st.floats(WALL_2025, WALL_2025 + 60 * (32**5 - 1), allow_nan=False)
BATCH_IDS = st.text(LETTERS, min_size=8, max_size=8)


@given(MOMENTS, st.integers())
def test_a_new_id_is_eight_letters_and_is_read_back(wall: float, seed: int) -> None:
    batch_id = new_batch_id(wall, random.Random(seed))
    assert len(batch_id) == 8
    assert set(batch_id) <= set(LETTERS)
    assert parse_id(batch_id) == (batch_id, None)


@given(MOMENTS, MOMENTS, st.integers())
def test_ids_sort_by_the_minute_they_were_made(one: float, other: float, seed: int) -> None:
    rng = random.Random(seed)
    earlier, later = sorted((one, other))
    assert new_batch_id(earlier, rng)[:5] <= new_batch_id(later, rng)[:5]


def test_the_time_part_grows_by_one_each_minute() -> None:
    rng = random.Random(1)
    assert [new_batch_id(WALL_2025 + 60 * minute, rng)[:5] for minute in (0, 1, 31, 32)] == [
        "00000",
        "00001",
        "0000z",
        "00010",
    ]


def test_the_same_chance_gives_the_same_id() -> None:
    assert new_batch_id(1.78e9, random.Random(7)) == new_batch_id(1.78e9, random.Random(7))


def test_ids_of_one_minute_differ_by_chance() -> None:
    rng = random.Random(7)
    assert len({new_batch_id(1.78e9, rng) for _ in range(20)}) == 20


def test_a_clock_before_2025_still_gives_an_id() -> None:
    assert parse_id(new_batch_id(0.0, random.Random(1)))[1] is None


@given(BATCH_IDS, st.integers(0, 10**9))
def test_a_job_id_is_read_back(batch_id: str, index: int) -> None:
    assert parse_id(job_id(batch_id, index)) == (batch_id, index)


@given(BATCH_IDS, st.none() | st.integers(0, 10**9))
def test_upper_case_and_space_around_are_forgiven(batch_id: str, index: int | None) -> None:
    text = batch_id if index is None else job_id(batch_id, index)
    assert parse_id(f"  {text.upper()}\n") == (batch_id, index)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("k3f2m9qO", "k3f2m9q0"),  # the letter o for zero
        ("k3f2m9ql", "k3f2m9q1"),  # l for one
        ("k3f2m9qI-2", "k3f2m9q1"),  # i for one
    ],
)
def test_look_alikes_are_forgiven(typed: str, meant: str) -> None:
    assert parse_id(typed)[0] == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k3f2m9q",  # too short
        "k3f2m9qxx",  # too long
        "k3f2m9qx-",  # no index
        "k3f2m9qx--1",
        "k3f2m9qx-1-2",
        "k3f2m9qx-1.5",
        "k3f2m9qx- 1",
        "k3f2m9qx-x",
        "k3f2 9qx",
        "k3f2m9q\x00",
        "../../etc",
        "k3f2m9qx'; drop table jobs",
        "ключключ",
    ],
)
def test_what_is_no_id_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match="k3f2m9qx-17"):
        parse_id(text)


@given(st.text(max_size=40))
def test_any_text_is_an_id_or_is_refused(text: str) -> None:
    try:
        batch_id, index = parse_id(text)
    except InvalidInput:
        return
    assert set(batch_id) <= set(LETTERS)
    assert index is None or index >= 0
