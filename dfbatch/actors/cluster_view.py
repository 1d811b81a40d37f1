"""What the cluster has now, read from Ray every few seconds by a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import time

import ray

from dfbatch.actors.ray_compat import autoscaler_facts
from dfbatch.core.resource_shape import ClusterView, NodeView

VIEW_AGE_S = 2.0
_logger = logging.getLogger("dfbatch.manager")


def read_view() -> ClusterView:
    """Asks Ray; a few milliseconds."""
    nodes = tuple(
        NodeView(node["NodeManagerAddress"], node["Resources"], node["NodeID"])
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    )
    autoscales, node_types = autoscaler_facts()
    return ClusterView(nodes, autoscales, tuple(node_types))


class ClusterWatch:
    """Keeps the newest view. One event loop uses it."""

    def __init__(self) -> None:
        self.view: ClusterView | None = None
        """None until the first answer."""
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    def refresh_when_due(self) -> None:
        """Begin to read again if the view is old; returns at once."""
        if self._reading is None and time.monotonic() - self._read_at > VIEW_AGE_S:
            self._reading = asyncio.get_running_loop().create_task(self._read())

    async def fresh(self) -> ClusterView | None:
        """A view that is not older than this call."""
        if self._reading is not None:
            await asyncio.shield(self._reading)
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())
        await asyncio.shield(self._reading)
        return self.view

    async def _read(self) -> None:
        try:
            self.view = await asyncio.to_thread(read_view)
        except Exception as error:
            # The last view is better than none; the next tick asks again.
            _logger.warning("Ray does not say what the cluster has: %s", error)
        finally:
            self._read_at = time.monotonic()
            self._reading = None
