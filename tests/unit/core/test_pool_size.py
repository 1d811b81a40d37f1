"""How many workers of which shape: few for cheap work, one for each dear job, and never one shape for ever alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.core.pool_size import Backlog, Demand, Limits, allot, cost_of, excess, workers_for
from dfbatch.core.resource_shape import ResourceShape

PLAIN = ResourceShape()
GPU = ResourceShape.of({"num_gpus": 1})
BIG = ResourceShape.of({"num_cpus": 4})
MANY = 1 << 40


@pytest.mark.parametrize(
    ("backlogs", "workers"),
    [
        ([], 0),
        ([Backlog(0, MANY, 9.0)], 0),
        # A few cheap jobs, or a hundred thousand of them, are no work for sixteen workers.
        ([Backlog(10, MANY, 0.001)], 1),
        ([Backlog(100_000, MANY, 0.00001)], 1),
        # Ten seconds of work.
        ([Backlog(10_000, MANY, 0.001)], 5),
        # Dear jobs get a worker each, and not one more.
        ([Backlog(3, MANY, 60.0)], 3),
        # A limit of the queue is one of its workers.
        ([Backlog(1_000, 2, 60.0)], 2),
        ([Backlog(1_000, 0, 60.0)], 0),
        # A hundred batches of one cheap job each are still little work.
        ([Backlog(1, MANY, 0.01)] * 100, 1),
        ([Backlog(1, MANY, 0.01)] * 100 + [Backlog(4, MANY, 30.0)], 5),
    ],
)
def test_workers_are_worth_starting_for_seconds_of_work(backlogs, workers):
    assert workers_for(backlogs) == workers


def test_the_cost_of_an_item_is_measured_or_guessed():
    assert cost_of(0.003, 1.0, 50.0) == 0.003
    assert cost_of(None, None, 0.0) == 0.25
    assert cost_of(None, 0.001, 0.0) == 0.001
    assert cost_of(None, 0.001, 30.0) == 30.0, "what has taken half a minute is not cheap"


@pytest.mark.parametrize(
    ("demands", "limits", "target"),
    [
        ([], Limits(0, 4), {"default": 0}),
        ([], Limits(2, 4), {"default": 2}),
        ([Demand(PLAIN, 9)], Limits(0, 4), {"default": 4}),
        ([Demand(PLAIN, 9), Demand(GPU, 1)], Limits(0, 4), {"default": 3, "cpu1-gpu1": 1}),
        ([Demand(PLAIN, 9), Demand(GPU, 9)], Limits(0, 4), {"default": 2, "cpu1-gpu1": 2}),
        # Where there is not enough for all, the more urgent comes first.
        ([Demand(GPU, 9), Demand(PLAIN, 9)], Limits(0, 1), {"default": 0, "cpu1-gpu1": 1}),
        # Four of five CPUs are taken by one worker.
        ([Demand(BIG, 3), Demand(PLAIN, 9)], Limits(0, 8, 5.0), {"default": 1, "cpu4": 1}),
        # What does not fit beside the rest leaves its place to what does.
        ([Demand(BIG, 3), Demand(PLAIN, 9)], Limits(0, 8, 3.0), {"default": 3, "cpu4": 0}),
        ([Demand(GPU, 2)], Limits(1, 4), {"default": 1, "cpu1-gpu1": 2}),
    ],
)
def test_the_limits_are_shared_out_among_the_shapes(demands, limits, target):
    assert allot(demands, limits) == target


@pytest.mark.parametrize(
    ("have", "target", "limits", "go"),
    [
        ({"default": 4}, {"default": 1}, Limits(0, 4), {}),  # not needed now; they may be soon
        ({"default": 4}, {"default": 2}, Limits(0, 2), {"default": 2}),
        ({"default": 4}, {"default": 3, "cpu1-gpu1": 1}, Limits(0, 4), {"default": 1}),
        ({"default": 2}, {"default": 1, "cpu1-gpu1": 1}, Limits(0, 9, 2.0), {"default": 1}),
        ({"default": 2}, {"default": 1, "cpu1-gpu1": 1}, Limits(0, 9, 3.0), {}),
        ({"default": 2, "cpu1-gpu1": 2}, {"default": 0, "cpu4": 1}, Limits(0, 4), {"default": 1}),
    ],
)
def test_workers_make_way_only_where_another_goes_without(have, target, limits, go):
    assert excess(have, target, limits) == go


KINDS = st.sampled_from([PLAIN, GPU, BIG, ResourceShape.of({"num_cpus": 0.5})])
DEMANDS = st.lists(st.tuples(KINDS, st.integers(0, 30)), max_size=4, unique_by=lambda d: d[0].key)
LIMITS = st.builds(
    lambda low, more, cpus: Limits(low, low + more, cpus),
    st.integers(0, 5),
    st.integers(0, 20),
    st.none() | st.floats(0, 40),
)


@given(DEMANDS, LIMITS)
def test_no_limit_is_ever_exceeded_and_no_worker_unwanted(pairs, limits):
    demands = [Demand(shape, n) for shape, n in pairs]
    target = allot(demands, limits)
    shapes = {shape.key: shape for shape, _ in pairs} | {"default": PLAIN}
    assert sum(target.values()) <= limits.high
    if limits.cpus is not None:
        assert sum(n * shapes[key].num_cpus for key, n in target.items()) <= limits.cpus + 1e-5
    for shape, n in pairs:
        assert target[shape.key] <= max(n, limits.low if shape is PLAIN else 0)
    hungry = [shape.key for shape, n in pairs if n > 0]
    if limits.cpus is None and limits.high > len(hungry):
        assert all(target[key] > 0 for key in hungry), "a shape starves"


@given(
    DEMANDS, LIMITS, st.dictionaries(st.sampled_from(["default", "cpu4", "cpu1-gpu1", "cpu0.5"]), st.integers(0, 30))
)
def test_after_the_excess_has_left_what_is_wanted_fits(pairs, limits, have):
    target = allot([Demand(shape, n) for shape, n in pairs], limits)
    go = excess(have, target, limits)
    after = {key: have.get(key, 0) - go.get(key, 0) for key in {*have, *target}}
    assert all(n >= min(have.get(key, 0), target.get(key, 0)) for key, n in after.items()), "one too few is left"
    assert sum(max(n, target.get(key, 0)) for key, n in after.items()) <= limits.high
