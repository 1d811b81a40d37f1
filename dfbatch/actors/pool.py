"""The pool of Ray workers as the manager sees it: start, watch, adopt again, let go."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayError

from dfbatch.actors.cluster_view import ClusterWatch
from dfbatch.actors.endings import ending_of
from dfbatch.actors.manager_base import ManagerBase, ManagerConfig
from dfbatch.actors.pool_members import Estates, Member, placed, who_leaves
from dfbatch.actors.worker_actor import Parting, WorkerActor, WorkerConfig
from dfbatch.actors.worker_calls import WorkerCalls
from dfbatch.core.placement import in_the_way
from dfbatch.core.pool_size import Demand, Limits, allot
from dfbatch.core.resource_shape import DEFAULT, ResourceShape, cpus_of_key
from dfbatch.core.start_failures import StartFailures

_logger = logging.getLogger("dfbatch.manager")
WORKER_PREFIX = "dfbatch-worker"
DRAIN_S = 10.0
PLACE_PATIENCE_S = 4.0
"""A shape of which no worker finds a place for so long has others make way, on a node where it would fit."""
MOST_PENDING = 32
"""Workers that are asked for and have no place yet. They are what Ray's autoscaler adds nodes for."""


def worker_prefix(config: ManagerConfig) -> str:
    """Names of the workers of one manager begin with it."""
    return f"{WORKER_PREFIX}:{config.actor_name.partition(':')[2]}:"


