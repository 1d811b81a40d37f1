"""How batches end, and what is kept of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dfbatch.core import ending, events
from dfbatch.core.batch import BatchStop
from dfbatch.core.effects import BatchEnded, OutcomesDecided
from dfbatch.core.error_class import ErrorClass as E
from dfbatch.core.states import BatchState, JobState
from dfbatch.errors import UnknownId


def finish(driver: Any, n: int, batch_id: str) -> None:
    driver.submit(n, batch_id)
    driver.work_off()
    driver.commit()


@pytest.mark.parametrize(
    ("ended", "state"),
    [
        ("sss", BatchState.SUCCEEDED),
        ("ssf", BatchState.PARTIAL),
        ("fff", BatchState.PARTIAL),  # all ran to their end; stopped early would be "failed"
        ("ccc", BatchState.CANCELLED),
        ("scc", BatchState.PARTIAL),
        ("eee", BatchState.EXPIRED),
        ("see", BatchState.PARTIAL),
        ("", BatchState.SUCCEEDED),
    ],
)
def test_the_counts_say_what_a_batch_became(driver: Any, ended: str, state: BatchState) -> None:
    batch = driver.submit(len(ended), sealed=False)
    names = {"s": JobState.SUCCEEDED, "f": JobState.FAILED, "c": JobState.CANCELLED, "e": JobState.EXPIRED}
    for index, letter in enumerate(ended):
        granted = driver.lease_of(1)
        assert granted.lease.indices.tolist() == [index]
        driver.state.move(batch, granted.lease.indices, names[letter], "test")
        batch.jobs.lease[index] = 0
        driver.state.close_lease(granted.lease)
    assert ending.final_state(batch) is state


def test_a_cancel_that_came_too_late_has_cancelled_nothing(driver: Any, cancel: BatchStop) -> None:
    batch = driver.submit(2)
    granted = driver.lease_of(2)
    driver.tell(events.BatchStopped("b", cancel))
    driver.report(granted)
    driver.commit()
    assert batch.finished_as is BatchState.SUCCEEDED


def test_a_cancelled_empty_stream_is_cancelled(driver: Any, cancel: BatchStop) -> None:
    batch = driver.submit(0, sealed=False)
    driver.tell(events.BatchStopped("b", cancel))
    driver.tell(events.BatchSealed("b"))
    assert batch.finished_as is BatchState.CANCELLED


def test_a_stop_at_the_last_job_still_says_failed(driver: Any) -> None:
    """Fifty of fifty failed with one error: that is a broken verifier, not a partial success."""
    batch = driver.submit(50, fail_fast_after=50)
    driver.report(driver.lease_of(50), E.PERMANENT)
    driver.commit()
    assert batch.finished_as is BatchState.FAILED


def test_a_batch_ends_once(driver: Any) -> None:
    driver.submit(1)
    driver.work_off()
    driver.commit()
    driver.commit()
    driver.tick(60.0)
    assert len(driver.of_kind(BatchEnded)) == 1


def test_rows_of_a_great_cancel_come_in_slices(driver: Any, cancel: BatchStop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "SLICE", 4)
    batch = driver.submit(10)
    batch.jobs.attempts[:] = np.arange(10) % 2
    slices = driver.of_kind(OutcomesDecided, driver.tell(events.BatchStopped("b", cancel)))
    assert [s.indices.tolist() for s in slices] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [s.attempts.tolist() for s in slices] == [[0, 1, 0, 1], [0, 1, 0, 1], [0, 1]]
    assert driver.states(batch) == ["cancelled"] * 10, "the move is at once"


def test_decided_rows_with_gaps_carry_their_own_columns(driver: Any, cancel: BatchStop) -> None:
    batch = driver.submit(6)
    batch.jobs.attempts[:] = np.arange(6) % 3
    batch.jobs.generation[:] = 0
    driver.tell(events.JobsCancelled("b", np.array([1])))
    slices = driver.of_kind(OutcomesDecided, driver.tell(events.BatchStopped("b", cancel)))
    assert slices[0].indices.tolist() == [0, 2, 3, 4, 5]
    assert slices[0].attempts.tolist() == [0, 2, 0, 1, 2]


def test_ended_batches_leave_memory_by_number(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "FINISHED_KEPT", 2)
    for name in "abcd":
        finish(driver, 1, name)
    assert list(driver.state.batches) == ["c", "d"]
    with pytest.raises(UnknownId):
        driver.state.batch("a")
    assert driver.state.is_taken("a"), "its id is not given again"


def test_ended_batches_leave_memory_by_the_number_of_their_jobs(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "FINISHED_JOBS_KEPT", 10)
    finish(driver, 4, "a")
    finish(driver, 4, "b")
    assert list(driver.state.batches) == ["a", "b"]
    finish(driver, 4, "c")
    assert list(driver.state.batches) == ["b", "c"]
    finish(driver, 99, "great")
    assert list(driver.state.batches) == ["great"], "the newest stays, however great"


def test_a_redriven_batch_stays_in_memory(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "FINISHED_KEPT", 1)
    driver.fail(2, "a")
    driver.tell(events.Redriven("a", np.array([0])))
    finish_others = [driver.submit(0, name) for name in "bcd"]
    assert all(b.finished_as for b in finish_others)
    assert "a" in driver.state.batches
    assert driver.state.n_finished_jobs == 0
