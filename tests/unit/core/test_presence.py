"""Which workers are there, and what they bring along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dfbatch.core import events
from dfbatch.core.batch import BatchStop
from dfbatch.core.effects import LeaseVerdicts, Recall, WorkAvailable
from dfbatch.core.events import HeldLease
from dfbatch.core.states import WorkerState

OLD_LEASE = 5


def held(indices: list[int], lease_id: int = OLD_LEASE, batch_id: str = "b", **options: Any) -> HeldLease:
    generation = options.pop("generation", [0] * len(indices))
    return HeldLease(lease_id, batch_id, np.array(indices, np.int64), np.array(generation, np.int16), **options)


def verdict(driver: Any, effects: list[Any]) -> set[int]:
    (answer,) = driver.of_kind(LeaseVerdicts, effects)
    return set(answer.kept)


@pytest.fixture
def second(make_driver: Callable[..., Any]) -> Any:
    """The manager after a restart, with the batch ``b`` of ten jobs, none of them ended."""
    driver = make_driver(epoch=2)
    driver.submit(10)
    return driver


# ------------------------------------------------------------------------------ hello


def test_a_new_worker_is_idle(driver: Any) -> None:
    effects = driver.hello("w", node="n1", capacity=3)
    worker = driver.state.workers["w"]
    assert (worker.state, worker.node, worker.capacity, worker.restarts) == (WorkerState.IDLE, "n1", 3, 0)
    assert verdict(driver, effects) == set()
    assert driver.of_kind(WorkAvailable, effects)


def test_saying_hello_twice_changes_nothing(driver: Any) -> None:
    driver.submit(10)
    granted = driver.lease()
    effects = driver.hello("w", "1", held=(held(granted.lease.indices.tolist(), granted.lease.lease_id),))
    assert verdict(driver, effects) == {granted.lease.lease_id}
    assert driver.state.workers["w"].state is WorkerState.RUNNING


def test_a_lease_the_worker_does_not_hold_goes_back(driver: Any) -> None:
    """The answer that brought it was lost on the way."""
    batch = driver.submit(10)
    driver.lease()
    driver.hello("w", "1")
    assert driver.states(batch) == ["queued"] * 10
    assert driver.state.workers["w"].state is WorkerState.IDLE


def test_a_new_incarnation_counts_as_a_restart(driver: Any) -> None:
    driver.hello("w", "1")
    driver.hello("w", "2")
    assert driver.state.workers["w"].restarts == 1
    assert driver.state.worker_deaths == 1


def test_a_new_incarnation_holds_nothing_whatever_it_says(driver: Any) -> None:
    driver.submit(10)
    granted = driver.lease_of(4)
    effects = driver.hello("w", "2", held=(held([0, 1, 2, 3], granted.lease.lease_id),))
    assert verdict(driver, effects) == set()
    assert not driver.state.leases


# --------------------------------------------------------- leases that outlive a manager


def test_running_work_survives_a_restart(second: Any) -> None:
    effects = second.hello(held=(held([3, 4, 5]),))
    assert verdict(second, effects) == {OLD_LEASE}
    batch = second.state.batches["b"]
    assert second.states(batch)[2:7] == ["queued", "running", "running", "running", "queued"]
    assert second.lease_of(5, "v").lease.indices.tolist() == [0, 1, 2, 6, 7], "others get the rest"


def test_an_adopted_lease_is_reported_like_any_other(second: Any) -> None:
    second.hello(held=(held([3, 4, 5]),))
    codes = np.zeros(3, np.uint8)
    indices, generation = np.array([3, 4, 5]), np.zeros(3, np.int16)
    second.tell(events.OutcomesReported("w", OLD_LEASE, "b", indices, generation, codes, codes.astype(np.int64), 0.1))
    assert not second.state.leases
    assert second.state.batches["b"].jobs.n_terminal == 3


def test_only_the_jobs_that_are_free_are_adopted(second: Any) -> None:
    second.tell(events.JobsCancelled("b", np.array([4])))
    assert verdict(second, second.hello(held=(held([3, 4, 5]),))) == {OLD_LEASE}
    assert second.states(second.state.batches["b"])[3:6] == ["running", "cancelled", "running"]


@pytest.mark.parametrize(
    "claim",
    [
        held([]),
        held([1, 2], batch_id="unknown"),
        held([1, 2], generation=[1, 1]),  # redriven since
        held([99, -1]),  # no such jobs
        held([1, 2], lease_id=0),
        held([1, 2], lease_id=-7),
        HeldLease(OLD_LEASE, "b", np.array([1, 2]), np.zeros(1, np.int16)),  # half a message
    ],
)
def test_a_claim_without_sense_is_dropped(second: Any, claim: HeldLease) -> None:
    assert verdict(second, second.hello(held=(claim,))) == set()
    assert not second.state.leases


def test_a_job_named_twice_is_adopted_once(second: Any) -> None:
    second.hello(held=(held([4, 3, 4, 3]),))
    assert second.state.leases[OLD_LEASE].indices.tolist() == [3, 4]


def test_what_another_worker_has_already_is_not_adopted(second: Any) -> None:
    second.hello("first", held=(held([1, 2]),))
    assert verdict(second, second.hello("second", held=(held([1, 2], OLD_LEASE + 1),))) == set()
    assert verdict(second, second.hello("thief", held=(held([1, 2], OLD_LEASE),))) == set()


def test_a_suspect_is_adopted_with_nothing_beside_it(second: Any) -> None:
    effects = second.hello(held=(held([1], 5, solo=True), held([2], 6)))
    assert verdict(second, effects) == {5}
    effects = second.hello("v", held=(held([3], 7), held([4], 8, solo=True)))
    assert verdict(second, effects) == {7}


def test_suspects_that_run_already_do_not_wait_as_well(second: Any) -> None:
    batch = second.state.batches["b"]
    batch.suspects.append(np.array([1]))
    second.hello(held=(held([1], solo=True),))
    assert not batch.suspects
    second.tell(events.HandedBack("w", OLD_LEASE))
    assert [group.tolist() for group in batch.suspects] == [[1]]


def test_adoption_keeps_to_the_concurrency_of_the_queue(second: Any) -> None:
    second.limit(concurrency=2)
    assert verdict(second, second.hello(held=(held([1, 2], 5), held([3], 6)))) == {5}


def test_nothing_of_a_cancelled_batch_is_adopted(second: Any, cancel: BatchStop) -> None:
    second.tell(events.BatchStopped("b", cancel))
    assert verdict(second, second.hello(held=(held([1, 2]),))) == set()


@pytest.mark.parametrize("whole_queue", [False, True])
def test_what_is_paused_is_adopted_and_called_back(second: Any, whole_queue: bool) -> None:
    if whole_queue:
        second.limit(paused=True)
    else:
        second.tell(events.BatchPaused("b"))
    effects = second.hello(held=(held([1, 2]),))
    assert verdict(second, effects) == {OLD_LEASE}
    assert second.of_kind(Recall, effects) == [Recall("w", (OLD_LEASE,), "paused")]


def test_what_was_cancelled_while_its_worker_could_not_be_told_is_called_back(second: Any) -> None:
    batch = second.state.batches["b"]
    second.tell(events.JobsCancelled("b", np.array([2])))
    effects = second.hello(held=(held([1, 2]), held([3], OLD_LEASE + 1)))
    assert second.of_kind(Recall, effects) == [Recall("w", (OLD_LEASE,), "jobs cancelled")]
    second.tell(events.JobsCancelled("b", np.array([3])))
    effects = second.hello(held=(held([1], OLD_LEASE), held([3], OLD_LEASE + 1)))
    assert second.of_kind(Recall, effects) == [Recall("w", (OLD_LEASE + 1,), "jobs cancelled")]
    second.tell(events.HandedBack("w", OLD_LEASE + 1))
    assert second.states(batch)[1:4] == ["running", "cancelled", "cancelled"]


# ---------------------------------------------------------------------- lost, and gone


def test_a_lost_worker_keeps_its_leases_for_a_moment(driver: Any) -> None:
    batch = driver.submit(4)
    driver.lease_of(4)
    driver.tell(events.WorkerLost("w", "1", "killed"))
    driver.tick(1.0)
    assert driver.states(batch) == ["running"] * 4
    assert driver.state.workers["w"].state is WorkerState.LOST
    assert driver.state.live_workers() == []


def test_a_worker_given_up_too_early_goes_on(driver: Any) -> None:
    driver.submit(4)
    granted = driver.lease_of(4)
    driver.tell(events.WorkerLost("w", "1", "the line was cut"))
    driver.hello("w", "1", held=(held([0, 1, 2, 3], granted.lease.lease_id),))
    assert driver.state.workers["w"].state is WorkerState.RUNNING
    driver.tick(30.0)
    assert granted.lease.lease_id in driver.state.leases
    assert driver.state.worker_deaths == 0


def test_news_of_an_old_incarnation_is_no_news(driver: Any) -> None:
    driver.hello("w", "2")
    for event in (events.WorkerLost("w", "1", "killed"), events.WorkerLeft("w", "1"), events.WorkerLeft("x", "1")):
        assert driver.tell(event) == []
    assert driver.state.workers["w"].lost_at is None


def test_a_worker_that_leaves_gives_everything_back(driver: Any) -> None:
    batch = driver.submit(10)
    driver.lease_of(2)
    driver.lease_of(2)
    effects = driver.tell(events.WorkerLeft("w", "1"))
    assert driver.of_kind(WorkAvailable, effects)
    assert driver.states(batch) == ["queued"] * 10
    assert not driver.state.workers
    assert not batch.suspects
    assert driver.state.worker_deaths == 0
