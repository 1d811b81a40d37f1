"""What becomes of reported outcomes: taken once, retried by policy, suppressed as repeats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfbatch.core import events
from dfbatch.core.batch import BatchStop
from dfbatch.core.books import LEASE_TERM_S
from dfbatch.core.effects import BatchEnded, Granted, Note, OutcomesTaken
from dfbatch.core.error_class import ErrorClass as E
from dfbatch.core.states import BatchState, JobState


def taken(driver: Any, effects: list[Any]) -> OutcomesTaken:
    (found,) = driver.of_kind(OutcomesTaken, effects)
    return found


def words(effect: OutcomesTaken) -> list[str]:
    return [JobState.of(code).value for code in effect.state]


# ------------------------------------------------------------------------------- one outcome


def test_a_report_becomes_rows_aligned_with_its_positions(driver: Any) -> None:
    driver.submit(4)
    granted = driver.lease_of(4)
    driver.report(granted, only=[1])
    payload = object()
    effect = taken(driver, driver.report(granted, [E.NONE, E.PERMANENT, E.TRANSIENT], only=[0, 2, 3], payload=payload))
    assert effect.positions.tolist() == [0, 1, 2]
    assert effect.indices.tolist() == [0, 2, 3]
    assert words(effect) == ["succeeded", "failed", "retrying"]
    assert effect.attempts.tolist() == [1, 1, 1]
    assert np.isnan(effect.retry_at).tolist() == [True, True, False]
    assert effect.retry_at[2] == driver.now.wall + 1.0
    assert effect.payload is payload
    assert not driver.state.leases


def test_a_lease_lives_until_its_last_outcome(driver: Any) -> None:
    driver.submit(3)
    granted = driver.lease_of(3)
    driver.wait(40.0)
    driver.report(granted, only=[0])
    assert driver.state.leases[granted.lease.lease_id].n_open == 2
    assert granted.lease.deadline == driver.now.mono + LEASE_TERM_S, "a report is a sign of life"
    driver.report(granted, only=[1, 2])
    assert not driver.state.leases


@pytest.mark.parametrize("error", [E.NONE, E.PERMANENT, E.TRANSIENT, E.BREAKER_OPEN])
def test_a_report_that_is_sent_twice_counts_once(driver: Any, error: E) -> None:
    batch = driver.submit(3, fail_fast=False)
    granted = driver.lease_of(3)
    driver.report(granted, error)
    before = (driver.states(batch), batch.jobs.attempts.tolist(), batch.jobs.returns.tolist())
    assert not driver.of_kind(OutcomesTaken, driver.report(granted, error))
    assert before == (driver.states(batch), batch.jobs.attempts.tolist(), batch.jobs.returns.tolist())
    assert driver.state.duplicates_suppressed == 3


def test_an_old_report_is_no_second_try_while_the_job_waits_for_its_retry(driver: Any) -> None:
    """A lease expired, the next one failed; now the first one's failure arrives, too."""
    batch = driver.submit(1)
    first = driver.lease()
    driver.tick(LEASE_TERM_S)
    second = driver.lease("v")
    driver.report(second, E.TRANSIENT)
    driver.report(first, E.TRANSIENT)
    assert batch.jobs.attempts.tolist() == [1]
    driver.report(first, E.NONE)
    assert driver.states(batch) == ["succeeded"], "but a success is welcome, whoever has it"


def test_a_repeat_is_known_even_after_another_lease_came_to_nothing(driver: Any) -> None:
    """The first failure is on record; a second lease was handed back; the report of the first comes once more."""
    batch = driver.submit(1)
    first = driver.lease()
    driver.report(first, E.TRANSIENT)
    driver.tick(2.0)
    second = driver.lease("v")
    driver.tell(events.HandedBack("v", second.lease.lease_id))
    assert not driver.of_kind(OutcomesTaken, driver.report(first, E.TRANSIENT))
    assert batch.jobs.attempts.tolist() == [1]
    assert driver.states(batch) == ["queued"]


def test_a_late_outcome_is_taken_if_nobody_else_has_the_job(driver: Any) -> None:
    batch = driver.submit(4, fail_fast=False)
    granted = driver.lease_of(4)
    driver.tick(LEASE_TERM_S)
    assert driver.states(batch) == ["queued"] * 4
    driver.report(granted, [E.NONE, E.PERMANENT, E.TRANSIENT, E.BREAKER_OPEN])
    assert driver.states(batch) == ["succeeded", "failed", "retrying", "retrying"]
    assert driver.ask("v") is None, "nothing is left to lease"


def test_a_late_outcome_is_refused_while_another_has_the_job(driver: Any) -> None:
    batch = driver.submit(2)
    late = driver.lease_of(2)
    driver.tick(LEASE_TERM_S)
    driver.lease_of(2, "v")
    assert not driver.of_kind(OutcomesTaken, driver.report(late))
    assert driver.states(batch) == ["running"] * 2
    assert driver.state.duplicates_suppressed == 2


