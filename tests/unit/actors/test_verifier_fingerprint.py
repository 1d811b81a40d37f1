"""Two verifiers have one fingerprint only if they do the same."""

import math
import sys
from functools import partial
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from dfbatch.actors.verifier_fingerprint import verifier_fingerprint

pytestmark = pytest.mark.integration


def is_installed(module):
    return module is not sys.modules.get(__name__) and module.__name__ != "dfbatch_test_cell"


def of(verifier, **init):
    return verifier_fingerprint(verifier, init, is_installed)


def cell(source, **known):
    """The function ``judge`` of a notebook cell, where ``known`` are the globals of other cells."""
    names = {"__name__": "dfbatch_test_cell", **known}
    exec(compile(source, "<cell>", "exec"), names)
    return names["judge"]


CALLS = "def judge(item):\n    return helper(item) + LIMIT\n"


@pytest.fixture(autouse=True)
def module():
    sys.modules["dfbatch_test_cell"] = ModuleType("dfbatch_test_cell")
    yield
    del sys.modules["dfbatch_test_cell"]


def test_a_cell_that_is_run_again_is_the_same_wherever_it_stands():
    known = {"helper": math.sqrt, "LIMIT": 2}
    assert of(cell(CALLS, **known)) == of(cell("\n\n" + CALLS, **known))


@pytest.mark.parametrize("known", [{"helper": math.exp}, {"LIMIT": 3}, {"LIMIT": 2.0}])
def test_what_a_function_refers_to_is_part_of_it(known):
    before = {"helper": math.sqrt, "LIMIT": 2}
    assert of(cell(CALLS, **before)) != of(cell(CALLS, **{**before, **known}))


def test_a_global_that_only_shares_its_name_with_an_attribute_is_not():
    source = "def judge(item):\n    return item.columns\n"
    assert of(cell(source, columns=1)) == of(cell(source, columns=2))


def test_globals_of_functions_and_classes_written_inside_count():
    source = "def judge(item):\n    class Inner:\n        limit = LIMIT\n    return [LIMIT for _ in [item]]\n"
    assert of(cell(source, LIMIT=1)) != of(cell(source, LIMIT=2))


def test_arguments_defaults_and_state_count():
    def with_default(limit):
        def judge(item, limit=limit):
            return item < limit

        return judge

    pairs = [
        (partial(max, 1), partial(max, 2)),
        (with_default(1), with_default(2)),
        (Judge(np.zeros(3)), Judge(np.zeros(3, np.float32))),
        (Judge({1, 2}), Judge({1, 3})),
        (Judge(1).ask, Judge(2).ask),
    ]
    for one, other in pairs:
        assert of(one) != of(other)
    assert of(Judge(np.arange(3))) == of(Judge(np.arange(3)))
    assert of(Judge({"b", "a", "c"})) == of(Judge({"c", "a", "b"}))
    assert of(Judge, limit=1) != of(Judge, limit=2)


class Judge:
    def __init__(self, limit):
        self.limit = limit

    def __call__(self, item):
        return self.ask(item)

    def ask(self, item):
        return item < self.limit


def test_functions_and_data_that_refer_to_themselves_end():
    ring = [1]
    ring.append(ring)
    assert of(Judge(ring)) == of(Judge(ring))
    source = "def judge(item):\n    return judge(item - 1) if item else 0\n"
    assert of(cell(source)) == of(cell(source))


def test_what_cannot_be_looked_into_is_never_the_same_again():
    secret = Judge(open)
    secret.limit = (n for n in range(3))
    assert of(secret) != of(secret)
    big = Judge([SimpleNamespace(n=k) for k in range(15_000)])
    assert of(big) != of(big)
