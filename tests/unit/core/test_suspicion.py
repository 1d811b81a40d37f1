"""Which job killed a worker: it is found by halving or by its mark, and charged only when alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dfbatch.core import events
from dfbatch.core.batch import BatchStop
from dfbatch.core.books import MARK_GRACE_S
from dfbatch.core.death import CONSTRUCTING, UNKNOWN, Death, death_by_notice
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


# ----------------------------------------------------------------------------------- how it died


def lone_deaths(driver: Any, death: Any, **options: Any) -> list[Any]:
    """The marked job of a batch of four dies alone until it is given up; all effects."""
    driver.submit(4, max_worker_deaths=1, **options)
    granted = driver.lease_of(4)
    effects = driver.kill(mark=(granted.lease.lease_id, 2), death=death)
    granted = driver.lease()
    assert granted.lease.indices.tolist() == [2]
    return [*effects, *driver.kill(mark=(granted.lease.lease_id, 2), death=death)]


def test_a_job_that_needed_too_much_memory_is_called_so_and_not_a_crash(driver: Any) -> None:
    effects = lone_deaths(
        driver, Death(True, words="needed 700 MiB of the 600 MiB of memory it may have, and was ended")
    )
    (decided,) = driver.of_kind(OutcomesDecided, effects)
    assert (decided.error_type, decided.indices.tolist()) == ("HostOutOfMemory", [2])
    assert "needed 700 MiB" in decided.error_message
    assert "more memory" in decided.error_message
    (noted,) = driver.of_kind(SuspectsNoted, effects)
    assert noted.error_type == "HostOutOfMemory"


def test_the_stack_of_a_crash_is_in_the_row(driver: Any) -> None:
    effects = lone_deaths(driver, Death(words="crashed (Segmentation fault)", stack="in decode"))
    (decided,) = driver.of_kind(OutcomesDecided, effects)
    assert (decided.error_type, decided.stack) == ("WorkerCrash", "in decode")


def test_a_notice_of_the_node_running_low_on_memory_is_believed_where_nothing_else_is_known(driver: Any) -> None:
    batch = driver.submit(2, max_worker_deaths=1)
    granted = driver.lease_of(1)
    driver.tell(events.WorkerLost("w", "1", "1 worker(s) were killed due to the node running low on memory."))
    effects = driver.hello("w", "2", mark=(granted.lease.lease_id, 0))
    (noted,) = driver.of_kind(SuspectsNoted, effects)
    assert noted.error_type == "HostOutOfMemory"
    assert groups(batch) == [[0]]


@pytest.mark.parametrize(
    "cause",
    [
        "The worker died. Some common causes include: (1) the process was killed by the OOM killer due to high memory "
        "usage, (2) ray stop --force was called",
        "The actor is temporarily unavailable: IOError: The actor was restarted",
        "",
    ],
)
def test_a_notice_that_only_guesses_at_memory_is_no_proof(cause: str) -> None:
    assert death_by_notice(cause) == UNKNOWN


def test_every_job_of_a_call_that_killed_its_worker_is_suspected(driver: Any) -> None:
    """A vectorised verifier: the mark stands at the first of three, any of them may be at fault."""
    batch = driver.submit(8)
    granted = driver.lease_of(8)
    driver.kill(mark=(granted.lease.lease_id, 2), n_marked=3)
    assert groups(batch) == [[2], [3, 4]]


def test_a_worker_that_dies_while_it_constructs_the_verifier_accuses_no_job_and_stops_the_batch(driver: Any) -> None:
    batch = driver.submit(100, max_worker_deaths=2)
    for _ in range(2):
        granted = driver.lease()
        effects = driver.kill(mark=(granted.lease.lease_id, CONSTRUCTING), death=Death(words="crashed (Aborted)"))
    assert not batch.jobs.deaths.any()
    assert groups(batch) == []
    failed = driver.of_kind(OutcomesDecided, effects)
    assert failed[0].error_type == "VerifierUnusable"
    assert "crashed (Aborted) while it constructed the verifier" in failed[0].error_message
    assert batch.jobs.n_terminal == 100
    driver.commit()
    assert batch.finished_as is BatchState.FAILED


def test_a_construction_that_failed_once_is_forgotten_with_the_next_success(driver: Any) -> None:
    batch = driver.submit(10, max_worker_deaths=2)
    for _ in range(4):
        granted = driver.lease_of(1)
        driver.kill(mark=(granted.lease.lease_id, CONSTRUCTING))
        driver.report(driver.lease_of(1))
    assert batch.stopping is None
    assert driver.states(batch)[:4] == ["succeeded"] * 4
