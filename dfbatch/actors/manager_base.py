"""What all parts of the manager share: its state, its clock, its ledger, and those who wait."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from dfbatch.actors.batch_desk import BatchDesk, desk_of
from dfbatch.actors.breaker_book import BreakerBook
from dfbatch.actors.committer import Committer
from dfbatch.actors.job_news import NewsHeard
from dfbatch.actors.log_book import LogBook
from dfbatch.actors.messages import Beat
from dfbatch.actors.opening import OpenedLedger
from dfbatch.actors.step_book import StepBook
from dfbatch.clock import Clock, SystemClock
from dfbatch.core.idleness import IdleWatch
from dfbatch.core.instant import Instant
from dfbatch.core.manager import ManagerState
from dfbatch.core.metrics import Tallies
from dfbatch.core.pool_size import Demand
from dfbatch.core.resource_shape import ResourceShape
from dfbatch.errors import LedgerFenced, ManagerRecovering, StorageRefused
from dfbatch.ledger.payload_memory import PayloadMemory
from dfbatch.ledger.recovery import RecoveredBatch

READ_SILENCE_S = 30.0
"""A reader of a Dataset that was not heard of for so long reads no more."""


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ManagerConfig:
    """How to start a manager. ``session`` is the same for all lives of one manager actor.

    ``begun``: the ledger is there; if it is not, its storage is away, and an empty one must not be begun in its place.
    """

    storage_path: str
    namespace: str
    mode: str
    address: str
    actor_name: str
    session: str
    owner_pid: int = 0
    workers: tuple[int, int] = (0, 1)
    resume: bool = False
    idle_s: float = 60.0
    begun: bool = False
    follows_cluster: bool = False
    """The most workers are those that the cluster's CPUs allow, less one, as it grows and shrinks."""


class PoolPort(Protocol):
    """Starts and watches workers. Calls return at once."""

    def attach(self, manager: Any) -> None:
        """The manager runs: watch the workers that are there, and tell it when one dies."""
        ...

    def reconcile(self, demands: Sequence[Demand]) -> None:
        """Start workers until as many of each shape are there as are wanted, and allowed; let go of those too many."""
        ...

    async def lacks(self, shape: ResourceShape) -> str | None:
        """Why no worker of this shape can ever be placed, with what the cluster has; None if one can."""
        ...

    async def ending_of(self, worker: str, incarnation: str) -> str | None:
        """What is known of how a process of one of its workers was ended; None if that tells nothing."""
        ...

    def troubles(self) -> Mapping[str, str]:
        """Why nobody works, by the key of a shape; as of the last ``reconcile``."""
        ...

    def set_limits(self, low: int, high: int) -> None:
        """Keep from ``low`` to ``high`` workers of all shapes together from now on."""
        ...

    def spare(self, n_cpus: int) -> None:
        """Keep so many fewer workers than allowed; those too many leave after the item at hand."""
        ...

    async def close(self) -> None:
        """All workers leave."""
        ...


