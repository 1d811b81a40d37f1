"""Work to lease: ranges stay ranges, ended jobs drop out by themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.core.ready import ReadyWork

QUEUED, LEASED, ENDED = 0, 2, 6


def array(*indices: int) -> np.ndarray:
    return np.array(indices, np.int64)


@pytest.fixture
def states() -> np.ndarray:
    return np.zeros(100, np.uint8)


def test_a_fresh_batch_is_a_cursor(states: np.ndarray) -> None:
    ready = ReadyWork()
    ready.append_range(0, 100)
    assert ready.take(3, states).tolist() == [0, 1, 2]
    assert ready.take(2, states).tolist() == [3, 4]
    assert ready.nbytes == 0


def test_nothing_gives_nothing(states: np.ndarray) -> None:
    ready = ReadyWork()
    ready.append_range(5, 5)
    ready.append(array())
    ready.prepend(array())
    assert not ready
    assert len(ready.take(5, states)) == 0
    assert len(ready.entries()) == 0


def test_old_work_goes_first(states: np.ndarray) -> None:
    ready = ReadyWork()
    ready.append_range(0, 10)
    ready.prepend(array(50, 52))
    assert ready.take(3, states).tolist() == [0, 50, 52]


def test_neighbours_become_a_range() -> None:
    ready = ReadyWork()
    ready.append(np.arange(1_000, dtype=np.int64))
    assert ready.nbytes == 0
    ready.append(array(1, 3))
    assert ready.nbytes == 16


def test_ended_jobs_are_dropped(states: np.ndarray) -> None:
    ready = ReadyWork()
    ready.append_range(0, 10)
    ready.append(array(20, 22))
    states[[0, 1, 4, 20]] = ENDED
    assert ready.take(100, states).tolist() == [2, 3, 5, 6, 7, 8, 9, 22]
    assert not ready


def test_a_job_with_two_entries_is_given_once(states: np.ndarray) -> None:
    ready = ReadyWork()
    ready.append_range(0, 5)
    ready.prepend(array(2, 3))
    assert ready.take(10, states).tolist() == [0, 1, 2, 3, 4]


def test_removed_jobs_are_forgotten_and_the_others_keep_their_places(states: np.ndarray) -> None:
    ready = ReadyWork()
    ready.append_range(0, 5)
    ready.prepend(array(1, 3, 4))
    ready.remove(array(0, 3))
    assert ready.entries().tolist() == [1, 4, 1, 2, 4]
    assert ready.take(10, states).tolist() == [1, 2, 4]


def test_clear_forgets_all(states: np.ndarray) -> None:
    ready = ReadyWork()
    ready.append_range(0, 5)
    ready.clear()
    assert len(ready.take(5, states)) == 0


def test_millions_of_ended_jobs_are_skipped_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk of one job after two million cancelled ones looks at blocks, not at single jobs."""
    states = np.full(2_000_000, ENDED, np.uint8)
    states[-1] = QUEUED
    ready = ReadyWork()
    ready.append_range(0, len(states))
    looks = 0
    plain = np.flatnonzero

    def counted(*args: Any) -> Any:
        nonlocal looks
        looks += 1
        return plain(*args)

    monkeypatch.setattr(np, "flatnonzero", counted)
    assert ready.take(1, states).tolist() == [len(states) - 1]
    assert looks < 50


@given(data=st.data())
def test_every_queued_entry_is_given_exactly_once(data: st.DataObject) -> None:
    states = np.array(
        data.draw(st.lists(st.sampled_from([QUEUED, QUEUED, 2, ENDED]), min_size=1, max_size=40)), np.uint8
    )
    n, ready, entered = len(states), ReadyWork(), set()
    for _ in range(data.draw(st.integers(1, 5))):
        some = sorted(data.draw(st.sets(st.integers(0, n - 1))))
        getattr(ready, data.draw(st.sampled_from(["append", "prepend"])))(array(*some))
        entered |= set(some)
    assert set(ready.entries().tolist()) == entered
    expected = sorted(i for i in entered if states[i] == QUEUED)
    given_out: list[int] = []
    while len(chunk := ready.take(data.draw(st.integers(1, 7)), states)):
        assert sorted(set(chunk.tolist())) == chunk.tolist()
        given_out += chunk.tolist()
        states[chunk] = LEASED
    assert sorted(given_out) == expected
    assert not ready
