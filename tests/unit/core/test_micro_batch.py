"""The size of a micro-batch: halved at once, grown back slowly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.core.micro_batch import GROW_AFTER, PATIENCE, MicroBatchSize


def test_there_is_no_limit_before_memory_ran_out() -> None:
    size = MicroBatchSize()
    size.fitted(1_000_000)
    assert size.size is None


def test_it_is_halved_at_once_and_again_until_one_is_left() -> None:
    size, seen, n = MicroBatchSize(), [], 20
    for _ in range(6):
        size.ran_out(n)
        n = size.size or 0
        seen.append(n)
    assert seen == [10, 5, 2, 1, 1, 1]


def test_it_grows_only_after_several_full_calls() -> None:
    size = MicroBatchSize()
    size.ran_out(64)
    for _ in range(GROW_AFTER - 1):
        size.fitted(32)
    assert size.size == 32
    size.fitted(32)
    assert size.size == 40


def test_smaller_calls_say_nothing_about_larger_ones() -> None:
    size = MicroBatchSize()
    size.ran_out(64)
    for _ in range(1_000):
        size.fitted(31)
    assert size.size == 32


def test_what_failed_is_tried_again_but_late() -> None:
    size = MicroBatchSize()
    size.ran_out(4)
    n_calls = 0
    while (size.size or 0) < 4:
        size.fitted(size.size or 1)
        n_calls += 1
    assert n_calls == GROW_AFTER + PATIENCE * GROW_AFTER


def test_a_call_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="0 items"):
        MicroBatchSize().ran_out(0)


@given(capacity=st.integers(1, 500), n_calls=st.integers(0, 2_000))
def test_it_finds_what_fits_and_seldom_tries_more(capacity: int, n_calls: int) -> None:
    """Against memory for ``capacity`` items: failures are rare, and at least a quarter of it is used in the end."""
    size, n_failed, total = MicroBatchSize(), 0, 1_000
    for _ in range(n_calls):
        n = min(total, size.size or total)
        if n > capacity:
            before = size.size or n
            size.ran_out(n)
            n_failed += 1
            assert size.size is not None
            assert 1 <= size.size <= max(1, before // 2)
        else:
            size.fitted(n)
        assert size.size is None or size.size >= 1
    assert n_failed <= 10 + n_calls / GROW_AFTER
    if n_calls >= 400:
        assert (size.size or total) >= min(capacity, total) // 4
