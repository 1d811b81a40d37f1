"""Streams: fed slice by slice with back-pressure, sealed at their end, given up when their producer is lost."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dfbatch import InvalidInput
from dfbatch.client import feeding, sources
from dfbatch.client.batch import Batch
from dfbatch.client.client import Client
from dfbatch.client.slice_reader import SliceReader
from dfbatch.clock import ManualClock
from dfbatch.core.states import BatchState
from dfbatch.ledger.storage import open_storage
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration


def double(x: int) -> int:
    return 2 * x


def until(condition: Callable[[], bool], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    wait = threading.Event().wait
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        wait(0.01)


class Gate:
    """An iterator that hands out ``first`` and then waits until it is opened."""

    def __init__(self, first: list[Any], then: list[Any]) -> None:
        self.first, self.then = first, then
        self.opened = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        yield from self.first
        self.opened.wait(100)
        yield from self.then


@pytest.fixture(scope="module")
def client(module_ledger_path: Path) -> Iterator[Client]:
    with InProcess(module_ledger_path) as found:
        yield found


def events_of(client: Client, batch: Batch) -> list[str]:
    rows = client._session.reader.read("events", batch_id=batch.id).to_pylist()
    return [row["kind"] for row in rows]


def test_an_iterator_is_streamed_in_slices_and_its_items_keep_their_order(client: Client) -> None:
    batch = client.map(double, iter(range(25_000)))
    assert batch.wait(60).status is BatchState.SUCCEEDED
    assert batch.results().values() == [2 * k for k in range(25_000)]
    assert len(batch) == 25_000
    assert client.batches().column("n_jobs")[-1].as_py() == 25_000


def test_a_queue_is_read_until_none_comes_out_of_it(client: Client) -> None:
    source: queue.Queue[Any] = queue.Queue()
    source.put(1)
    batch = client.map(double, source)
    until(lambda: batch.counts().get("succeeded") == 1)
    assert batch.status is BatchState.RUNNING, "a stream that is not sealed has not ended"
    with pytest.raises(TypeError, match="still being streamed"):
        len(batch)
    for k in (2, 3, None):
        source.put(k)
    assert batch.results(timeout=60).values() == [2, 4, 6]


def test_record_batches_are_read_one_by_one(client: Client) -> None:
    parts = [pa.record_batch({"x": [k, k + 1]}) for k in range(0, 10, 2)]
    reader = pa.RecordBatchReader.from_batches(parts[0].schema, parts)
    assert client.map(lambda row: row["x"], reader).results(timeout=60).values() == list(range(10))


def test_an_empty_iterator_is_an_error_at_the_call(client: Client) -> None:
    with pytest.raises(InvalidInput, match="without a single item"):
        client.map(double, iter([]))


def test_an_iterator_that_raises_at_once_raises_at_the_call(client: Client) -> None:
    def broken() -> Iterator[int]:
        raise OSError("the disk is gone")
        yield 1

    with pytest.raises(OSError, match="the disk is gone"):
        client.map(double, broken())


def test_an_iterator_that_raises_seals_the_batch_with_the_reason_and_what_came_is_finished(client: Client) -> None:
    def broken() -> Iterator[int]:
        yield from range(5)
        raise OSError("the disk is gone")

    batch = client.map(double, broken()).wait(60)
    assert batch.status is BatchState.PARTIAL
    assert "OSError: the disk is gone" in (batch.progress().reason or "")
    assert batch.results().values() == [0, 2, 4, 6, 8]
    until(lambda: "producer_lost" in events_of(client, batch))


def test_an_item_that_cannot_be_carried_seals_the_batch_with_the_reason(client: Client) -> None:
    gate = Gate([1, 2], [object()])
    batch = client.map(double, iter(gate))
    until(lambda: batch.counts().get("succeeded") == 2)
    gate.opened.set()
    assert batch.wait(60).status is BatchState.PARTIAL
    assert "object" in (batch.progress().reason or "")
    assert batch.results().values() == [2, 4]


def test_a_stream_waits_while_too_many_of_its_jobs_wait(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "MOST_WAITING", 20_000)
    # The source always has more, so a slice is over when it is full, however slowly it is read.
    monkeypatch.setattr(sources, "SliceReader", partial(SliceReader, slice_s=100.0))
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    queue_of_it = client.queue("slow")
    queue_of_it.pause()
    batch = client.map(double, endless(), queue="slow")
    until(lambda: batch.counts().get("paused", 0) > 20_000)
    held = batch.counts()["paused"]
    until(lambda: taken >= held + 20_000)
    # One slice in the hand of the feeder, one read ahead.
    assert batch.counts()["paused"] == held <= 30_000
    assert taken <= held + 2 * 10_000 + 1
    batch.cancel()
    assert batch.wait(60).status is BatchState.CANCELLED


def test_a_full_queue_holds_a_stream_up_but_loses_nothing(client: Client) -> None:
    client.queue("small").set_policy(max_length=10_000)
    batch = client.map(double, iter(range(30_000)), queue="small")
    assert batch.wait(60).status is BatchState.SUCCEEDED
    assert batch.results().values() == [2 * k for k in range(30_000)]


def test_cancelling_ends_a_stream_whose_source_never_ends(client: Client) -> None:
    gate = Gate([1], [])
    batch = client.map(double, iter(gate))
    batch.cancel()
    assert batch.wait(60).status in (BatchState.CANCELLED, BatchState.SUCCEEDED)
    gate.opened.set()


def test_a_batch_that_stops_itself_stops_its_stream(client: Client) -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 1

    def fails(x: int) -> int:
        raise ValueError("never")

    assert client.map(fails, endless()).wait(60).status is BatchState.FAILED


def test_the_same_key_does_not_feed_a_batch_twice(client: Client) -> None:
    gate = Gate([1, 2], [3])
    first = client.map(double, iter(gate), key="once")
    again = client.map(double, iter([1, 2, 3, 4]), key="once")
    assert again == first
    gate.opened.set()
    assert first.results(timeout=60).values() == [2, 4, 6]


def test_a_source_that_hangs_ends_the_batch_as_producer_lost(ledger_path: Path) -> None:
    """What it hands out comes at once, as one record batch, so that only the silence after it is measured."""
    gate = Gate([pa.record_batch({"x": [1, 2, 3]})], [pa.record_batch({"x": [4]})])
    source = pa.RecordBatchReader.from_batches(gate.first[0].schema, iter(gate))
    with InProcess(ledger_path) as client:
        batch = client.map(lambda row: 2 * row["x"], source, source_silence_s=0.2)
        batch.wait(60)
        assert batch.status is BatchState.PARTIAL
        assert (batch.progress().reason or "").startswith("producer_lost: the source handed out nothing for 0.2 s")
        assert batch.results().values() == [2, 4, 6]
        gate.opened.set()
        assert len(batch) == 3


def test_a_producer_that_died_ends_the_batch_as_producer_lost(
    ledger_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is heard of it for the time of the policy: what was accepted is finished, and the reason is on record."""
    monkeypatch.setattr(feeding.Feeder, "_keep_alive", lambda self: None)
    clock = ManualClock()
    gate = Gate([1, 2, 3], [4])
    with InProcess(ledger_path, clock=clock) as client:
        batch = client.map(double, iter(gate))
        until(lambda: batch.counts().get("succeeded") == 3)
        for _ in range(7):
            clock.advance(10)
        until(batch.done)
        assert batch.status is BatchState.PARTIAL
        assert "producer_lost: nothing was heard for" in (batch.progress().reason or "")
        assert batch.results().values() == [2, 4, 6]
        until(lambda: {"sealed", "producer_lost", "batch_finished"} <= set(events_of(client, batch)))
        gate.opened.set()


