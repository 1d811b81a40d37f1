"""When a failed job is tried again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.core.error_class import ErrorClass as E
from dfbatch.core.retry import GIVE_UP, Retry
from dfbatch.errors import InvalidInput


def delays(retry: Retry, error: E, attempts: list[int], seed: int = 0) -> list[float]:
    classes = np.full(len(attempts), error, np.uint8)
    return retry.delays_s(classes, np.array(attempts, np.int16), np.random.default_rng(seed)).tolist()


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (E.TRANSIENT, True),
        (E.OUT_OF_MEMORY, True),
        (E.TIMEOUT, True),  # once; see below
        (E.PERMANENT, False),
        (E.WORKER_DEATH, False),
        (E.VERIFIER_UNUSABLE, False),
    ],
)
def test_only_errors_that_may_pass_are_tried_again(error: E, again: bool) -> None:
    (wait,) = delays(Retry(jitter=0.0), error, [1])
    assert wait == (1.0 if again else GIVE_UP)


def test_a_job_times_out_twice_at_most() -> None:
    assert delays(Retry(max_attempts=9, jitter=0.0), E.TIMEOUT, [1, 2]) == [1.0, GIVE_UP]


def test_waits_double_up_to_the_longest() -> None:
    retry = Retry(max_attempts=9, initial_s=1.0, factor=2.0, max_s=5.0, jitter=0.0)
    assert delays(retry, E.TRANSIENT, [1, 2, 3, 4, 8]) == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_max_attempts_counts_the_first_try_too() -> None:
    assert delays(Retry(max_attempts=3, jitter=0.0), E.TRANSIENT, [2, 3, 4]) == [2.0, GIVE_UP, GIVE_UP]


def test_a_wait_of_nothing_is_a_retry() -> None:
    assert delays(Retry(initial_s=0.0), E.TRANSIENT, [1]) == [0.0]


@given(seed=st.integers(0, 999), attempts=st.integers(1, 900), jitter=st.floats(0, 1))
def test_jitter_stays_within_its_share(seed: int, attempts: int, jitter: float) -> None:
    retry = Retry(max_attempts=1000, initial_s=2.0, factor=100.0, max_s=50.0, jitter=jitter)
    (wait,) = delays(retry, E.TRANSIENT, [attempts], seed)
    plain = min(2.0 * 100.0 ** (attempts - 1), 50.0) if attempts < 4 else 50.0
    assert plain * (1 - jitter) <= wait <= plain * (1 + jitter)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": 1001},
        {"max_attempts": 2.5},
        {"max_attempts": True},
        {"initial_s": -1},
        {"initial_s": float("nan")},
        {"factor": 0.5},
        {"max_s": float("inf")},
        {"jitter": 1.1},
        {"jitter": "much"},
        {"retry_on": [int]},
        {"retry_on": None},
        {"give_up_on": 7},
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=rf"retry\.{next(iter(wrong))}"):
        Retry(**wrong)


@pytest.mark.parametrize("given_as", [OSError, "builtins.OSError", [OSError], ("builtins.OSError",)])
def test_classes_of_errors_are_kept_as_names(given_as: Any) -> None:
    assert Retry(retry_on=given_as).retry_on == ("builtins.OSError",)


def test_a_policy_survives_its_options() -> None:
    retry = Retry(max_attempts=7, retry_on=[OSError, "a.B"], give_up_on=KeyError)
    assert Retry.of(retry.as_options()) == retry


def test_options_with_an_unknown_name_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"retry\.tries.*There are: max_attempts"):
        Retry.of({"tries": 3})
