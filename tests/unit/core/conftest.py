"""A manager without its shell: time stands still, rows become durable when the test says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from dfbatch.core import events
from dfbatch.core.batch import Batch, BatchSpec, BatchStop
from dfbatch.core.chunking import ChunkSizer
from dfbatch.core.effects import Effect, Granted, OutcomesDecided, OutcomesTaken
from dfbatch.core.error_class import ErrorClass
from dfbatch.core.instant import Instant
from dfbatch.core.manager import ManagerState
from dfbatch.core.policy import BatchPolicy, QueuePolicy
from dfbatch.core.retry import Retry
from dfbatch.core.states import BatchState, JobState

SPEC_FIELDS = {"queue", "priority", "shape", "name", "submit_id", "key", "content", "submitted_at", "sealed"}
CANCEL = BatchStop(JobState.CANCELLED, BatchState.CANCELLED, "Cancelled by the user.")


class FixedSize(ChunkSizer):
    """Chunks of one size, so that a test knows who is in which."""

    def __init__(self, n: int) -> None:
        super().__init__(cap=n)

    def size(self, n_ready: int, n_workers: int) -> int:
        return self.cap


class Driver:
    """Submits, leases, reports and commits; keeps ``now``. Workers that lease say hello by themselves."""

    def __init__(self, epoch: int = 1) -> None:
        self.now = Instant(1.7e9, 1_000.0)
        self.state = ManagerState(epoch=epoch, rng=np.random.default_rng(0))
        self.effects: list[Effect] = []
        self._uncommitted: list[tuple[str, np.ndarray]] = []

    # -------------------------------------------------------------------------------- time

    def wait(self, seconds: float, jump: float = 0.0) -> None:
        """Let time pass, unnoticed. ``jump``: how far the wall clock is put forward besides."""
        self.now = Instant(self.now.wall + seconds + jump, self.now.mono + seconds)

    def tick(self, seconds: float = 0.0, jump: float = 0.0) -> list[Effect]:
        self.wait(seconds, jump)
        return self.tell(events.Tick())

    # ------------------------------------------------------------------------------ events

    def tell(self, event: events.Event) -> list[Effect]:
        effects = self.state.handle(event, self.now)
        for effect in effects:
            if isinstance(effect, OutcomesTaken):
                self._uncommitted.append((effect.batch_id, np.bincount(effect.state, minlength=len(JobState))))
            if isinstance(effect, OutcomesDecided):
                counts = np.zeros(len(JobState), np.int64)
                counts[effect.state.code] = len(effect.indices)
                self._uncommitted.append((effect.batch_id, counts))
        self.effects += effects
        return effects

    def commit(self) -> list[Effect]:
        """Everything taken or decided so far becomes durable."""
        rows, self._uncommitted = tuple(self._uncommitted), []
        return self.tell(events.Committed(rows))

    def spec(self, n: int, batch_id: str = "b", **options: Any) -> BatchSpec:
        """``options`` are those of BatchSpec, BatchPolicy and Retry together."""
        given = {"submitted_at": self.now.wall, **{k: v for k, v in options.items() if k in SPEC_FIELDS}}
        rest = {k: v for k, v in options.items() if k not in SPEC_FIELDS}
        retry = {k: rest.pop(k) for k in list(rest) if k in Retry.__dataclass_fields__}
        return BatchSpec(batch_id, n, policy=BatchPolicy(retry=Retry(**{"jitter": 0.0, **retry}), **rest), **given)

    def submit(self, n: int, batch_id: str = "b", **options: Any) -> Batch:
        spec = self.spec(n, batch_id, **options)
        self.state.admit(spec)
        self.tell(events.BatchSubmitted(spec))
        return self.state.batches[batch_id]

    def limit(self, queue: str = "default", *, paused: bool | None = None, **limits: Any) -> list[Effect]:
        return self.tell(events.QueueChanged(queue, QueuePolicy(**limits) if limits else None, paused))

    def hello(self, worker: str = "w", incarnation: str = "1", **options: Any) -> list[Effect]:
        return self.tell(events.WorkerHello(worker, incarnation, **options))

    def ask(self, worker: str = "w") -> Granted | None:
        if worker not in self.state.workers:
            self.hello(worker)
        found = [e for e in self.tell(events.LeaseRequested(worker)) if isinstance(e, Granted)]
        return found[0] if found else None

    def lease(self, worker: str = "w") -> Granted:
        granted = self.ask(worker)
        assert granted is not None, "there was nothing to lease"
        return granted

    def lease_of(self, n: int, worker: str = "w") -> Granted:
        """A lease of exactly ``n`` jobs, whatever the chunk would have been."""
        batch = next(b for b in self.state.batches.values() if b.has_ready_work())
        batch.sizer = FixedSize(n)
        granted = self.lease(worker)
        assert len(granted.lease.indices) == n
        return granted

    def report(
        self,
        granted: Granted,
        error: ErrorClass | Sequence[ErrorClass] = ErrorClass.NONE,
        *,
        only: Sequence[int] | None = None,
        fingerprint: int = 7,
        busy_s: float = 0.1,
        payload: Any = None,
    ) -> list[Effect]:
        """The worker reports its lease, or ``only`` these jobs of it."""
        lease = granted.lease
        mine = np.ones(len(lease.indices), np.bool_) if only is None else np.isin(lease.indices, only)
        indices = lease.indices[mine]
        codes = np.full(len(indices), error, np.uint8) if isinstance(error, int) else np.array(error, np.uint8)
        return self.tell(
            events.OutcomesReported(
                lease.worker,
                lease.lease_id,
                lease.batch_id,
                indices,
                granted.generation[mine],
                codes,
                np.where(codes == 0, 0, fingerprint),
                busy_s,
                payload,
            )
        )

    def fail(self, n: int, batch_id: str = "b", **options: Any) -> Batch:
        """A batch of ``n`` jobs that all failed, durably."""
        batch = self.submit(n, batch_id, fail_fast=False, **options)
        self.work_off(ErrorClass.PERMANENT)
        self.commit()
        return batch

    def work_off(self, error: ErrorClass = ErrorClass.NONE, worker: str = "w") -> None:
        """Run what there is to run now."""
        while (granted := self.ask(worker)) is not None:
            self.report(granted, error)

    def kill(self, worker: str = "w", mark: tuple[int, int] | None = None, **told: Any) -> list[Effect]:
        """The worker's process dies, and starts again with what it had marked."""
        old = self.state.workers[worker].incarnation
        self.tell(events.WorkerLost(worker, old, "killed"))
        return self.hello(worker, str(int(old) + 1), mark=mark, **told)

    # ------------------------------------------------------------------------------- views

    def states(self, batch: Batch) -> list[str]:
        """The state of every job, as words."""
        return [JobState.of(code).value for code in batch.jobs.state]

    def of_kind(self, kind: type, effects: list[Effect] | None = None) -> list[Any]:
        return [e for e in (self.effects if effects is None else effects) if isinstance(e, kind)]


@pytest.fixture
def make_driver() -> Iterator[Callable[..., Driver]]:
    """More managers than one, as after a restart. Each is in order at the end."""
    made: list[Driver] = []

    def make(epoch: int = 1) -> Driver:
        made.append(Driver(epoch))
        return made[-1]

    yield make
    for driver in made:
        driver.state.validate()


@pytest.fixture
def driver(make_driver: Callable[..., Driver]) -> Driver:
    return make_driver()


@pytest.fixture
def state(driver: Driver) -> ManagerState:
    """The driver's state; its invariants hold when the test is over."""
    return driver.state


@pytest.fixture
def cancel() -> BatchStop:
    """What a user's cancel says."""
    return CANCEL
