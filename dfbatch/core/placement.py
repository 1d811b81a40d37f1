"""Whether a worker finds a node with room for it, and who would have to leave one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dfbatch.core.resource_shape import ClusterView, ResourceShape


@dataclass(frozen=True, slots=True)
class Placed:
    """A worker that works. ``node``: how the id of its node begins. ``since``: monotonic."""

    name: str
    node: str
    demands: Mapping[str, float]
    is_idle: bool
    since: float


def in_the_way(shape: ResourceShape, view: ClusterView, placed: Iterable[Placed]) -> list[str]:
    """Workers of which one has to leave so that one of this shape finds room; empty if there is room as it is.

    Enough may be free in sum, but in pieces on several nodes. Those come first that are idle, then the newest.
    """
    on_node: dict[str, list[Placed]] = defaultdict(list)
    for worker in placed:
        for node in view.nodes:
            if worker.node and node.node_id.startswith(worker.node):
                on_node[node.node_id].append(worker)
    found: list[Placed] = []
    for node in view.nodes:
        if shape.fits(node.has):
            free = dict(node.has)
            for worker in on_node[node.node_id]:
                for name, amount in worker.demands.items():
                    free[name] = free.get(name, 0.0) - amount
            if shape.fits(free):
                return []
            found += on_node[node.node_id]
    return [worker.name for worker in sorted(found, key=lambda worker: (not worker.is_idle, -worker.since))]
