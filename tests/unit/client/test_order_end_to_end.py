"""Order with real workers: urgent work does not wait for a chunk to end, one photo not behind thousands.

Items wait at a gate, which tells in which order they came: no clock says what an order is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dfbatch.client.client import Client
from dfbatch.clock import ManualClock
from dfbatch.core import sharing
from dfbatch.core.chunking import FIRST_CHUNK
from dfbatch.core.liveness import STALL_S
from dfbatch.core.states import BatchState
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration


def until(condition: Callable[[], bool], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    wait = threading.Event().wait
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        wait(0.01)


def at_once(x: float) -> float:
    return x


@pytest.fixture
def process(ledger_path: Path) -> InProcess:
    return InProcess(ledger_path, workers=1)


@pytest.fixture
def client(process: InProcess) -> Iterator[Client]:
    with process as found:
        yield found


def is_called_back(process: InProcess) -> bool:
    """True once the one worker knows that it should hand back the rest of the chunk that it is at."""
    (worker,) = process.pool._workers.values()
    work = worker._work
    return work.running is not None and work.is_recalled(work.running)


def test_an_urgent_job_does_not_wait_for_the_chunk_of_lesser_work(
    process: InProcess, client: Client, gate: Any
) -> None:
    """The one worker is at the first item of a chunk of 64, and has fetched one ahead."""
    lesser = client.map(gate, range(400))
    gate.await_items()
    urgent = client.submit(gate, "urgent", priority=10)
    until(lambda: is_called_back(process))
    gate.open()
    assert urgent.result(timeout=60) == "urgent"
    assert gate.seen[:2] == [0, "urgent"]
    assert lesser.results(timeout=60).values() == list(range(400))
    assert len(gate.seen) == 401, "an item was worked twice"


def test_a_batch_that_becomes_urgent_while_it_waits_overtakes(process: InProcess, client: Client, gate: Any) -> None:
    first = client.map(gate, range(400))
    gate.await_items()
    second = client.map(gate, ["a", "b", "c"], priority=-5)
    assert second.counts() == {"queued": 3}
    second.set_priority(20)
    until(lambda: is_called_back(process))
    gate.open()
    assert second.wait(60).status is BatchState.SUCCEEDED
    assert gate.seen[:4] == [0, "a", "b", "c"]
    first.wait(60)


def test_batches_of_one_priority_take_turns(
    process: InProcess, client: Client, gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "OVERLONG_S", 0.3)
    many = client.map(gate, range(1000))
    gate.await_items()
    photo = client.submit(gate, "photo")
    until(lambda: is_called_back(process))
    gate.open()
    assert photo.result(timeout=60) == "photo"
    # The other batch stood first in line when the photo came: that is one chunk.
    assert gate.seen.index("photo") <= 1 + FIRST_CHUNK, gate.seen
    many.wait(60)


def test_items_that_turn_slow_are_shared_among_the_workers(ledger_path: Path, gate: Any) -> None:
    """Slow ones wait at the gate, so a worker is at one of them at most: two that came are two workers."""
    with InProcess(ledger_path, workers=(4, 4)) as client:
        until(lambda: len(client.workers()) == 4)
        batch = client.map(lambda x: x if x < 300 else gate(x), range(340))
        gate.await_items(2)
        gate.open()
        assert batch.results(timeout=60).values() == list(range(340))
        rows = batch.results().to_arrow().select(["job_index", "worker_id"]).to_pylist()
        workers = {row["worker_id"] for row in rows if row["job_index"] >= 300}
        assert len(workers) >= 2, "one worker did all the slow ones"


def test_a_delayed_batch_starts_by_itself_when_it_is_due(ledger_path: Path) -> None:
    clock = ManualClock()
    with InProcess(ledger_path, clock=clock) as client:
        batch = client.map(at_once, range(3), delay_s=3600)
        until(lambda: batch.counts() == {"scheduled": 3})
        clock.advance(3599)
        assert client.workers() == [], "no worker is started for what is not due"
        clock.advance(2)
        assert batch.wait(60).status is BatchState.SUCCEEDED


def test_a_deadline_ends_what_is_left(ledger_path: Path, gate: Any) -> None:
    """Three have ended, and one is under work, when the deadline passes."""
    clock = ManualClock()
    with InProcess(ledger_path, clock=clock, workers=1) as client:
        client.queue("one").set_policy(concurrency=1)
        batch = client.map(lambda x: x if x < 3 else gate(x), range(400), queue="one", deadline_s=30)
        until(lambda: batch.counts().get("succeeded") == 3)
        gate.await_items()
        clock.advance(31)
        until(lambda: batch.counts().get("expired") == 396)
        gate.open()
        batch.wait(60)
        counts = batch.counts()
        assert batch.status is BatchState.PARTIAL
        assert counts["expired"] in (396, 397)
        assert counts["succeeded"] + counts["expired"] == 400


# ---------------------------------------------------------------------------------- stalls and their reasons


def stalled_because(client: Client, clock: ManualClock, batch_id: str) -> str:
    clock.advance(STALL_S + 1)
    until(lambda: client.attach(batch_id).progress().status is BatchState.STALLED)
    reason = client.attach(batch_id).progress().reason
    assert client.health()["stalled"] == {batch_id: reason}
    assert reason
    return reason


def test_without_workers_a_batch_is_stalled_with_the_reason(ledger_path: Path) -> None:
    clock = ManualClock()
    with InProcess(ledger_path, clock=clock, workers=(0, 0)) as client:
        batch = client.map(at_once, range(3))
        assert "no worker" in stalled_because(client, clock, batch.id)
        client.scale(0, 1)
        assert batch.wait(60).status is BatchState.SUCCEEDED
        assert batch.progress().reason is None
        assert client.health()["stalled"] == {}


def test_a_rate_limit_that_holds_a_batch_up_is_named(ledger_path: Path) -> None:
    clock = ManualClock()
    with InProcess(ledger_path, clock=clock) as client:
        client.queue("slow").set_policy(rate_per_s=0.001, burst=1)
        batch = client.map(at_once, range(3), queue="slow")
        until(lambda: batch.counts().get("succeeded") == 1)
        assert "limited to 0.001 jobs a second" in stalled_because(client, clock, batch.id)
        batch.cancel()


def test_a_paused_queue_is_named_at_once(ledger_path: Path) -> None:
    with InProcess(ledger_path) as client:
        client.queue("held").pause()
        batch = client.map(at_once, range(3), queue="held")
        found = batch.progress()
        assert (found.status, found.reason) == (BatchState.PAUSED, "queue 'held' is paused")
        client.queue("held").resume()
        assert batch.wait(60).status is BatchState.SUCCEEDED


def test_storage_that_refuses_is_named(ledger_path: Path) -> None:
    """Whatever refuses: the manager hears of it from its committer."""
    manager = InProcess(ledger_path, workers=(0, 0))
    with manager as client:
        batch = client.map(at_once, range(3))
        manager._loop.call_soon_threadsafe(manager.manager._on_refusing, "no space left on device")
        until(lambda: "no space left" in (batch.progress().reason or ""))
        assert "no space left" in client.health()["reason"]
        manager._loop.call_soon_threadsafe(manager.manager._on_refusing, None)
        until(lambda: batch.progress().reason is None)
