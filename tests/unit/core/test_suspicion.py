"""Which job killed a worker: it is found by halving or by its mark, and charged only when alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dfbatch.core import events
from dfbatch.core.batch import BatchStop
from dfbatch.core.books import MARK_GRACE_S
from dfbatch.core.effects import OutcomesDecided, SuspectsNoted, WorkAvailable
from dfbatch.core.states import BatchState, WorkerState


def groups(batch: Any) -> list[list[int]]:
    return [group.tolist() for group in batch.suspects]


def test_the_marked_job_is_suspected_and_its_neighbours_are_not(driver: Any) -> None:
    batch = driver.submit(8)
    granted = driver.lease_of(8)
    driver.report(granted, only=[0, 1])
    effects = driver.kill(mark=(granted.lease.lease_id, 3))
    assert groups(batch) == [[3]]
    assert not batch.jobs.deaths.any(), "it did not run alone"
    assert not batch.jobs.attempts.any()
    (noted,) = driver.of_kind(SuspectsNoted, effects)
    assert noted.indices.tolist() == [3]
    assert (noted.worker, noted.generation.tolist(), noted.deaths.tolist()) == ("w", [0], [0])
    assert driver.of_kind(WorkAvailable, effects)


def test_without_a_mark_what_was_unfinished_is_halved(driver: Any) -> None:
    batch = driver.submit(8)
    granted = driver.lease_of(7)
    driver.report(granted, only=[0, 1])
    driver.kill()
    assert groups(batch) == [[2, 3], [4, 5, 6]]


def test_only_the_chunk_that_ran_is_suspected_not_the_one_fetched_ahead(driver: Any) -> None:
    batch = driver.submit(8)
    driver.lease_of(2)
    driver.lease_of(3)
    driver.kill()
    assert groups(batch) == [[0], [1]]
    assert driver.states(batch) == ["queued"] * 8


def test_the_mark_names_the_chunk_that_ran(driver: Any) -> None:
    batch = driver.submit(8)
    driver.lease_of(2)
    second = driver.lease_of(3)
    driver.kill(mark=(second.lease.lease_id, 4))
    assert groups(batch) == [[4]]


@pytest.mark.parametrize("job", [1, 99])
def test_a_mark_on_a_job_that_answered_accuses_nobody(driver: Any, job: int) -> None:
    """It died between two items: the report of the marked one had arrived."""
    batch = driver.submit(4)
    granted = driver.lease_of(4)
    driver.report(granted, only=[0, 1])
    driver.kill(mark=(granted.lease.lease_id, job))
    assert groups(batch) == []
    assert driver.states(batch) == ["succeeded", "succeeded", "queued", "queued"]


def test_a_mark_of_a_lease_that_is_over_counts_as_none(driver: Any) -> None:
    batch = driver.submit(4)
    driver.lease_of(2)
    driver.kill(mark=(12345, 0))
    assert groups(batch) == [[0], [1]]


def test_a_killer_is_found_and_becomes_a_dead_letter(driver: Any) -> None:
    """Of a hundred jobs one kills every worker it meets. No other job is lost or charged."""
    batch = driver.submit(100, max_worker_deaths=2)
    for _ in range(60):
        granted = driver.ask()
        if granted is None:
            break
        if 42 in granted.lease.indices:
            driver.kill()
        else:
            driver.report(granted)
    assert driver.states(batch)[42] == "failed"
    assert batch.jobs.n_terminal == 100
    assert batch.jobs.deaths.tolist() == [2 if i == 42 else 0 for i in range(100)]
    assert not batch.jobs.attempts.any()
    (decided,) = driver.of_kind(OutcomesDecided)
    assert (decided.error_type, decided.indices.tolist()) == ("WorkerCrash", [42])
    assert "died 2 times while this item ran alone" in decided.error_message
    driver.commit()
    assert batch.finished_as is BatchState.PARTIAL


def test_two_killers_are_told_apart(driver: Any) -> None:
    batch = driver.submit(40, max_worker_deaths=1)
    for _ in range(80):
        granted = driver.ask()
        if granted is None:
            break
        if np.isin([7, 8], granted.lease.indices).any():
            driver.kill()
        else:
            driver.report(granted)
    assert [i for i, s in enumerate(driver.states(batch)) if s == "failed"] == [7, 8]
    assert batch.jobs.n_terminal == 40


def test_a_suspect_that_answers_is_cleared(driver: Any) -> None:
    batch = driver.submit(1)
    granted = driver.lease()
    driver.kill(mark=(granted.lease.lease_id, 0))
    again = driver.lease()
    driver.report(again)
    assert driver.states(batch) == ["succeeded"]
    assert groups(batch) == []


def test_a_worker_that_does_not_come_back_left_no_mark(driver: Any) -> None:
    batch = driver.submit(4)
    driver.lease_of(4)
    driver.tell(events.WorkerLost("w", "1", "killed"))
    driver.tick(MARK_GRACE_S - 1.0)
    assert groups(batch) == []
    driver.tick(1.1)
    assert groups(batch) == [[0, 1], [2, 3]]
    assert "w" not in driver.state.workers


def test_the_mark_of_a_worker_that_comes_back_in_time_counts(driver: Any) -> None:
    batch = driver.submit(4)
    granted = driver.lease_of(4)
    driver.tell(events.WorkerLost("w", "1", "killed"))
    driver.tick(MARK_GRACE_S - 1.0)
    driver.hello("w", "2", mark=(granted.lease.lease_id, 2))
    assert groups(batch) == [[2]]
    assert driver.state.workers["w"].state is WorkerState.IDLE


def test_a_death_while_the_batch_is_cancelled_ends_its_jobs(driver: Any, cancel: BatchStop) -> None:
    batch = driver.submit(4)
    driver.lease_of(2)
    driver.tell(events.BatchStopped("b", cancel))
    driver.kill()
    assert driver.states(batch) == ["cancelled"] * 4
    assert groups(batch) == []
    driver.commit()
    assert batch.finished_as is BatchState.CANCELLED


def test_a_lone_job_that_was_cancelled_is_cancelled_not_failed(driver: Any) -> None:
    batch = driver.submit(1, max_worker_deaths=1)
    granted = driver.lease()
    driver.kill(mark=(granted.lease.lease_id, 0))
    assert driver.lease().lease.solo
    driver.tell(events.JobsCancelled("b", np.array([0])))
    driver.kill()
    assert driver.states(batch) == ["cancelled"]


def test_dead_letters_of_crashes_count_for_the_failure_ratio(driver: Any) -> None:
    batch = driver.submit(10, max_worker_deaths=1, max_failure_ratio=0.0)
    granted = driver.lease_of(1)
    driver.kill(mark=(granted.lease.lease_id, 0))
    assert driver.lease().lease.solo
    driver.kill()
    assert driver.states(batch) == ["failed"] + ["cancelled"] * 9
