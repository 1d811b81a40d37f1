"""Quantiles from counts by magnitude agree with those of the values themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.core.histogram import GREATEST, LEAST, N_BINS, LogHistogram

WIDTH = 1 / 16
durations = st.lists(st.floats(LEAST, GREATEST / 2), min_size=1, max_size=200)
shares = st.floats(0.0, 1.0)


def histogram(values: object) -> LogHistogram:
    found = LogHistogram()
    found.add(np.asarray(values))
    return found


@given(durations, shares)
def test_a_quantile_lies_where_numpy_says_within_a_sixteenth(values: list[float], q: float) -> None:
    found = histogram(values).quantile(q)
    assert found is not None
    assert found == pytest.approx(np.quantile(values, q, method="inverted_cdf"), rel=WIDTH)


@given(durations, durations, shares)
def test_merging_is_as_if_all_had_been_added_to_one(ours: list[float], theirs: list[float], q: float) -> None:
    merged, together = histogram(ours), histogram(ours + theirs)
    merged.merge(histogram(theirs))
    assert merged.quantile(q) == together.quantile(q)
    assert (len(merged), merged.sum) == (len(together), pytest.approx(together.sum))


@given(durations, st.lists(shares, min_size=2, max_size=5))
def test_quantiles_rise_with_their_share_and_stay_between_least_and_greatest(
    values: list[float], given_shares: list[float]
) -> None:
    found = histogram(values).quantiles(sorted(given_shares))
    assert found == sorted(found)  # type: ignore[type-var]
    assert min(values) <= found[0] <= found[-1] <= max(values)  # type: ignore[operator]


@given(durations, st.floats(1e-5, 1e5))
def test_what_is_at_most_a_bound_is_counted_within_a_bin(values: list[float], bound: float) -> None:
    found = histogram(values).count_below(bound)
    given_values = np.array(values)
    assert (given_values <= bound).sum() <= found + (given_values == bound).sum()
    assert found <= (given_values <= bound * (1 + WIDTH)).sum()


def test_values_far_from_one_another_are_told_apart() -> None:
    found = histogram([0.001] * 90 + [2.0] * 9 + [3_600.0])
    assert found.quantile(0.5) == pytest.approx(0.001, rel=WIDTH)
    assert found.quantile(0.95) == pytest.approx(2.0, rel=WIDTH)
    assert found.quantile(1.0) == pytest.approx(3_600.0, rel=WIDTH)


def test_nothing_is_known_of_nothing() -> None:
    assert LogHistogram().quantiles([0.5, 0.99]) == [None, None]
    assert len(LogHistogram()) == 0


@pytest.mark.parametrize(
    ("values", "n", "least"),
    [
        ([], 0, None),
        ([np.nan, np.inf, -np.inf], 0, None),
        ([np.nan, 2.0], 1, 2.0),
        ([-3.0, 2.0], 2, 0.0),  # a clock that went back
        ([0.0], 1, 0.0),
        ([1e-300, 1e300], 2, 1e-300),  # beyond the bins on both sides
    ],
)
def test_odd_values_are_left_out_or_bounded(values: list[float], n: int, least: float | None) -> None:
    found = histogram(values)
    assert len(found) == n
    assert found.quantile(0.0) == (None if least is None else pytest.approx(least, abs=1e-6))
    assert np.isfinite(found.sum)


def test_memory_does_not_grow_and_it_can_be_used_again() -> None:
    found = LogHistogram()
    for k in range(100):
        found.add(np.full(1_000, 10.0**k))
    assert (found.counts.shape, len(found)) == ((N_BINS,), 100_000)
    found.clear()
    assert (len(found), found.sum, found.quantile(0.5)) == (0, 0.0, None)
