"""The manager as a Ray actor: ``Manager`` with a pool of Ray workers. Plain; wrapped where it is started."""

from __future__ import annotations

import asyncio
import os

import ray

from dfbatch.actors.manager import Manager
from dfbatch.actors.manager_base import ManagerConfig
from dfbatch.actors.pool import RayPool
from dfbatch.actors.prometheus import PrometheusExporter
from dfbatch.actors.storage_probe import read_probe

LINGER_S = 5.0


class ManagerActor(Manager):
    """``__init__`` opens nothing and so cannot fail; recovery begins with the first call."""

    def __init__(self, config: ManagerConfig) -> None:
        super().__init__(config, RayPool(config))
        self.exporter = PrometheusExporter(config.storage_path)

    def __repr__(self) -> str:
        return self.config.actor_name

    async def pid(self) -> int:
        """Process id of the manager."""
        return os.getpid()

    async def read_probe(self, path: str) -> str:
        """What a client wrote into the storage, as this node sees it."""
        return await asyncio.to_thread(read_probe, self.config.storage_path, path)

    async def ended(self) -> None:
        """Callers hear for a moment longer why; then the actor ends for good."""
        await asyncio.sleep(LINGER_S)
        ray.kill(ray.get_runtime_context().current_actor)