class Rerouted:
    """A link that stays the same while the manager behind it is replaced, as the handle of a Ray actor does."""

    def __init__(self, link: Any) -> None:
        self.link = link

    def call(self, *arguments: Any, **options: Any) -> Any:
        return self.link.call(*arguments, **options)


def test_a_stream_goes_on_after_a_restart_of_the_manager(ledger_path: Path) -> None:
    gate = Gate([1, 2], [3])
    before, after = InProcess(ledger_path, session="one"), InProcess(ledger_path, session="one")
    with before:
        link = Rerouted(before.link())
        producer = Client(link, open_storage(str(ledger_path)), mode="in_process")
        batch = producer.map(double, iter(gate))
        until(lambda: batch.counts().get("succeeded") == 2)
    with after as client:
        link.link = after.link()
        gate.opened.set()
        again = client.attach(batch.id)
        assert isinstance(again, Batch)
        assert again.results(timeout=60).values() == [2, 4, 6]
        assert len(again) == 3
        assert again.status is BatchState.SUCCEEDED


def test_a_reason_is_remembered_by_the_next_manager(ledger_path: Path) -> None:
    """Sealed because the source failed; the manager restarts before the jobs are done: it still ends as partial."""

    def broken() -> Iterator[int]:
        yield from range(3)
        raise OSError("gone")

    with InProcess(ledger_path, session="one") as client:
        client.queue("held").pause()
        batch = client.map(double, broken(), queue="held")
        until(lambda: batch.progress().total == 3)
    with InProcess(ledger_path, session="one") as client:
        client.queue("held").resume()
        again = client.attach(batch.id).wait(60)
        assert again.status is BatchState.PARTIAL
        assert "OSError: gone" in (again.progress().reason or "")
