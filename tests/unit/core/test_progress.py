"""A snapshot holds what a display needs, and does the sums once for all of them."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.core.progress import ProgressSnapshot
from dfbatch.core.states import BatchState, JobState


def snapshot(total: int | None = 10, **counts: int) -> ProgressSnapshot:
    return ProgressSnapshot("k3f2m9qx", None, BatchState.RUNNING, total, counts=counts)


@pytest.mark.parametrize(
    ("counts", "done", "failed"),
    [
        ({}, 0, 0),
        ({"queued": 4, "running": 3, "retrying": 2, "paused": 1}, 0, 0),  # nothing of this is durable
        ({"succeeded": 4, "queued": 6}, 4, 0),
        ({"succeeded": 1, "failed": 2, "cancelled": 3, "expired": 4}, 10, 6),  # expired items have failed, too
    ],
)
def test_done_counts_durable_outcomes_of_any_kind(counts: dict[str, int], done: int, failed: int) -> None:
    assert (snapshot(**counts).done, snapshot(**counts).failed) == (done, failed)


@pytest.mark.parametrize(
    ("total", "counts", "fraction"),
    [
        (10, {}, 0.0),
        (10, {"succeeded": 5}, 0.5),
        (10, {"succeeded": 9, "failed": 1}, 1.0),
        (0, {}, 1.0),  # an empty batch is finished
        (None, {"succeeded": 5}, None),  # a stream that is not sealed
    ],
)
def test_the_fraction_done(total: int | None, counts: dict[str, int], fraction: float | None) -> None:
    shown = snapshot(total, **counts)
    assert shown.fraction == fraction
    assert shown.percent == 100.0 * (fraction or 0.0)


@given(st.dictionaries(st.sampled_from([str(state) for state in JobState]), st.integers(0, 1000)))
def test_the_fraction_stays_between_nothing_and_all(counts: dict[str, int]) -> None:
    shown = snapshot(sum(counts.values()), **counts)
    assert shown.fraction is not None
    assert 0.0 <= shown.fraction <= 1.0
    assert shown.done == sum(number for state, number in counts.items() if JobState(state).is_terminal)


def test_a_snapshot_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        snapshot().total = 3  # type: ignore[misc]


def test_a_snapshot_travels_between_processes() -> None:
    shown = snapshot(succeeded=3)
    assert pickle.loads(pickle.dumps(shown)) == shown