class RayPool:
    """Detached, named worker actors. One pending ``join`` call each: its failure is the death notice."""

    def __init__(self, config: ManagerConfig) -> None:
        self._config = config
        self._low, self._high = config.workers
        self._follows_cluster = config.follows_cluster
        self._prefix = worker_prefix(config)
        self._numbers = itertools.count(1)
        self._members: dict[str, Member] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._manager: WorkerCalls | None = None
        self._closing = False
        self._n_spared = 0
        self._let_gone: set[str] = set()
        self._estates = Estates()
        self._watch_cluster = ClusterWatch()
        self._failures = StartFailures()
        self._troubles: dict[str, str] = {}
        self._placeless: list[str] = []
        """Shapes with work that no node could have a worker of."""

    def attach(self, manager: ManagerBase) -> None:
        """Adopt the workers that a manager before this one has started."""
        assert isinstance(manager, WorkerCalls)
        self._manager = manager
        for entry in ray.util.list_named_actors(all_namespaces=True):
            name = entry["name"]
            if entry["namespace"] == self._config.namespace and name.startswith(self._prefix):
                with contextlib.suppress(ValueError):
                    handle = ray.get_actor(name, self._config.namespace)
                    key = name[len(self._prefix) :].rpartition(":")[0] or DEFAULT
                    self._watch(name, handle, key, {"CPU": cpus_of_key(key)}, is_adopted=True)
        self.reconcile(())

    def set_limits(self, low: int, high: int) -> None:
        self._low, self._high, self._follows_cluster = low, high, False

    def spare(self, n_cpus: int) -> None:
        self._n_spared = n_cpus

    async def lacks(self, shape: ResourceShape) -> str | None:
        view = await self._watch_cluster.fresh()
        return None if view is None else view.lacks(shape)

    async def ending_of(self, worker: str, incarnation: str) -> str | None:
        return await ending_of(incarnation) if worker in self._members else None

    def troubles(self) -> dict[str, str]:
        return self._troubles

    # ------------------------------------------------------------------------------ how many

    def reconcile(self, demands: Sequence[Demand]) -> None:
        self._watch_cluster.refresh_when_due()
        if self._closing or self._manager is None:
            return
        self._look_at_members()
        possible = self._note_troubles(demands)
        limits = self._limits()
        target = allot(possible, limits)
        # One is asked for even where no node could have it: that is how an autoscaler hears of it.
        target |= dict.fromkeys(self._placeless, 1)
        shapes = {DEFAULT: ResourceShape(), **{demand.shape.key: demand.shape for demand in demands}}
        self._dismiss(target, limits)
        starving = self._make_room([shapes[key] for key, n in target.items() if n])
        n_pending = sum(not member.is_here for member in self._members.values())
        present = Counter(member.shape for member in self._members.values())
        for key, n in target.items():
            if starving and key not in starving:
                continue  # its place is for them
            while present[key] < n and len(self._members) < limits.high and n_pending < MOST_PENDING:
                if not self._failures.may_start(key, time.monotonic()):
                    break
                try:
                    self._start(shapes[key])
                except Exception as error:  # Ray looks at a runtime_env before it starts anything
                    self._failures.failed(key, f"{type(error).__name__}: {error}", time.monotonic())
                    break
                present[key] += 1
                n_pending += 1
            if n == 0 and any(d.shape.key == key and d.n_wanted for d in possible):
                taken = f"All {limits.high} workers that may run are taken by work of other needs; allow more"
                why = taken if limits.high else "The workers were drained; start some again"
                self._troubles.setdefault(key, f"{why} with client.scale(min, max).")

    def _limits(self) -> Limits:
        """On a cluster that adds no nodes by itself, asking for more than it has only makes others wait."""
        view = self._watch_cluster.view
        if view is None:
            return Limits(self._low, max(0, self._high - self._n_spared))
        cpus = None if view.autoscales else view.total("CPU") - self._n_spared
        most = max(1, int(view.total("CPU")) - 1 + (MOST_PENDING if view.autoscales else 0))
        high = most if self._follows_cluster else self._high
        return Limits(self._low, high, cpus)

    def _note_troubles(self, demands: Sequence[Demand]) -> list[Demand]:
        """Remember why some shapes cannot run; the demands that can."""
        view = self._watch_cluster.view
        self._troubles, self._placeless = self._failures.reasons(), []
        possible = []
        for demand in demands:
            reason = view.lacks(demand.shape) if view is not None and demand.n_wanted else None
            room = None if view is None else view.room_for(demand.shape)
            if reason is not None:
                self._troubles[demand.shape.key] = reason
                self._placeless.append(demand.shape.key)
            else:
                possible.append(demand if room is None else Demand(demand.shape, min(demand.n_wanted, room)))
        return possible

    def _look_at_members(self) -> None:
        assert self._manager is not None
        now = time.monotonic()
        for name, member in self._members.items():
            member.look(self._manager.state.workers.get(name), now)
            if member.is_here:
                self._failures.came_up(member.shape)

    def _dismiss(self, target: dict[str, int], limits: Limits) -> None:
        staying = {name: member for name, member in self._members.items() if name not in self._let_gone}
        self._let_go(who_leaves(staying, target, limits, self._config.idle_s, time.monotonic()))

    def _make_room(self, wanted: Sequence[ResourceShape]) -> set[str]:
        """Shapes of which no worker finds a place, though none but ours are in their way; one of those is to leave."""
        view, now = self._watch_cluster.view, time.monotonic()
        starving: set[str] = set()
        workers = {} if self._manager is None else self._manager.state.workers
        if view is None or view.autoscales:
            return starving
        for shape in wanted:
            mine = [member for member in self._members.values() if member.shape == shape.key]
            waits_s = now - min((member.since for member in mine), default=now)
            if any(member.is_here for member in mine) or waits_s < PLACE_PATIENCE_S:
                continue
            names = in_the_way(shape, view, placed(self._members, workers))
            if names:
                starving.add(shape.key)
            if names and not self._let_gone.intersection(names):
                self._let_go(names[:1])
        return starving

    def _let_go(self, names: list[str]) -> None:
        assert self._manager is not None
        for name in names:
            self._let_gone.add(name)
            if self._members[name].is_here:
                self._manager.leaving.add(name)
                self._manager.wake(name)
            else:
                # It has no place yet, and would only find one to leave it again.
                ray.kill(self._members[name].handle)

    # ------------------------------------------------------------------------------ start and watch

    async def close(self) -> None:
        """Ask all workers to leave, and end those that do not."""
        self._closing = True
        if self._manager is not None:
            self._manager.leaving.update(self._members)
            self._manager.wake_all()
        for member in list(self._members.values()):
            with contextlib.suppress(RayActorError):
                member.handle.stop.remote()
        until = asyncio.get_running_loop().time() + DRAIN_S
        while any(member.is_here for member in self._members.values()) and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.05)
        for member in self._members.values():
            ray.kill(member.handle)

    def _start(self, shape: ResourceShape) -> None:
        prefix = self._prefix if shape.key == DEFAULT else f"{self._prefix}{shape.key}:"
        name = next(name for n in self._numbers if (name := f"{prefix}{n}") not in self._members)
        config = WorkerConfig(
            name,
            self._config.storage_path,
            self._config.namespace,
            self._config.actor_name,
            shape.key,
            None,  # who is idle is for the pool to say: it knows how many must stay
            self._estates.take(shape.key),
        )
        actor = ray.remote(WorkerActor)
        handle = actor.options(
            name=name,
            namespace=self._config.namespace,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=4,
            enable_task_events=False,
            scheduling_strategy="SPREAD",
            **_ray_options(shape),
        ).remote(config)
        self._watch(name, handle, shape.key, shape.demands())

    def _watch(self, name: str, handle: Any, shape: str, demands: dict[str, float], is_adopted: bool = False) -> None:
        if name not in self._members:
            # One of an earlier manager is at work, and gets time to say hello to this one.
            self._members[name] = Member(handle, shape, demands, time.monotonic(), has_come=is_adopted)
            task = asyncio.get_running_loop().create_task(self._join(name, handle))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _join(self, name: str, handle: Any) -> None:
        """Follow one worker through its restarts until it has left."""
        while True:
            before = self._incarnation_of(name)
            named = asyncio.ensure_future(handle.incarnation.remote())
            try:
                parting: Parting = await handle.join.remote()
            except ActorUnavailableError as error:
                # The notice takes longer than a new process may need to say hello: it must not be taken for the dead.
                dead = await _answer_of(named) or before
                if dead is not None:
                    self._died(name, await ending_of(dead) or str(error), dead)
                await asyncio.sleep(0.1)
                continue
            except (ActorDiedError, RayError) as error:
                await _answer_of(named)
                self._died(name, str(error))
                self._did_not_come_up(name, str(error))
            else:
                if parting.failure:
                    _logger.warning("Worker %s failed: %s", name, parting.failure)
                    self._died(name, parting.failure)
                    self._did_not_come_up(name, parting.failure)
                self._estates.leave(self._members[name].shape, parting.breakers)
                # It left in good order; the actor process is of no more use.
                ray.kill(handle)
            self._members.pop(name, None)
            self._let_gone.discard(name)
            return

    def _incarnation_of(self, name: str) -> str | None:
        """The newest process of the worker that has said hello."""
        known = None if self._manager is None else self._manager.state.workers.get(name)
        return None if known is None else known.incarnation

    def _died(self, name: str, cause: str, incarnation: str | None = None) -> None:
        if self._manager is not None:
            self._manager.worker_died(name, incarnation, cause)

    def _did_not_come_up(self, name: str, cause: str) -> None:
        """A worker that never was there: the next one of its shape waits a little before it is tried."""
        member = self._members.get(name)
        known = self._manager is not None and name in self._manager.state.workers
        if member is not None and not member.has_come and not known and name not in self._let_gone:
            self._failures.failed(member.shape, cause, time.monotonic())


async def _answer_of(call: asyncio.Future[str]) -> str | None:
    """What the call has answered, or None if it failed. It went to a process that has ended, so it fails soon."""
    try:
        return await asyncio.wait_for(call, 5.0)
    except (TimeoutError, RayError):
        return None


def _ray_options(shape: ResourceShape) -> dict[str, Any]:
    """What Ray must give to a worker of this shape. Zero CPUs are said too: Ray's own default is another."""
    return {"num_cpus": 1, **shape.declared()}
