"""A worker that stood still for longer than its lease: whatever it brings afterwards, each job has one row.

Manager, ledger and workers are the real ones in one process; the clock of the manager is moved by the test, and a
worker stands still because its calls and its verifier wait. tests/soak stops a real worker process instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dfbatch.actors.link import LinkedManager, ManagerLink
from dfbatch.actors.position_mark import PositionMark
from dfbatch.actors.verifier_store import VerifierStore
from dfbatch.actors.worker import Worker
from dfbatch.client.batch import Batch
from dfbatch.client.client import Client
from dfbatch.clock import ManualClock
from dfbatch.core.books import LEASE_TERM_S
from dfbatch.ledger.storage import open_storage
from dfbatch.testing.in_process import InProcess

N = 200
AT = 3
"""The zombie stands still at this item, with the outcomes of those before it not yet reported."""


def wait_at_gate(item: int, gates: str) -> dict[str, object]:
    """Stands at item 3 while the gate of this worker is shut, and says that it stands there."""
    import os
    import threading
    import time

    name = threading.current_thread().name
    if item == 3:
        open(os.path.join(gates, f"{name}-stands"), "w").close()
        while os.path.exists(os.path.join(gates, f"{name}-shut")):
            time.sleep(0.005)
    return {"by": name, "item": item}


class StandingLink:
    """A link whose calls wait while the worker stands still."""

    def __init__(self, link: ManagerLink) -> None:
        self._link = link
        self._condition = threading.Condition()
        self._flows = True
        self._n_calls = 0

    def call(self, method: str, *arguments: Any, timeout_s: float = 30.0) -> Any:
        with self._condition:
            self._condition.wait_for(lambda: self._flows)
            self._n_calls += 1
        try:
            return self._link.call(method, *arguments, timeout_s=timeout_s)
        finally:
            with self._condition:
                self._n_calls -= 1
                self._condition.notify_all()

    def halt(self) -> None:
        """Returns when no call is on its way any more: a heartbeat that comes late would renew the lease."""
        with self._condition:
            self._flows = False
            assert self._condition.wait_for(lambda: self._n_calls == 0, 100)

    def flow(self) -> None:
        with self._condition:
            self._flows = True
            self._condition.notify_all()


@dataclass
class Stage:
    """A manager whose clock stands, and workers by name."""

    client: Client
    manager: ManagerLink
    clock: ManualClock
    folder: Path
    links: dict[str, StandingLink] = field(default_factory=dict)
    workers: list[tuple[Worker, threading.Thread]] = field(default_factory=list)

    def start(self, name: str) -> None:
        link = self.links[name] = StandingLink(self.manager)
        verifiers = VerifierStore(open_storage(self.client.storage_path))
        worker = Worker(name, LinkedManager(link), verifiers, PositionMark(self.folder, name), idle_s=None)
        thread = threading.Thread(target=worker.run, name=name, daemon=True)
        self.workers.append((worker, thread))
        thread.start()

    def shut(self, name: str) -> Path:
        gate = self.folder / f"{name}-shut"
        gate.touch()
        return gate

    def stands(self, name: str) -> bool:
        return (self.folder / f"{name}-stands").exists()

    def leases(self) -> dict[str, int]:
        return {w["worker"]: w["leases"] for w in self.client.workers()}

    def workers_of_jobs(self, batch: Batch) -> list[str]:
        """Whose outcome each job has. Checks that the results table holds one row a job, and the right one."""
        raw = self.client._session.reader.read("results", batch_id=batch.id)
        assert raw["job_index"].to_pylist() == list(range(N)), "not exactly one row a job"
        assert set(raw["status"].to_pylist()) == {"succeeded"}
        values = batch.results().values()
        assert [value["item"] for value in values] == list(range(N))
        return [value["by"] for value in values]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    clock = ManualClock()
    harness = InProcess(tmp_path / "ledger", workers=(0, 0), clock=clock)
    with harness as client:
        found = Stage(client, harness.link(), clock, tmp_path)
        yield found
        for gate in tmp_path.glob("*-shut"):
            gate.unlink()
        for link in found.links.values():
            link.flow()
        for worker, thread in found.workers:
            worker.stop()
            thread.join(timeout=60)


def stand_still(stage: Stage, until: Callable[..., None]) -> tuple[Batch, Path]:
    """The zombie leases jobs, works some, and stands still until its lease is over."""
    gate = stage.shut("zombie")
    stage.start("zombie")
    gates = str(stage.folder)
    batch = stage.client.map(lambda item: wait_at_gate(item, gates), range(N))
    until(lambda: stage.stands("zombie"))
    stage.links["zombie"].halt()
    until(lambda: stage.leases()["zombie"] > 0)
    stage.clock.advance(LEASE_TERM_S + 1)
    until(lambda: stage.leases()["zombie"] == 0)
    return batch, gate


def wake_up(stage: Stage, gate: Path) -> None:
    gate.unlink()
    stage.links["zombie"].flow()


def test_what_a_zombie_brings_after_others_did_its_jobs_is_suppressed(stage: Stage, until: Callable[..., None]) -> None:
    batch, gate = stand_still(stage, until)
    stage.start("healthy")
    batch.wait(200)
    before = stage.client.health()["duplicates_suppressed"]
    wake_up(stage, gate)
    until(lambda: stage.client.health()["duplicates_suppressed"] > before)
    assert stage.workers_of_jobs(batch)[AT] == "healthy"


def test_what_a_zombie_brings_while_another_has_the_jobs_is_suppressed(
    stage: Stage, until: Callable[..., None]
) -> None:
    batch, gate = stand_still(stage, until)
    other = stage.shut("healthy")
    stage.start("healthy")
    until(lambda: stage.stands("healthy"))
    wake_up(stage, gate)
    until(lambda: stage.client.health()["duplicates_suppressed"] > 0)
    other.unlink()
    batch.wait(200)
    assert stage.workers_of_jobs(batch)[AT] == "healthy"


def test_what_a_zombie_brings_is_taken_if_nobody_has_the_jobs(stage: Stage, until: Callable[..., None]) -> None:
    """Its work is as good as that of anybody else: the lease is over, the outcome is not there yet."""
    batch, gate = stand_still(stage, until)
    wake_up(stage, gate)
    batch.wait(200)
    assert stage.workers_of_jobs(batch) == ["zombie"] * N
