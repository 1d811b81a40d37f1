"""Order with real workers: urgent work does not wait for a chunk to end, one photo not behind thousands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfbatch.client.client import Client
from dfbatch.clock import ManualClock
from dfbatch.core import sharing
from dfbatch.core.liveness import STALL_S
from dfbatch.core.states import BatchState
from dfbatch.testing import InProcess


def until(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    wait = threading.Event().wait
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        wait(0.01)


def slowly(x: float) -> float:
    """Each item takes a twentieth of a second."""
    threading.Event().wait(0.05)
    return x


def at_once(x: float) -> float:
    return x


@pytest.fixture
def client(ledger_path: Path) -> Iterator[Client]:
    with InProcess(ledger_path, workers=1) as found:
        yield found


def test_an_urgent_job_does_not_wait_for_the_chunk_of_lesser_work(client: Client) -> None:
    """The one worker holds a first chunk of 64 items, 3 s of work, and one fetched ahead."""
    lesser = client.map(slowly, range(400))
    until(lambda: lesser.progress().workers == 1)
    begin = time.monotonic()
    assert client.submit(at_once, 7.0, priority=10).result(timeout=20) == 7.0
    took = time.monotonic() - begin
    assert took < 2.5, f"it took {took:.1f} s"
    assert not lesser.done()
    lesser.cancel()
    lesser.wait(20)


def test_a_batch_that_becomes_urgent_while_it_waits_overtakes(client: Client) -> None:
    first = client.map(slowly, range(400))
    second = client.map(at_once, range(3), priority=-5)
    assert second.counts() == {"queued": 3}
    second.set_priority(20)
    assert second.wait(20).status is BatchState.SUCCEEDED
    assert not first.done()
    first.cancel()
    first.wait(20)


def test_batches_of_one_priority_take_turns(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "OVERLONG_S", 0.3)
    many = client.map(slowly, range(1000))
    until(lambda: many.progress().done > 0)
    photo = client.submit(at_once, 1.0)
    assert photo.result(timeout=20) == 1.0
    assert many.progress().done < 500
    many.cancel()
    many.wait(20)


def first_cheap_then_slow(x: int) -> int:
    if x >= 300:
        threading.Event().wait(0.1)
    return x


def test_items_that_turn_slow_are_shared_among_the_workers(ledger_path: Path) -> None:
    with InProcess(ledger_path, workers=(4, 4)) as client:
        until(lambda: len(client.workers()) == 4)
        batch = client.map(first_cheap_then_slow, range(340))
        assert batch.results(timeout=30).values() == list(range(340))
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
        assert batch.wait(20).status is BatchState.SUCCEEDED


def test_a_deadline_ends_what_is_left(ledger_path: Path) -> None:
    clock = ManualClock()
    with InProcess(ledger_path, clock=clock, workers=1) as client:
        batch = client.map(slowly, range(400), deadline_s=30)
        until(lambda: batch.counts().get("succeeded", 0) > 0)
        clock.advance(31)
        batch.wait(20)
        counts = batch.counts()
        assert batch.status is BatchState.PARTIAL
        assert counts["expired"] > 300
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
        assert batch.wait(20).status is BatchState.SUCCEEDED
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
        assert batch.wait(20).status is BatchState.SUCCEEDED


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
