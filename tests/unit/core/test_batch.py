"""What one batch remembers: when jobs are due, when it ends, which rows are not written, whom it suspects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.core.batch import Batch, BatchSpec, BatchStop
from dfbatch.core.instant import Instant
from dfbatch.core.policy import BatchPolicy
from dfbatch.core.states import JobState

NOW = Instant(1_000.0, 50.0)


def array(*indices: float) -> np.ndarray:
    return np.array(indices, np.int64)


def make(n: int = 10, submitted_at: float = NOW.wall, **policy: Any) -> Batch:
    return Batch(BatchSpec("b", n, policy=BatchPolicy(**policy), submitted_at=submitted_at), NOW)


def retrying(batch: Batch, due: dict[int, float]) -> Batch:
    indices = array(*due)
    batch.jobs.move(indices, JobState.RUNNING, "test")
    batch.jobs.move(indices, JobState.RETRYING, "test")
    batch.delay(indices, np.array(list(due.values())))
    return batch


# ---------------------------------------------------------------------------------- when it runs


@pytest.mark.parametrize(
    ("submitted_at", "starts_at"),
    [
        (1_000.0, 80.0),
        (990.0, 70.0),  # recovered ten seconds later
        (900.0, 50.0),  # long due
        (5_000.0, 80.0),  # the wall clock was put back: no longer than it was told to wait
    ],
)
def test_a_delayed_batch_starts_after_its_delay(submitted_at: float, starts_at: float) -> None:
    assert make(submitted_at=submitted_at, delay_s=30.0).starts_at == starts_at


@pytest.mark.parametrize(
    ("submitted_at", "expires_at"),
    [
        (1_000.0, 110.0),
        (960.0, 70.0),
        (900.0, 10.0),  # passed while no manager was there
        (5_000.0, 110.0),  # the wall clock was put back
    ],
)
def test_a_deadline_counts_from_the_submit(submitted_at: float, expires_at: float) -> None:
    assert make(submitted_at=submitted_at, deadline_s=60.0).expires_at == expires_at


def test_without_a_deadline_nothing_expires() -> None:
    assert make().expires_at is None


def test_work_is_ready_unless_paused_stopped_or_none() -> None:
    batch = make()
    assert batch.has_ready_work()
    batch.paused = "by me"
    assert not batch.has_ready_work()
    batch.paused, batch.stopping = None, BatchStop(JobState.CANCELLED, None, "")
    assert not batch.has_ready_work()
    assert not make(0).has_ready_work()


# --------------------------------------------------------------------------------------- retries


def test_retries_come_when_they_are_due_and_not_before() -> None:
    batch = retrying(make(), {1: 60.0, 4: 61.0, 2: 60.0})
    assert batch.due(59.9).tolist() == []
    assert batch.due(60.5).tolist() == [1, 2]
    assert batch.due(99.0).tolist() == [4]
    assert batch.due(99.0).tolist() == []


def test_due_times_close_together_are_one_entry() -> None:
    batch = retrying(make(1_000), {i: 60.0 + i * 1e-5 for i in range(1_000)})
    assert len(batch.delayed) <= 2


def test_a_retry_of_a_job_that_ended_meanwhile_is_dropped() -> None:
    batch = retrying(make(), {1: 60.0, 2: 60.0})
    batch.jobs.move(array(1), JobState.CANCELLED, "test")
    assert batch.due(60.1).tolist() == [2]


def test_a_new_life_is_not_cut_short_by_an_old_wait() -> None:
    batch = retrying(make(), {1: 60.0, 2: 60.0})
    batch.forget_delays(array(1))
    assert batch.due(60.1).tolist() == [2]


@given(st.dictionaries(st.integers(0, 9), st.floats(50, 500), min_size=1))
def test_every_retry_comes_once_and_late_by_less_than_a_slot(due: dict[int, float]) -> None:
    batch = retrying(make(), due)
    for index, at in sorted(due.items(), key=lambda item: item[1]):
        assert index not in batch.due(at - 1e-6)
        batch.jobs.move(batch.due(at + 0.0501), JobState.QUEUED, "test")
        assert batch.jobs.state[index] == JobState.QUEUED.code


# --------------------------------------------------------------------------------- rows to write


def test_a_row_is_unwritten_until_it_is_durable() -> None:
    batch = make()
    batch.await_rows(array(1, 2, 3), JobState.FAILED)
    batch.await_rows(array(7), JobState.CANCELLED)
    batch.await_rows(array(8), JobState.FAILED)
    assert sorted(batch.unwritten()) == [1, 2, 3, 7, 8]
    counts = np.zeros(len(JobState), np.int64)
    counts[[JobState.FAILED.code, JobState.SUCCEEDED.code, JobState.RETRYING.code]] = 2, 5, 9
    batch.rows_written(counts)
    assert sorted(batch.unwritten()) == [3, 7, 8]
    assert batch.durable.sum() == 7, "failed tries are no outcomes"


# -------------------------------------------------------------------------------------- suspects


def test_who_answered_is_no_suspect_any_more() -> None:
    batch = make()
    batch.suspects.extend([array(1, 2), array(3), array(4, 5)])
    batch.clear_suspicion(array(3, 4))
    assert [group.tolist() for group in batch.suspects] == [[1, 2], [5]]
    assert sorted(batch.quarantined()) == [1, 2, 5]