def test_an_outcome_of_an_older_generation_is_refused(driver: Any) -> None:
    batch = driver.submit(1)
    late = driver.lease()
    driver.tick(LEASE_TERM_S)
    driver.report(driver.lease("v"), E.PERMANENT)
    driver.commit()
    driver.tell(events.Redriven("b", np.array([0])))
    driver.report(late)
    assert driver.states(batch) == ["queued"]
    assert driver.lease("v").generation.tolist() == [1]


def test_an_outcome_of_a_batch_that_is_not_in_memory_is_refused(driver: Any) -> None:
    driver.submit(1)
    granted = driver.lease()
    other = events.OutcomesReported("w", 1, "gone", *[np.zeros(2, np.int64)] * 4, 0.1)
    assert driver.tell(other) == []
    assert driver.state.duplicates_suppressed == 2
    driver.report(granted)


@pytest.mark.parametrize("indices", [[0, 0, 1], [-1, 0, 1], [0, 1, 99], [1, 0, 1]])
def test_a_hostile_report_does_no_harm(driver: Any, indices: list[int]) -> None:
    batch = driver.submit(3)
    granted = driver.lease_of(3)
    n = len(indices)
    zeros = np.zeros(n, np.uint8)
    event = events.OutcomesReported(
        "w", granted.lease.lease_id, "b", np.array(indices), zeros.astype(np.int16), zeros, zeros.astype(np.int64), 0.1
    )
    effect = taken(driver, driver.tell(event))
    assert sorted(effect.indices) == [0, 1]
    assert effect.indices.tolist() == np.array(indices)[effect.positions].tolist()
    assert effect.n_suppressed == 1
    assert driver.states(batch) == ["succeeded", "succeeded", "running"]


def test_a_worker_nobody_knows_may_still_deliver(driver: Any) -> None:
    batch = driver.submit(1)
    granted = driver.lease()
    driver.tell(events.WorkerLeft("w", "1"))
    driver.report(granted)
    assert driver.states(batch) == ["succeeded"]


# ------------------------------------------------------------------------------------ retries


def test_a_job_is_tried_as_often_as_the_policy_says(driver: Any) -> None:
    batch = driver.submit(1, max_attempts=3, fail_fast=False)
    tries = 0
    while batch.jobs.n_open:
        driver.tick(61.0)
        driver.report(driver.lease(), E.TRANSIENT)
        tries += 1
    assert tries == 3
    assert taken(driver, driver.effects[-2:]).attempts.tolist() == [3]
    assert driver.states(batch) == ["failed"]


def test_a_retry_succeeds_with_its_number_of_tries(driver: Any) -> None:
    driver.submit(1)
    driver.report(driver.lease(), E.TRANSIENT)
    driver.tick(1.1)
    assert taken(driver, driver.report(driver.lease())).attempts.tolist() == [2]


def test_a_timeout_that_ended_the_worker_is_charged_when_it_is_reported_before_the_hello(driver: Any) -> None:
    batch = driver.submit(3)
    granted = driver.lease_of(3)
    driver.report(granted, E.TIMEOUT, only=[1])
    driver.kill(mark=(granted.lease.lease_id, 1))
    assert driver.states(batch) == ["queued", "retrying", "queued"]
    assert batch.jobs.attempts.tolist() == [0, 1, 0]
    assert not batch.suspects, "its death is explained"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(errors=st.lists(st.sampled_from(list(E)), min_size=1, max_size=12))
def test_no_job_is_charged_for_what_it_did_not_do(make_driver: Callable[[], Any], errors: list[E]) -> None:
    driver = make_driver()
    batch = driver.submit(len(errors), fail_fast=False, max_attempts=5)
    driver.report(driver.lease_of(len(errors)), errors)
    assert batch.jobs.attempts.tolist() == [int(e not in (E.NONE, E.BREAKER_OPEN)) for e in errors]


# --------------------------------------------------------------------------- an open breaker


