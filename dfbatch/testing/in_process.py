"""A whole dfbatch in one process, without Ray: for our tests and for yours.

    from dfbatch.testing import InProcess
    with InProcess(tmp_path) as client:
        assert client.map(lambda x: x + 1, [1, 2]).results().values() == [2, 3]

Manager, ledger and workers are the real ones; workers are threads, so a verifier
that ends its process ends the test. Time limits are not enforced here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dfbatch.actors.breaker_memory import BreakerMemory
from dfbatch.actors.link import LinkedManager, LocalLink
from dfbatch.actors.manager import Manager
from dfbatch.actors.manager_base import ManagerBase, ManagerConfig
from dfbatch.actors.pool_members import Estates
from dfbatch.actors.position_mark import PositionMark, breakers_path
from dfbatch.actors.verifier_store import VerifierStore
from dfbatch.actors.worker import Worker
from dfbatch.client.client import Client
from dfbatch.clock import Clock
from dfbatch.core.pool_size import Demand, Limits, allot
from dfbatch.core.resource_shape import ResourceShape
from dfbatch.errors import DfbatchError
from dfbatch.ledger.storage import open_storage


class ThreadPool:
    """Workers as threads of this process."""

    def __init__(self, storage_path: str, low: int, high: int, marks: Path) -> None:
        self._storage_path = storage_path
        self._low, self._high = low, high
        self._marks = marks
        self._workers: dict[str, Worker] = {}
        self._shapes: dict[str, str] = {}
        self._estates = Estates()
        self._threads: list[threading.Thread] = []
        self._link: LocalLink | None = None
        self._closing = False

    def attach(self, manager: ManagerBase) -> None:
        self._link = LocalLink(manager, asyncio.get_running_loop())
        self.reconcile(())

    def set_limits(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def spare(self, n_cpus: int) -> None:
        """Threads take no CPU of Ray's from anybody."""

    async def lacks(self, shape: ResourceShape) -> str | None:
        """A thread runs work of any shape: code for a GPU is tested without one."""
        return None

    async def ending_of(self, worker: str, incarnation: str) -> str | None:
        return None

    def troubles(self) -> Mapping[str, str]:
        return {}

    def reconcile(self, demands: Sequence[Demand]) -> None:
        for name, worker in list(self._workers.items()):
            if worker.wait_left(0):
                del self._workers[name]
                if worker.renewal is not None:
                    self._estates.leave(self._shapes[name], self._memory_of(name).bequeath())
        for key, n in allot(demands, Limits(self._low, self._high)).items():
            self._start(key, n)

    def _start(self, shape: str, target: int) -> None:
        while self._link is not None and not self._closing and self._n_of(shape) < target:
            name = f"thread-{len(self._threads) + 1}"
            mark = PositionMark(self._marks, name)
            estate = self._estates.take(shape)
            if estate is not None:
                self._memory_of(name).inherit(estate)
            worker = Worker(
                name, LinkedManager(self._link), VerifierStore(open_storage(self._storage_path)), mark, shape=shape
            )
            thread = threading.Thread(target=worker.run, name=name, daemon=True)
            self._workers[name], self._shapes[name] = worker, shape
            self._threads.append(thread)
            thread.start()

    def _memory_of(self, name: str) -> BreakerMemory:
        return BreakerMemory(breakers_path(self._marks, name))

    def _n_of(self, shape: str) -> int:
        return sum(self._shapes[name] == shape for name in self._workers)

    async def close(self) -> None:
        self._closing = True
        for worker in self._workers.values():
            worker.stop()
        await asyncio.get_running_loop().run_in_executor(None, self._join)

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(timeout=10.0)


class InProcess:
    """Context manager that gives a Client on a ledger under ``storage_path``, without Ray."""

    def __init__(
        self,
        storage_path: str | os.PathLike[str],
        *,
        workers: int | tuple[int, int] = 2,
        resume: bool = False,
        clock: Clock | None = None,
        session: str | None = None,
    ) -> None:
        low, high = (0, workers) if isinstance(workers, int) else workers
        path = os.fspath(storage_path)
        self._marks = tempfile.TemporaryDirectory(prefix="dfbatch-marks-")
        config = ManagerConfig(
            path,
            "dfbatch",
            "in_process",
            "",
            "in-process",
            session or os.urandom(4).hex(),
            os.getpid(),
            (low, high),
            resume,
        )
        self.pool = ThreadPool(path, low, high, Path(self._marks.name))
        self.manager = Manager(config, self.pool, clock)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dfbatch-manager", daemon=True)
        self.client: Client | None = None
        self._path = path

    def link(self) -> LocalLink:
        """A new link to the manager of this process."""
        return LocalLink(self.manager, self._loop)

    def __enter__(self) -> Client:
        self._thread.start()
        link = self.link()
        while (found := link.call("describe")).status != "running":
            if found.error is not None:
                self._end()
                raise found.error
            time.sleep(0.002)
        self.client = Client(link, open_storage(self._path), mode="in_process")
        return self.client

    def __exit__(self, *_: Any) -> None:
        if self.client is not None:
            self.client.close()
        with contextlib.suppress(DfbatchError):
            self.link().call("shutdown", timeout_s=60.0)
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10.0)
        self._loop.close()
        self._marks.cleanup()