class ManagerBase:
    """State and the small helpers of every part. One event loop uses it."""

    def __init__(self, config: ManagerConfig, pool: PoolPort, clock: Clock | None = None) -> None:
        self.config = config
        self.pool = pool
        self.clock: Clock = clock or SystemClock()
        self.status = "starting"
        self.reason = ""
        self.recovery_s = 0.0
        self.fenced: LedgerFenced | None = None
        """How it learned that a newer manager owns the ledger; it has ended for good."""
        self.state = ManagerState(epoch=0)
        self.desks: dict[str, BatchDesk] = {}
        self.opened: OpenedLedger | None = None
        self.committing: Committer | None = None
        self.rng = random.Random()
        self.wakes: dict[str, asyncio.Event] = {}
        self.recalls: dict[str, dict[int, str]] = {}
        self.durable_seq: dict[str, int] = {}
        self.beats: dict[str, Beat] = {}
        self.pids: dict[str, int] = {}
        self.step_book = StepBook()
        self.log_book = LogBook()
        self.news_heard = NewsHeard()
        self.logs_noted: Counter[str] = Counter()
        self.breaker_book = BreakerBook()
        self.tallies = Tallies()
        self.idle_watch = IdleWatch()
        self.leaving: set[str] = set()
        self.drained: dict[str, str] = {}
        """Incarnations, by name, that were told to leave in an earlier life, and may not have heard it."""
        self.dataset_reads: dict[str, float] = {}
        """Readers of Ray Datasets, and when they were last heard of (monotonic seconds)."""
        self.event_seq = 0
        self.readers = ThreadPoolExecutor(1, thread_name_prefix="dfbatch-payload")
        self.payload_memory = PayloadMemory()
        """Used by the thread of ``readers`` alone."""
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def ledger(self) -> OpenedLedger:
        """The open ledger. Raises ManagerRecovering while there is none."""
        if self.opened is None:
            raise ManagerRecovering(0.2, self.reason or self.status)
        return self.opened

    @property
    def committer(self) -> Committer:
        """The thread that writes. Raises ManagerRecovering while there is none."""
        if self.committing is None:
            raise ManagerRecovering(0.2, self.reason or self.status)
        return self.committing

    async def ensure_started(self) -> None:
        """Overridden by the Manager."""
        raise ManagerRecovering(0.2, self.status)

    async def ready(self) -> None:
        """Raises ManagerRecovering or LedgerFenced unless calls can be answered."""
        await self.ensure_started()
        if self.fenced is not None:
            raise self.fenced
        if self.status != "running":
            raise ManagerRecovering(0.2, self.reason or self.status)

    async def ready_to_write(self) -> None:
        """As ``ready``; raises StorageRefused too while nothing could be made durable."""
        await self.ready()
        if self.state.storage_refusing is not None:
            raise StorageRefused(
                f"The ledger refuses writes ({self.state.storage_refusing}); nothing was changed. "
                f"Make room or mend the storage, then try again."
            )

    async def ready_for_workers(self) -> None:
        """As ``ready``, but a manager that is stopping still takes what workers bring."""
        if self.status != "stopping":
            await self.ready()

    def now(self) -> Instant:
        """The time of every event that begins now."""
        return self.clock.now()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run beside; a reference is kept, or the task could vanish."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _to_the_end(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Carried out even if the caller goes away: the ledger may already say that it was."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    def make_desk(self, row: dict[str, Any]) -> BatchDesk:
        """What the shell keeps of a batch, from its row in ``batches``."""
        desk = self.desks[row["batch_id"]] = desk_of(row, self.ledger.reader, self.payload_memory)
        return desk

    def drop_desk(self, batch_id: str) -> None:
        """The batch has left the state's memory; its items leave theirs, in the thread that reads them."""
        desk = self.desks.pop(batch_id, None)
        if desk is not None and self.status == "running":
            self.readers.submit(desk.payload.forget)

    def make_recovered_desk(self, found: RecoveredBatch) -> BatchDesk:
        """As it was in the last life: with what has come out so far."""
        desk = self.make_desk(found.row)
        desk.verdicts, desk.errors = found.verdicts, found.errors
        return desk

    def spare_a_cpu(self) -> None:
        """While somebody reads a Ray Dataset one CPU is left to the read, which would wait for ever otherwise."""
        oldest = self.now().mono - READ_SILENCE_S
        self.dataset_reads = {reader: seen for reader, seen in self.dataset_reads.items() if seen > oldest}
        self.pool.spare(1 if self.dataset_reads else 0)

    def wake(self, worker: str) -> None:
        """Have the parked call of a worker look again."""
        if worker in self.wakes:
            self.wakes[worker].set()

    def wake_all(self) -> None:
        """Have every parked call look again."""
        for event in self.wakes.values():
            event.set()
