"""Room for a worker must be on one node; what is free in pieces is no room."""

import pytest

from dfbatch.core.placement import Placed, in_the_way
from dfbatch.core.resource_shape import ClusterView, NodeView, ResourceShape

HEAD = NodeView("10.0.0.1", {"CPU": 1.0}, "aaaa-head")
FAR = NodeView("10.0.0.2", {"CPU": 2.0, "far": 1.0}, "bbbb-far")
CLUSTER = ClusterView((HEAD, FAR))
CPU = {"CPU": 1.0}


def placed(name, node, *, is_idle=False, since=0.0, demands=CPU):
    return Placed(name, node, demands, is_idle, since)


@pytest.mark.parametrize(
    ("declared", "workers", "leave"),
    [
        ({"resources": {"far": 1}}, [], []),
        # One CPU is left beside it.
        ({"resources": {"far": 1}}, [placed("a", "bbbb")], []),
        # The head has a CPU left, which is of no use to it.
        ({"resources": {"far": 1}}, [placed("a", "bbbb", since=1), placed("b", "bbbb", since=2)], ["b", "a"]),
        ({"resources": {"far": 1}}, [placed("a", "bbbb", is_idle=True), placed("b", "bbbb", since=2)], ["a", "b"]),
        # The only one of its kind has the resource itself.
        ({"resources": {"far": 1}}, [placed("a", "bbbb", demands={"far": 1.0})], ["a"]),
        ({"num_cpus": 2}, [placed("a", "bbbb"), placed("h", "aaaa")], ["a"]),
        # A worker of a node that nobody knows is in nobody's way.
        ({"num_cpus": 2}, [placed("x", "cccc"), placed("y", "")], []),
        # No node could ever have it.
        ({"num_cpus": 3}, [placed("a", "bbbb")], []),
    ],
)
def test_somebody_leaves_only_where_that_makes_room(declared, workers, leave):
    assert in_the_way(ResourceShape.of(declared), CLUSTER, workers) == leave
