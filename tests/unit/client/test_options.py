"""Options are checked at the door: the error names the argument and says what is allowed."""

import json

import pytest

import dfbatch
from dfbatch.client.options import submit_options
from dfbatch.core.policy import BatchPolicy
from dfbatch.errors import InvalidInput, InvalidType


def options(name=None, **given):
    return submit_options(given, name=name, default_queue="default", default_timeout_s=None)


def test_defaults_are_those_of_the_call():
    found = submit_options({}, name="n", default_queue="verification", default_timeout_s=300.0)
    assert (found.queue, found.priority, found.key, found.name, found.tags) == ("verification", 0, None, "n", ())
    assert found.policy.timeout_s == 300.0
    assert found.policy.fail_fast


def test_what_is_given_is_taken():
    retry = dfbatch.Retry(max_attempts=5, retry_on=[KeyError])
    found = options(
        queue="mine", priority=-3, key="k", tags={"a"}, timeout_s=5, deadline_s=60, delay_s=1, retry=retry,
        max_failure_ratio=0.5, fail_fast=False,
    )  # fmt: skip
    assert (found.queue, found.priority, found.key, found.tags) == ("mine", -3, "k", ("a",))
    assert found.policy.retry == retry
    assert not found.policy.fail_fast
    assert options(queue=None, key=None, retry=None).queue == "default"


def test_no_time_limit_can_be_asked_for():
    found = submit_options({"timeout_s": None}, name=None, default_queue="v", default_timeout_s=300.0)
    assert found.policy.timeout_s is None


def test_options_travel_as_json_and_come_back_as_they_were():
    found = options(retry=dfbatch.Retry(max_attempts=7, give_up_on=[OSError]), timeout_s=2.5, tags=["x", "y"])
    back = json.loads(json.dumps(found.as_json()))
    assert BatchPolicy.of(back) == found.policy
    assert back["tags"] == ["x", "y"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"prio": 3}, r"prio: is no option of a submit\. There are: .*priority"),
        ({"priority": 1.5}, r"priority: 1\.5 is no whole number .*Greater runs sooner"),
        ({"priority": True}, r"priority: True is no whole number"),
        ({"priority": 10**7}, r"priority: 10000000 is no whole number from -1,000,000 to 1,000,000"),
        ({"queue": ""}, r"queue: '' is empty"),
        ({"queue": "x" * 65}, r"queue: .* longer than 64"),
        ({"queue": "a\nb"}, r"queue: 'a\\nb' .* control characters"),
        ({"key": "x" * 257}, r"key: .* longer than 256"),
        ({"name": "\x00"}, r"name: .* control characters"),
        ({"tags": ["ok", "  "]}, r"tags: '  ' is empty"),
        ({"timeout_s": 0}, r"timeout_s: 0 is not a number at least 0\.001"),
        ({"timeout_s": float("nan")}, r"timeout_s: nan is not a number"),
        ({"deadline_s": -1}, r"deadline_s: -1 is not a number"),
        ({"delay_s": -1}, r"delay_s: -1 is not a number at least 0"),
        ({"max_failure_ratio": 1.5}, r"max_failure_ratio: 1\.5 is not a number from 0 to 1"),
        ({"max_worker_deaths": 0}, r"max_worker_deaths: 0 is not a whole number from 1 to 1000"),
        ({"reuse": "always"}, r"reuse: 'always' is not one of never, content"),
    ],
    ids=str,
)
def test_wrong_values_are_named_with_their_remedy(given, text):
    with pytest.raises(InvalidInput, match=text):
        options(**given)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"queue": 5}, r"queue: is int, not text\. Give a str"),
        ({"key": b"k"}, r"key: is bytes, not text"),
        ({"tags": "one"}, r"tags: is str\. Give a list of short texts"),
        ({"tags": [1]}, r"tags: is int, not text"),
        ({"retry": 3}, r"retry: is int, not dfbatch\.Retry\. Give retry=dfbatch\.Retry"),
        ({"name": 7}, r"name: is int, not text"),
    ],
    ids=str,
)
def test_wrong_types_are_type_errors(given, text):
    with pytest.raises(InvalidType, match=text) as caught:
        options(**given)
    assert isinstance(caught.value, TypeError)
