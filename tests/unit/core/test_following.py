"""Jobs that wait for an equal job: out of line, released when there is nothing to wait for, never lost."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfbatch.core import events, following
from dfbatch.core.error_class import ErrorClass as E
from dfbatch.core.job_table import NO_LEASE


def held(driver: Any, indices: list[int], batch_id: str = "b") -> None:
    driver.tell(events.FollowersHeld(batch_id, np.array(indices, np.int64)))


def pass_on(driver: Any, indices: list[int]) -> None:
    """As the shell does it: the leader's outcome, reported for its followers by nobody's lease."""
    at, n = np.array(indices, np.int64), len(indices)
    generation = driver.state.batches["b"].jobs.generation[at]
    zeros = np.zeros(n, np.int64)
    report = (NO_LEASE, "b", at, generation, zeros.astype(np.uint8), zeros, np.nan)
    driver.tell(events.OutcomesReported("w", *report))


def test_held_jobs_are_not_leased(driver: Any) -> None:
    batch = driver.submit(5)
    held(driver, [1, 3, 4])
    assert driver.lease_of(2).lease.indices.tolist() == [0, 2]
    assert driver.ask() is None
    assert driver.states(batch) == ["running", "queued", "running", "queued", "queued"]


def test_jobs_that_came_back_are_leased_once_after_others_are_held(driver: Any) -> None:
    """A lease that is taken up again leaves old entries in line; if it comes back, its jobs are there twice."""
    batch = driver.submit(4)
    granted = driver.lease_of(2)
    lease = granted.lease
    driver.tick(61.0)
    again = events.HeldLease(lease.lease_id, "b", lease.indices, granted.generation, False)
    driver.tell(events.WorkerHello("w", "1", held=(again,)))
    driver.tell(events.HandedBack("w", lease.lease_id))
    held(driver, [3])
    batch.sizer.cap = 4
    assert driver.lease().lease.indices.tolist() == [0, 1]
    assert driver.lease().lease.indices.tolist() == [2]


def test_the_outcome_of_a_leader_ends_its_followers_and_the_batch(driver: Any) -> None:
    batch = driver.submit(4)
    held(driver, [2, 3])
    driver.report(driver.lease_of(2))
    cost = batch.sizer.cost_s
    pass_on(driver, [2, 3])
    assert driver.states(batch) == ["succeeded"] * 4
    assert batch.sizer.cost_s == cost, "copied outcomes say nothing about the cost of an item"
    driver.commit()
    assert batch.finished_as is not None


def test_released_jobs_run_behind_the_others(driver: Any) -> None:
    driver.submit(5)
    held(driver, [0, 1])
    driver.tell(events.FollowersReleased("b", np.array([1, 0])))
    assert [driver.lease_of(1).lease.indices.tolist() for _ in range(2)] == [[2], [3]]
    driver.report(driver.lease_of(1, "v"))
    assert driver.lease_of(2, "v").lease.indices.tolist() == [0, 1]


def test_what_was_never_held_or_has_ended_is_not_released_again(driver: Any) -> None:
    batch = driver.submit(3)
    held(driver, [2])
    pass_on(driver, [2])
    driver.tell(events.FollowersReleased("b", np.array([1, 2])))
    driver.tell(events.FollowersReleased("gone", np.array([1])))
    driver.work_off()
    assert driver.states(batch) == ["succeeded"] * 3
    assert driver.state.duplicates_suppressed == 0


def test_a_cancel_ends_held_jobs_too(driver: Any, cancel: Any) -> None:
    batch = driver.submit(4)
    held(driver, [1, 2, 3])
    driver.tell(events.BatchStopped("b", cancel))
    assert driver.states(batch) == ["cancelled"] * 4


def test_jobs_of_a_later_slice_can_be_held(driver: Any) -> None:
    batch = driver.submit(2, sealed=False)
    held(driver, [1])
    driver.state.admit_more("b", 3)
    driver.tell(events.BatchExtended("b", 3, 2))
    held(driver, [4])
    assert driver.lease_of(3).lease.indices.tolist() == [0, 2, 3]
    assert following.waiting(batch, np.arange(5)).tolist() == [1, 4]


def test_followers_whose_leaders_ended_unheard_are_found(driver: Any) -> None:
    batch = driver.submit(3)
    held(driver, [1, 2])
    assert following.stranded(batch).tolist() == []
    granted = driver.lease_of(1)
    assert following.stranded(batch).tolist() == []
    driver.report(granted, E.PERMANENT)
    assert following.stranded(batch).tolist() == [1, 2]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_whatever_is_held_and_released_every_job_ends_once(make_driver: Any, data: st.DataObject) -> None:
    driver = make_driver()
    n = data.draw(st.integers(2, 12))
    batch = driver.submit(n, fail_fast=False)
    followers = data.draw(st.lists(st.integers(1, n - 1), unique=True))
    held(driver, sorted(followers))
    while batch.jobs.n_open:
        driver.state.validate()
        waiting = following.waiting(batch, np.arange(n)).tolist()
        some = data.draw(st.lists(st.sampled_from(waiting), unique=True)) if waiting else []
        if data.draw(st.booleans()):
            pass_on(driver, sorted(some))
        else:
            driver.tell(events.FollowersReleased("b", np.array(some, np.int64)))
        driver.work_off(data.draw(st.sampled_from([E.NONE, E.PERMANENT])))
        stranded = following.stranded(batch)
        assert len(stranded) == len(following.waiting(batch, np.arange(n)))
    driver.commit()
    assert batch.finished_as is not None
    assert driver.state.duplicates_suppressed == 0