def test_what_an_open_breaker_returns_is_not_charged_and_waits_longer_each_time(driver: Any) -> None:
    batch = driver.submit(1, max_returns=20)
    waits = []
    for _ in range(7):
        effect = taken(driver, driver.report(driver.lease(), E.BREAKER_OPEN))
        waits.append(float(effect.retry_at[0] - driver.now.wall))
        driver.tick(waits[-1] + 0.1)
    assert waits == [4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert batch.jobs.attempts.tolist() == [0]


def test_a_job_that_is_returned_too_often_fails(driver: Any) -> None:
    batch = driver.submit(1, max_returns=2, fail_fast=False)
    for _ in range(3):
        effect = taken(driver, driver.report(driver.lease(), E.BREAKER_OPEN))
        driver.tick(99.0)
    assert words(effect) == ["failed"]
    assert effect.attempts.tolist() == [0]
    assert driver.states(batch) == ["failed"]


def test_a_returned_job_of_a_cancelled_batch_is_cancelled(driver: Any, cancel: BatchStop) -> None:
    batch = driver.submit(2)
    granted = driver.lease_of(2)
    driver.tell(events.BatchStopped("b", cancel))
    driver.report(granted, [E.BREAKER_OPEN, E.TRANSIENT])
    assert driver.states(batch) == ["cancelled", "failed"]
    driver.commit()
    assert batch.finished_as is BatchState.CANCELLED


# ---------------------------------------------------------------------------- stopping early


def test_one_error_and_no_success_stops_the_batch(driver: Any) -> None:
    batch = driver.submit(500, fail_fast_after=50)
    driver.report(driver.lease_of(49), E.PERMANENT)
    assert batch.stopping is None
    effects = driver.report(driver.lease_of(1), E.PERMANENT)
    assert driver.states(batch).count("cancelled") == 450
    (note,) = driver.of_kind(Note, effects)
    assert note.kind == "stopped"
    assert note.detail["batch_state"] == "failed"
    assert "The first 50 tries all failed with the same error" in note.detail["reason"]
    assert [e.state for e in driver.of_kind(BatchEnded, driver.commit())] == [BatchState.FAILED]


def test_errors_that_will_be_retried_stop_nothing(driver: Any) -> None:
    """A service that is down for a moment must not end ten million jobs that would be tried again."""
    batch = driver.submit(500, fail_fast_after=50, max_attempts=2)
    driver.report(driver.lease_of(100), E.TRANSIENT)
    assert batch.stopping is None
    driver.tick(61.0)
    driver.report(driver.lease_of(100), E.TRANSIENT)
    assert batch.stopping is not None


@pytest.mark.parametrize("why", ["other error", "success", "off", "no fingerprint", "breaker"])
def test_reasons_to_go_on(driver: Any, why: str) -> None:
    batch = driver.submit(500, fail_fast_after=20, fail_fast=why != "off", max_returns=0)
    if why == "other error":
        driver.report(driver.lease_of(1), E.PERMANENT, fingerprint=99)
    if why == "success":
        driver.report(driver.lease_of(1))
    error = E.BREAKER_OPEN if why == "breaker" else E.PERMANENT
    driver.report(driver.lease_of(100), error, fingerprint=0 if why == "no fingerprint" else 7)
    assert batch.stopping is None


def test_a_verifier_that_cannot_be_loaded_stops_the_batch_at_once(driver: Any) -> None:
    batch = driver.submit(100)
    driver.report(driver.lease_of(2), E.VERIFIER_UNUSABLE)
    assert batch.stopping is not None
    assert "could not be loaded" in batch.stopping.reason


def test_one_bad_node_does_not_stop_what_works_elsewhere(driver: Any) -> None:
    batch = driver.submit(100)
    driver.report(driver.lease_of(2))
    driver.report(driver.lease_of(2, "v"), E.VERIFIER_UNUSABLE)
    assert batch.stopping is None
    assert driver.states(batch)[:4] == ["succeeded", "succeeded", "retrying", "retrying"]
    assert not batch.jobs.attempts.any(), "items are not charged for a worker that cannot construct the verifier"


@pytest.mark.parametrize(("n_failed", "stops"), [(5, False), (6, True)])
def test_too_many_failures_stop_the_batch(driver: Any, n_failed: int, stops: bool) -> None:
    batch = driver.submit(10, max_failure_ratio=0.5, fail_fast=False)
    driver.report(driver.lease_of(n_failed), E.PERMANENT)
    assert (batch.stopping is not None) is stops


def test_the_failure_ratio_of_a_stream_waits_for_its_end(driver: Any) -> None:
    batch = driver.submit(2, max_failure_ratio=0.5, fail_fast=False, sealed=False)
    driver.report(driver.lease_of(2), E.PERMANENT)
    assert batch.stopping is None
    driver.tell(events.BatchExtended("b", 1))
    driver.tell(events.BatchSealed("b"))
    assert driver.states(batch) == ["failed", "failed", "cancelled"]


def test_a_success_after_a_redrive_does_not_stop_for_old_failures(driver: Any) -> None:
    batch = driver.fail(10, max_failure_ratio=0.95)
    driver.tell(events.Redriven("b", np.array([0, 1])))
    assert batch.finished_as is None
    driver.report(driver.lease_of(1))
    assert batch.stopping is None


# ------------------------------------------------------------------------------------ commits


def test_a_batch_ends_when_its_last_row_is_durable_not_before(driver: Any) -> None:
    batch = driver.submit(2)
    driver.report(driver.lease_of(1))
    driver.commit()
    effects = driver.report(driver.lease_of(1))
    assert not driver.of_kind(BatchEnded, effects)
    assert batch.finished_as is None
    (ended,) = driver.of_kind(BatchEnded, driver.commit())
    assert (ended.state, ended.counts) == (BatchState.SUCCEEDED, {"succeeded": 2})


def test_rows_of_failed_tries_do_not_count_as_outcomes(driver: Any) -> None:
    batch = driver.submit(1)
    driver.report(driver.lease(), E.TRANSIENT)
    counts = np.zeros(len(JobState), np.int64)
    counts[JobState.RETRYING.code] = 1
    driver.tell(events.Committed((("b", counts), ("unknown", counts))))
    assert batch.finished_as is None
    assert batch.durable.sum() == 0


def test_a_report_wakes_nobody_without_need(driver: Any) -> None:
    driver.submit(10)
    granted: Granted = driver.lease_of(1)
    assert [type(e) for e in driver.report(granted)] == [OutcomesTaken]
