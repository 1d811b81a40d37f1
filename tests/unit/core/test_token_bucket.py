"""A rate limit saves up a burst and no more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.core.token_bucket import TokenBucket


def test_a_full_bucket_holds_one_second_of_tokens() -> None:
    assert TokenBucket.full(5.0, 0.0).available(0.0) == 5


def test_a_slow_bucket_holds_one_token() -> None:
    bucket = TokenBucket.full(0.1, 0.0)
    assert bucket.available(1e6) == 1


@pytest.mark.parametrize(("at", "tokens"), [(0.0, 0), (0.49, 0), (0.5, 1), (1.6, 3), (99.0, 4)])
def test_tokens_drip_in_up_to_the_burst(at: float, tokens: int) -> None:
    bucket = TokenBucket.full(2.0, 0.0, burst=4.0)
    bucket.take(4)
    assert bucket.available(at) == tokens


def test_the_wait_is_until_the_next_whole_token() -> None:
    bucket = TokenBucket.full(2.0, 0.0, burst=1.0)
    assert bucket.wait_s() == 0.0
    bucket.take(1)
    assert bucket.wait_s() == pytest.approx(0.5)


def test_a_clock_that_stands_still_gives_nothing() -> None:
    bucket = TokenBucket.full(2.0, 10.0)
    bucket.take(2)
    assert bucket.available(9.0) == 0


@given(rate=st.floats(0.01, 100), steps=st.lists(st.floats(0, 10), min_size=1, max_size=30))
def test_no_more_is_taken_than_rate_and_burst_allow(rate: float, steps: list[float]) -> None:
    bucket, now, taken = TokenBucket.full(rate, 0.0, burst=3.0), 0.0, 0
    for step in steps:
        now += step
        n = bucket.available(now)
        bucket.take(n)
        taken += n
    assert taken <= 3.0 + rate * now + 1e-6
