"""The limits of a queue and what is told of it."""

from __future__ import annotations

import numpy as np
import pytest

from dfbatch.core import events
from dfbatch.core.batch import BatchSpec
from dfbatch.core.error_class import ErrorClass
from dfbatch.core.instant import Instant
from dfbatch.core.manager import ManagerState
from dfbatch.core.policy import BatchPolicy, QueuePolicy
from dfbatch.core.retry import Retry
from dfbatch.core.snapshots import queue_stats
from dfbatch.errors import InvalidInput, QueueFull

START = Instant(1_780_000_000.0, 1_000.0)


@pytest.fixture
def state():
    made = ManagerState(epoch=1)
    made.handle(events.WorkerHello("w", "1", capacity=1_000), START)
    yield made
    made.validate()


def submit(state, batch_id="k3f2m9qa", n=10, now=START, **options):
    spec = BatchSpec(batch_id, n, policy=BatchPolicy(**options), submitted_at=now.wall)
    state.admit(spec)
    state.handle(events.BatchSubmitted(spec), now)


def lease(state, now=START):
    return [e for e in state.handle(events.LeaseRequested("w"), now) if hasattr(e, "lease")]


def n_leased(state, now=START):
    """Jobs leased when a worker asks until it gets nothing more."""
    total = 0
    while granted := lease(state, now):
        total += len(granted[0].lease.indices)
    return total


def change(state, now=START, *, paused=None, **limits):
    policy = state.queue("default").policy.changed(**limits) if limits else None
    return state.handle(events.QueueChanged("default", policy, paused), now)


def stats(state, now=START):
    (found,) = queue_stats(state, now)
    return found


def test_a_queue_that_would_be_too_long_accepts_nothing_of_a_submit(state):
    change(state, max_length=15)
    submit(state, n=10)
    with pytest.raises(QueueFull, match="holds 10 of at most 15 jobs, so 6 more"):
        submit(state, "k3f2m9qb", n=6)
    submit(state, "k3f2m9qc", n=5)
    assert stats(state)["waiting"] == 15


def test_no_more_jobs_are_leased_than_the_concurrency_says(state):
    change(state, concurrency=3)
    submit(state)
    assert n_leased(state) == 3
    assert (stats(state)["running"], stats(state)["waiting"]) == (3, 7)
    change(state, concurrency=5)
    assert n_leased(state) == 2


def test_jobs_are_leased_at_the_rate_after_the_first_burst(state):
    change(state, rate_per_s=2.0, burst=4)
    submit(state, n=100)
    assert n_leased(state) == 4
    assert n_leased(state, START.later(0.4)) == 0
    assert n_leased(state, START.later(3.0)) == 4
    assert n_leased(state, START.later(3.5)) == 1


def test_a_change_of_another_limit_gives_no_new_burst(state):
    change(state, rate_per_s=1.0, burst=4)
    submit(state, n=100)
    assert n_leased(state) == 4
    change(state, max_length=1_000)
    assert n_leased(state) == 0
    change(state, rate_per_s=2.0)
    assert n_leased(state) == 4


def test_a_paused_queue_leases_nothing_until_it_is_resumed(state):
    submit(state)
    change(state, paused=True)
    assert n_leased(state) == 0
    assert stats(state)["paused"] is True
    change(state, paused=False)
    assert n_leased(state) == 10


def test_a_pause_leaves_the_policy_and_a_policy_leaves_the_pause(state):
    change(state, concurrency=2)
    change(state, paused=True)
    change(state, max_length=9)
    found = stats(state)
    assert (found["paused"], found["policy"]["concurrency"], found["policy"]["max_length"]) == (True, 2, 9)


def test_stats_tell_waiting_running_and_retrying_apart(state):
    submit(state, n=4, retry=Retry(initial_s=60), fail_fast=False)
    (granted,) = lease(state)
    what = granted.lease
    errors = np.full(len(what.indices), ErrorClass.TRANSIENT, np.uint8)
    state.handle(
        events.OutcomesReported(
            "w", what.lease_id, what.batch_id, what.indices, granted.generation, errors, what.indices, 0.1
        ),
        START,
    )
    tried, running = len(what.indices), len(lease(state)[0].lease.indices)
    found = stats(state)
    assert {k: found[k] for k in ("batches", "waiting", "running", "retrying", "dead_letters")} == {
        "batches": 1,
        "waiting": 4 - tried - running,
        "running": running,
        "retrying": tried,
        "dead_letters": 0,
    }


def test_the_age_of_the_oldest_work_is_that_of_the_batch_that_waits_longest(state):
    assert queue_stats(state, START) == []
    submit(state, "k3f2m9qa", n=2)
    submit(state, "k3f2m9qb", n=2, now=START.later(60))
    later = START.later(100)
    assert stats(state, later)["oldest_waiting_s"] == pytest.approx(100)
    first = lease(state, later)[0].lease
    while first.batch_id != "k3f2m9qa" or state.batches["k3f2m9qa"].n_waiting:
        first = lease(state, later)[0].lease
    if state.batches["k3f2m9qb"].n_waiting:
        assert stats(state, later)["oldest_waiting_s"] == pytest.approx(40)
    n_leased(state, later)
    assert stats(state, later)["oldest_waiting_s"] is None


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("max_length", 0, "whole number at least 1, or None"),
        ("max_length", 2.5, "whole number"),
        ("max_length", True, "whole number"),
        ("rate_per_s", -1, "from 1e-06 to 1e\\+09, or None"),
        ("rate_per_s", float("nan"), "Give a number"),
        ("rate_per_s", "10/s", "Give a number"),
        ("burst", 0, "or None for no limit"),
        ("concurrency", -3, "whole number at least 1"),
        ("retention_s", -1, "number at least 0"),
        ("retention_batches", 1.5, "whole number at least 0"),
        ("retry", 3, "dfbatch.Retry"),
        ("retry", {"max_attempts": 0}, "Give one from 1 to 1000"),
        ("retry", {"attempts": 2}, "There are: max_attempts"),
        ("max_lenght", 3, "There are: burst, concurrency, max_length"),
    ],
)
def test_a_bad_limit_is_named_with_what_would_do(name, value, remedy):
    with pytest.raises(InvalidInput, match=remedy) as caught:
        QueuePolicy().changed(**{name: value})
    assert str(caught.value).startswith(name)


def test_a_policy_survives_the_way_through_the_ledger():
    policy = QueuePolicy(max_length=5, rate_per_s=2.0, retry=Retry(max_attempts=7, retry_on=(KeyError,)))
    assert QueuePolicy(**policy.as_options()) == policy
