"""What is counted of the work, and what a sample says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dfbatch.core.breaker_seen import BreakerSeen
from dfbatch.core.circuit_breaker import BreakerState
from dfbatch.core.error_class import ErrorClass as E
from dfbatch.core.instant import Instant
from dfbatch.core.metrics import (
    NOT_A_CHANGE,
    Durations,
    Surroundings,
    Tallies,
    open_breakers,
    sample_rows,
    without_time,
)
from dfbatch.core.states import JobState

STATES = {state.value for state in JobState}
SUCCEEDED, FAILED, RETRYING = (JobState(s).code for s in ("succeeded", "failed", "retrying"))


@pytest.fixture
def tallies() -> Tallies:
    return Tallies()


@pytest.fixture
def sample(driver: Any, tallies: Tallies) -> Any:
    """Samples of the driver's manager, one after another; the rows by queue."""
    last = [driver.now.mono]

    def take(**around: Any) -> dict[str, dict[str, Any]]:
        rows = sample_rows(driver.state, tallies, Surroundings(**around), last[0], driver.now)
        last[0] = driver.now.mono
        return {row["queue"]: row for row in rows}

    return take


def counts(**by_state: int) -> Any:
    found = np.zeros(len(JobState), np.int64)
    for state, n in by_state.items():
        found[JobState(state).code] = n
    return found


def taken(tallies: Tallies, queue: str, states: list[int], errors: list[int], took: list[float]) -> None:
    started = np.full(len(took), 1_000.0)
    tallies.taken(queue, np.array(states, np.uint8), np.array(errors, np.uint8), 990.0, started, np.array(took))


def test_jobs_and_batches_are_counted_by_state_in_each_queue(driver: Any, sample: Any) -> None:
    driver.submit(5, "a", queue="scans")
    driver.lease_of(2)
    driver.submit(7, "b", queue="clips", delay_s=60.0)
    driver.submit(4, "c", queue="clips")
    driver.limit("clips", paused=True)
    rows = sample()
    assert {k: v for k, v in rows["scans"].items() if v and k in STATES} == {"queued": 3, "running": 2}
    assert {k: v for k, v in rows["clips"].items() if v and k in STATES} == {"paused": 11}
    assert (rows["scans"]["batches_running"], rows["clips"]["batches_paused"]) == (1, 2)
    assert rows["scans"]["workers_running"] == rows["clips"]["workers_running"] == 1


def test_rates_are_of_the_time_since_the_last_sample(driver: Any, sample: Any, tallies: Tallies) -> None:
    tallies.of("default").submitted += 100
    driver.wait(5.0)
    assert sample()["default"]["submitted_per_s"] == pytest.approx(20.0)
    tallies.durable("default", counts(succeeded=30, failed=10, cancelled=10))
    driver.wait(10.0)
    row = sample()["default"]
    assert [row[f"{name}_per_s"] for name in ("submitted", "finished", "failed")] == pytest.approx([0.0, 5.0, 1.0])
    assert (row["submitted"], row["succeeded"], row["failed"], row["cancelled"]) == (100, 30, 10, 10)
    assert row["interval_s"] == 10.0


def test_what_the_ledger_holds_at_the_start_makes_no_rate(driver: Any, sample: Any, tallies: Tallies) -> None:
    tallies.recovered("default", 1_000, {"succeeded": 900, "failed": 50, "running": 7})
    driver.wait(1.0)
    row = sample()["default"]
    assert (row["submitted"], row["succeeded"], row["failed"], row["running"]) == (1_000, 900, 50, 0)
    assert row["finished_per_s"] == row["submitted_per_s"] == 0.0


def test_run_time_is_of_every_try_and_wait_is_to_the_outcome(driver: Any, sample: Any, tallies: Tallies) -> None:
    taken(tallies, "default", [SUCCEEDED, RETRYING, FAILED], [E.NONE, E.TRANSIENT, E.PERMANENT], [2.0, 4.0, 4.0])
    row = sample()["default"]
    assert row["run_p50_s"] == row["run_p99_s"] == pytest.approx(4.0, rel=1 / 16)
    assert row["wait_p50_s"] == pytest.approx(12.0, rel=1 / 16), "from the submit at 990 to the end at 1,002 and 1,004"
    assert row["retried"] == 1
    assert sample()["default"]["run_p50_s"] is None, "nothing ran since"


def test_a_try_that_an_open_breaker_sent_back_is_counted_apart(driver: Any, sample: Any, tallies: Tallies) -> None:
    taken(tallies, "default", [RETRYING, SUCCEEDED], [E.BREAKER_OPEN, E.NONE], [0.0, 2.0])
    row = sample()["default"]
    assert (row["returned"], row["retried"]) == (1, 0)
    assert row["run_p50_s"] == 2.0


def test_open_breakers_are_named_once_and_counted_by_worker(driver: Any, sample: Any) -> None:
    driver.limit("default", max_length=10)
    for worker, state in (("v", BreakerState.OPEN), ("w", BreakerState.OPEN), ("x", BreakerState.HALF_OPEN)):
        driver.hello(worker)
        driver.state.workers[worker].breakers = (BreakerSeen("f00d", "scorer", state, 0.0, 1, True),)
    row = sample(backlog_rows=3)["default"]
    assert (row["breakers_open"], row["open_breakers"], row["backlog_rows"]) == (2, ["scorer"], 3)
    assert row["workers_breaker_open"] == 3, "one that probes is not idle either"
    assert open_breakers(driver.state) == ["scorer", "scorer"]


def test_commits_are_those_of_the_interval(driver: Any, sample: Any, tallies: Tallies) -> None:
    driver.limit("default", max_length=10)
    tallies.commits.add(np.array([0.01, 0.01, 0.2]))
    row = sample()["default"]
    assert (row["commits"], row["commit_p99_s"]) == (3, pytest.approx(0.2, rel=1 / 16))
    assert (sample()["default"]["commits"], sample()["default"]["commit_p50_s"]) == (0, None)


def test_two_samples_between_which_nothing_happened_say_the_same(driver: Any, sample: Any) -> None:
    driver.submit(3)
    first = sample()
    driver.wait(30.0)
    sample()
    driver.wait(5.0)
    later = sample()
    assert without_time(list(first.values())) == without_time(list(later.values()))
    assert later["default"]["oldest_waiting_s"] == pytest.approx(35.0)
    driver.lease_of(1)
    assert without_time(list(sample().values())) != without_time(list(later.values()))
    assert {"at", "interval_s"} <= NOT_A_CHANGE


def test_small_chunks_are_counted_together_and_none_is_lost() -> None:
    durations = Durations()
    for k in range(1_000):
        durations.add(np.array([k + 1.0]))
    assert len(durations._uncounted) < 100
    window = durations.take()
    assert (len(window), window.greatest) == (1_000, 1_000.0)
    durations.add(np.full(5_000, 1.0))
    assert len(durations._uncounted) == 0
    assert (len(durations.take()), len(durations.ever), len(durations.take())) == (5_000, 6_000, 0)


def test_a_queue_that_nobody_knows_any_more_keeps_its_totals(make_driver: Any, tallies: Tallies) -> None:
    tallies.recovered("old", 10, {"succeeded": 10})
    (row,) = sample_rows(make_driver().state, tallies, Surroundings(), 0.0, Instant(5.0, 5.0))
    assert (row["queue"], row["succeeded"], row["queued"]) == ("old", 10, 0)
