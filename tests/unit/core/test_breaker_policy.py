"""What a breaker may be told, and which errors speak of the service."""

from __future__ import annotations

from typing import Any

import pytest

from dfbatch.core.breaker_policy import BreakerPolicy
from dfbatch.core.window import CountWindow, TimeWindow
from dfbatch.errors import BreakerOpen, InvalidInput, MediaTruncated, OutputInvalid, TransientError


class HttpError(OSError):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"failure_rate": 0}, "failure_rate"),  # would open on nothing
        ({"failure_rate": 1.01}, "from 0.001 to 1"),
        ({"failure_rate": float("nan")}, "failure_rate"),
        ({"slow_rate": "half"}, "'half' is not a number"),
        ({"minimum_calls": 0}, "whole number"),
        ({"minimum_calls": 2.5}, "whole number"),
        ({"minimum_calls": True}, "minimum_calls"),
        ({"minimum_calls": 51}, "never fit into a window of 50"),
        ({"minimum_calls": 6, "window_calls": 5}, "greater window_calls"),
        ({"window_calls": 9, "minimum_calls": 1, "window_s": 1.0}, "one of them"),
        ({"window_s": 0}, "window_s"),
        ({"open_s": 0}, "open_s"),
        ({"open_s": 10, "open_max_s": 5}, "less than open_s"),
        ({"open_factor": 0.5}, "open_factor"),
        ({"open_s": float("inf")}, "open_s"),
        ({"jitter": 2}, "jitter"),
        ({"probes": 0}, "probes"),
        ({"record_on": "ValueError"}, "exception classes"),
        ({"record_on": [int]}, "exception classes"),
        ({"ignore": 7}, "exception classes"),
        ({"threshold": 0.5}, "There are: failure_rate"),
    ],
)
def test_nonsense_is_refused_with_what_to_do(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match="^breaker\\.") as caught:
        BreakerPolicy.of(options)
    assert says in str(caught.value)


def test_a_policy_makes_its_window() -> None:
    assert isinstance(BreakerPolicy().window(), CountWindow)
    assert isinstance(BreakerPolicy(window_s=30.0, minimum_calls=500).window(), TimeWindow)


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (ValueError("not JSON"), True),  # a service may answer with rubbish
        (TransientError("busy"), True),
        (HttpError(500), True),
        (HttpError(503), True),
        (HttpError(429), True),
        (HttpError(408), True),
        (HttpError(404), False),  # the service understood, and refused this one
        (HttpError(422), False),
        (MediaTruncated("cut off"), False),
        (OutputInvalid("odd"), False),
        (NameError("x"), False),  # a mistake in the code is not a service that is down
        (TypeError("x"), False),
        (BreakerOpen("other"), False),
        (KeyboardInterrupt(), False),
        (SystemExit(1), False),
    ],
)
def test_by_default_errors_count_that_speak_of_the_service(error: BaseException, counts: bool) -> None:
    assert BreakerPolicy().counts(error) is counts


@pytest.mark.parametrize(
    ("options", "error", "counts"),
    [
        ({"record_on": KeyError}, KeyError(), True),
        ({"record_on": KeyError}, ValueError(), False),
        ({"record_on": [KeyError, TypeError]}, TypeError(), True),
        ({"record_on": lambda e: "down" in str(e)}, ValueError("is down"), True),
        ({"record_on": lambda e: "down" in str(e)}, ValueError("is up"), False),
        ({"ignore": ValueError}, UnicodeDecodeError("utf-8", b"", 0, 1, ""), False),
        ({"ignore": lambda e: e.args == (7,)}, ValueError(7), False),
        ({"ignore": lambda e: e.args == (7,)}, ValueError(8), True),
        ({"record_on": ValueError, "ignore": UnicodeError}, UnicodeError(), False),  # ignore wins
        ({"record_on": MediaTruncated}, MediaTruncated("x"), True),  # if somebody says so
    ],
)
def test_the_user_says_which_errors_count(options: dict[str, Any], error: BaseException, counts: bool) -> None:
    assert BreakerPolicy(**options).counts(error) is counts


def test_it_rests_longer_each_time_up_to_a_limit() -> None:
    policy = BreakerPolicy(open_s=5.0, open_factor=2.0, open_max_s=60.0, jitter=0.1)
    assert [policy.rest_s(n, 0.5) for n in (1, 2, 3, 4, 5, 100)] == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert policy.rest_s(1, 0.0) == pytest.approx(4.5)
    assert policy.rest_s(1, 1.0) == pytest.approx(5.5)
    assert policy.rest_s(10**9, 0.5) == 60.0
