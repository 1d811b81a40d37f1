"""The pool of Ray workers as the manager sees it: start, watch, adopt again, let go."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError

from dfbatch.actors.manager_base import ManagerBase, ManagerConfig
from dfbatch.actors.worker_actor import WorkerActor, WorkerConfig
from dfbatch.actors.worker_calls import WorkerCalls

_logger = logging.getLogger("dfbatch.manager")
WORKER_PREFIX = "dfbatch-worker"
DRAIN_S = 10.0


def worker_prefix(config: ManagerConfig) -> str:
    """Names of the workers of one manager begin with it."""
    return f"{WORKER_PREFIX}:{config.actor_name.partition(':')[2]}:"


class RayPool:
    """Detached, named worker actors. One pending ``join`` call each: its failure is the death notice."""

    def __init__(self, config: ManagerConfig) -> None:
        self._config = config
        self._low, self._high = config.workers
        self._prefix = worker_prefix(config)
        self._numbers = itertools.count(1)
        self._handles: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._manager: WorkerCalls | None = None
        self._closing = False
        self._n_spared = 0
        self._let_gone: set[str] = set()

    def attach(self, manager: ManagerBase) -> None:
        """Adopt the workers that a manager before this one has started."""
        assert isinstance(manager, WorkerCalls)
        self._manager = manager
        for entry in ray.util.list_named_actors(all_namespaces=True):
            name = entry["name"]
            if entry["namespace"] == self._config.namespace and name.startswith(self._prefix):
                with contextlib.suppress(ValueError):
                    self._watch(name, ray.get_actor(name, self._config.namespace))
        self.reconcile(0)

    def set_limits(self, low: int, high: int) -> None:
        self._low, self._high = low, high
        self._let_go()

    def spare(self, n_cpus: int) -> None:
        self._n_spared = n_cpus
        self._let_go()

    def reconcile(self, n_wanted: int) -> None:
        target = min(self._most, max(self._low, n_wanted))
        while not self._closing and self._manager is not None and len(self._handles) < target:
            self._start()

    @property
    def _most(self) -> int:
        return max(0, self._high - self._n_spared)

    def _let_go(self) -> None:
        """Workers beyond the limit leave: first those that have nothing to do, then the newest."""
        manager = self._manager
        staying = [name for name in self._handles if name not in self._let_gone]
        if manager is None or self._closing or len(staying) <= self._most:
            return
        at_work = {name for name, worker in manager.state.workers.items() if worker.leases}
        idle = [name for name in staying if name not in at_work]
        busy = [name for name in reversed(staying) if name in at_work]
        chosen = [*idle, *busy][: len(staying) - self._most]
        self._let_gone.update(chosen)
        manager.leaving.update(chosen)
        for name in chosen:
            manager.wake(name)

    async def close(self) -> None:
        """Ask all workers to leave, and end those that do not."""
        self._closing = True
        if self._manager is not None:
            self._manager.leaving.update(self._handles)
            self._manager.wake_all()
        handles = dict(self._handles)
        for handle in handles.values():
            with contextlib.suppress(RayActorError):
                handle.stop.remote()
        until = asyncio.get_running_loop().time() + DRAIN_S
        while self._handles and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.05)
        for handle in self._handles.values():
            ray.kill(handle)

    def _start(self) -> None:
        name = self._prefix + str(next(self._numbers))
        while name in self._handles:
            name = self._prefix + str(next(self._numbers))
        config = WorkerConfig(
            name,
            self._config.storage_path,
            self._config.namespace,
            self._config.actor_name,
            "default",
            self._config.idle_s,
        )
        actor = ray.remote(WorkerActor)
        handle = actor.options(
            name=name,
            namespace=self._config.namespace,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=1,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=4,
            enable_task_events=False,
        ).remote(config)
        self._watch(name, handle)

    def _watch(self, name: str, handle: Any) -> None:
        if name not in self._handles:
            self._handles[name] = handle
            task = asyncio.get_running_loop().create_task(self._join(name, handle))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _join(self, name: str, handle: Any) -> None:
        """Follow one worker through its restarts until it has left."""
        while True:
            try:
                failure = await handle.join.remote()
            except ActorUnavailableError as error:
                self._died(name, str(error))
                await asyncio.sleep(0.1)
                continue
            except (ActorDiedError, RayActorError) as error:
                self._died(name, str(error))
            else:
                if failure:
                    _logger.warning("Worker %s failed: %s", name, failure)
                    self._died(name, failure)
                # It left in good order; the actor process is of no more use.
                ray.kill(handle)
            self._handles.pop(name, None)
            self._let_gone.discard(name)
            return

    def _died(self, name: str, cause: str) -> None:
        if self._manager is not None:
            self._manager.worker_died(name, None, cause)
