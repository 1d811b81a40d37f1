"""A worker as a Ray actor: a thin shell around ``Worker``."""

from __future__ import annotations

import contextlib
import faulthandler
import threading
import time
from dataclasses import dataclass

import ray

from dfbatch.actors.breaker_memory import BreakerMemory, Kept
from dfbatch.actors.link import LinkedManager
from dfbatch.actors.log_format import log_handler
from dfbatch.actors.memory_limit import MemoryLimit
from dfbatch.actors.position_mark import PositionMark, marks_folder
from dfbatch.actors.ray_compat import logs_folder
from dfbatch.actors.ray_link import RayLink
from dfbatch.actors.verifier_store import VerifierStore
from dfbatch.actors.worker import Worker
from dfbatch.actors.worker_log import asked_level, log_file, speak_of_jobs
from dfbatch.ledger.storage import open_storage

LINGER_S = 20.0


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How to start a worker of a pool."""

    name: str
    storage_path: str
    namespace: str
    manager_name: str
    shape: str
    idle_s: float | None
    breakers: Kept | None = None
    """What the worker whose place it takes knew of its dependencies."""


@dataclass(frozen=True, slots=True)
class Parting:
    """How a worker has left. ``failure``: empty if in good order. ``breakers``: for the one that takes its place."""

    failure: str = ""
    breakers: Kept | None = None


class WorkerActor:
    """Works from its construction on, with or without a manager that watches it.

    Only what cannot fail is done in ``__init__``: one that raises is never restarted.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._incarnation: str = ray.get_runtime_context().get_worker_id()  # by which Ray remembers how it ended
        self._ended = threading.Event()
        self._worker: Worker | None = None
        self._parting = Parting()
        self._thread = threading.Thread(target=self._work, name="dfbatch-worker", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return self._config.name

    def join(self) -> Parting:
        """Blocks until the worker has left. That the call fails is the death notice."""
        self._ended.wait()
        return self._parting

    def incarnation(self) -> str:
        """Which process of this worker it is, as it tells the manager."""
        return self._incarnation

    def stop(self) -> None:
        """Finish the item at hand, hand back the rest, and leave."""
        if self._worker is not None:
            self._worker.stop()

    def _work(self) -> None:
        config = self._config
        try:
            mark = PositionMark(marks_folder(config.namespace), config.name)
            memory = BreakerMemory(mark.breakers_path)
            if config.breakers is not None:
                memory.inherit(config.breakers)
            with contextlib.closing(open(mark.stack_path, "a+")) as stack_file:
                faulthandler.enable(stack_file)
                self._worker = Worker(
                    config.name,
                    LinkedManager(RayLink(config.manager_name, config.namespace)),
                    VerifierStore(open_storage(config.storage_path)),
                    mark,
                    shape=config.shape,
                    node=ray.get_runtime_context().get_node_id()[:12],
                    idle_s=config.idle_s,
                    stack_file=stack_file,
                    incarnation=self._incarnation,
                    memory=MemoryLimit(marks_folder(config.namespace), config.name),
                )
                _speak(config.name, self._worker)
                self._worker.run()
            if self._worker.renewal is not None:
                self._parting = Parting(breakers=memory.bequeath())
        except Exception as error:
            self._parting = Parting(f"{type(error).__name__}: {error}")
            raise
        finally:
            self._ended.set()
            self._leave_for_good()

    def _leave_for_good(self) -> None:
        """A manager that watches ends this process; without one, a detached actor would stay for ever."""
        time.sleep(LINGER_S)
        ray.kill(ray.get_runtime_context().current_actor)


def _speak(name: str, worker: Worker) -> None:
    """Into a file of its own beside those of Ray, which Ray would copy to the screens of drivers that want its logs."""
    handler = log_handler("json", log_file(logs_folder(), name))
    speak_of_jobs(name, worker.context, handler, asked_level())
