"""Chunks are about half a second of work."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.core.chunking import FIRST_CHUNK, GROWTH, LARGEST_CHUNK, ChunkSizer


@pytest.mark.parametrize(
    ("n_ready", "n_workers", "size"),
    [
        (1_000_000, 4, FIRST_CHUNK),  # nothing is known of the items
        (8, 2, 1),  # few items: all workers get some
        (1, 4, 1),
        (0, 0, 1),
        (100, 0, 25),
    ],
)
def test_the_first_chunks_are_small(n_ready: int, n_workers: int, size: int) -> None:
    assert ChunkSizer().size(n_ready, n_workers) == size


def test_cheap_items_come_in_large_chunks_but_not_at_once() -> None:
    sizer = ChunkSizer()
    sizes = []
    for _ in range(4):
        sizes.append(sizer.size(10**8, 2))
        sizer.observe(sizes[-1], sizes[-1] * 1e-6)
    assert sizes == [FIRST_CHUNK, FIRST_CHUNK * GROWTH, FIRST_CHUNK * GROWTH**2, LARGEST_CHUNK]


def test_expensive_items_come_one_by_one() -> None:
    sizer = ChunkSizer()
    sizer.observe(4, 40.0)
    assert sizer.size(10**6, 2) == 1


def test_half_a_second_of_work_is_the_aim() -> None:
    sizer = ChunkSizer()
    sizer.observe(50, 0.5)
    assert sizer.size(10**6, 2) == 50


def test_towards_the_end_chunks_shrink_so_that_all_workers_end_together() -> None:
    sizer = ChunkSizer()
    sizer.observe(1_000, 0.01)
    assert sizer.size(120, 3) == 20


def test_the_cost_follows_what_came_last() -> None:
    sizer = ChunkSizer()
    sizer.observe(10, 10.0)
    for _ in range(20):
        sizer.observe(10, 0.1)
    assert sizer.cost_s == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(("n", "busy_s"), [(0, 1.0), (-3, 1.0), (5, -1.0), (5, math.nan)])
def test_a_report_without_sense_teaches_nothing(n: int, busy_s: float) -> None:
    sizer = ChunkSizer()
    sizer.observe(n, busy_s)
    assert sizer.cost_s is None


@given(
    reports=st.lists(st.tuples(st.integers(1, 70_000), st.floats(0, 1e4)), max_size=10),
    n_ready=st.integers(0, 10**9),
    n_workers=st.integers(0, 1_000),
)
def test_a_chunk_is_never_empty_and_never_huge(reports: list[tuple[int, float]], n_ready: int, n_workers: int) -> None:
    sizer = ChunkSizer()
    for n, busy_s in reports:
        sizer.observe(n, busy_s)
    assert 1 <= sizer.size(n_ready, n_workers) <= LARGEST_CHUNK
