"""Rows that nobody waits for are committed together, the more so the dearer a commit is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.core.group_commit import (
    COST_SHARE,
    GATHER_MANY_S,
    GATHER_S,
    LONGEST_S,
    MANY_ROWS,
    gather_s,
    learned,
)


def test_where_commits_are_cheap_rows_are_durable_soon():
    assert gather_s(1, 0.001) == GATHER_S


def test_very_many_rows_wait_a_little_longer_for_fewer_files_whatever_small_commits_cost():
    assert gather_s(MANY_ROWS + 1, 0.001) == gather_s(MANY_ROWS + 1, 1.0) == GATHER_MANY_S


def test_a_dear_commit_is_made_as_rarely_as_its_share_of_time_demands():
    assert gather_s(1, 0.02) == pytest.approx(0.02 / COST_SHARE)


@given(n_rows=st.integers(0, 10_000_000), commit_s=st.floats(0.0, 3600.0))
def test_no_row_waits_longer_than_the_bound_and_none_less_than_the_least(n_rows, commit_s):
    assert GATHER_S <= gather_s(n_rows, commit_s) <= LONGEST_S


@given(before=st.floats(0.001, 100.0), took_s=st.floats(0.0, 100.0), n_rows=st.integers(1, MANY_ROWS))
def test_one_slow_commit_counts_for_half(before, took_s, n_rows):
    assert min(before, took_s) <= learned(before, n_rows, took_s) <= max(before, took_s)
    assert learned(0.0, n_rows, took_s) == took_s


def test_a_commit_of_very_many_rows_says_nothing_of_small_ones():
    assert learned(0.01, MANY_ROWS + 1, 5.0) == 0.01
