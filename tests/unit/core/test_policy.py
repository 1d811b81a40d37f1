"""Policies are checked at the door, by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dfbatch.core.policy import BatchPolicy, QueuePolicy
from dfbatch.core.retry import Retry
from dfbatch.errors import InvalidInput

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_length": 0},
        {"max_length": 2.5},  # half a job
        {"max_length": True},
        {"rate_per_s": 0},
        {"rate_per_s": NAN},
        {"rate_per_s": INF},
        {"burst": 0.5},
        {"concurrency": 0},
        {"concurrency": 1.5},
        {"concurrency": "4"},
        {"retention_s": -1},
        {"retention_batches": 1.5},
        {"retry": "often"},
    ],
)
def test_limits_of_a_queue_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        QueuePolicy(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout_s": 0},
        {"deadline_s": -1},
        {"deadline_s": INF},
        {"delay_s": -1},
        {"delay_s": None},
        {"max_failure_ratio": 1.01},
        {"fail_fast_after": 0},
        {"max_worker_deaths": 0},
        {"max_worker_deaths": None},
        {"max_returns": -1},
        {"max_returns": 255},  # more than the column counts
        {"retry": 3},
        {"retry": {"max_attempts": 0}},
        {"retry": {"tries": 3}},
        {"retry": None},
    ],
)
def test_options_of_a_batch_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        BatchPolicy(**wrong)


def test_the_refusal_says_what_would_do() -> None:
    with pytest.raises(InvalidInput, match=r"max_failure_ratio: 7 is not a number from 0 to 1\."):
        BatchPolicy(max_failure_ratio=7)
    with pytest.raises(InvalidInput, match=r"concurrency: 0 is not a whole number at least 1\."):
        QueuePolicy(concurrency=0)


@pytest.mark.parametrize(
    "policy",
    [
        BatchPolicy(),
        BatchPolicy(retry=Retry(max_attempts=5, retry_on=[ValueError]), deadline_s=60, fail_fast=False, max_returns=3),
    ],
)
def test_a_batch_policy_survives_json(policy: BatchPolicy) -> None:
    options = json.loads(json.dumps(policy.as_options()))
    assert BatchPolicy.of({**options, "tags": ["not mine"], "shape": "gpu"}) == policy


def test_a_queue_policy_survives_json() -> None:
    policy = QueuePolicy(max_length=9, rate_per_s=0.5, retry=Retry(max_attempts=2))
    assert QueuePolicy(**json.loads(json.dumps(policy.as_options()))) == policy


def test_a_change_keeps_the_other_limits() -> None:
    policy = QueuePolicy(max_length=9, concurrency=2)
    assert policy.changed(concurrency=None, rate_per_s=3) == QueuePolicy(max_length=9, rate_per_s=3)


def test_an_unknown_limit_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=r"speed.*There are: burst, concurrency, max_length"):
        QueuePolicy().changed(speed=9)
