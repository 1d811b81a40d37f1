"""What has been achieved since the last report, and by whom it may be read."""

import datetime

import numpy as np
import pytest

from dfbatch.actors.item_tally import Tally, is_plain

ENDLESS: list = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        1.5,
        "a",
        b"a",
        {"a": [1, {"b": None}]},
        (1, 2),
        np.float32(1),
        np.ones(3),
        datetime.date(2026, 1, 1),
    ],
    ids=repr,
)
def test_plain_values_run_no_code_of_the_users(value):
    assert is_plain(value)


@pytest.mark.parametrize(
    "value", [object(), [object()], {"a": {"b": object()}}, {object(): 1}, np.array([object()]), list(range(10_001))]
)
def test_other_values_and_very_large_ones_may(value):
    assert not is_plain(value)


def test_a_value_that_contains_itself_is_given_up():
    assert not is_plain(ENDLESS)


def tally(*values):
    n = len(values)
    return Tally(list(range(n)), [float(k) for k in range(n)], [k + 0.5 for k in range(n)], list(values))


def test_what_nobody_has_looked_at_is_the_rest_as_it_is():
    mine = tally("a", "b")
    assert mine.rest() is mine


def test_what_was_looked_at_counts_as_left_until_it_is_reported():
    mine = tally("a", object(), "b")
    assert mine.look() == [0, 2]
    assert mine.look() == []
    assert mine.rest().positions == [0, 1, 2]
    mine.left = [1]
    rest = mine.rest()
    assert (rest.positions, rest.starts, rest.busy_s) == ([1], [1.0], 0.5)
