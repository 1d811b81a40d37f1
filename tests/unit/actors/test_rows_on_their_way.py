"""A client that has read an outcome in the ledger may be quicker than the committer's news to the manager."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dfbatch.actors.effect_performer import CallTag
from dfbatch.actors.rows_on_their_way import await_rows_of
from dfbatch.client.dead_letters import keys_of_queue
from dfbatch.core.batch import Batch, BatchSpec, BatchStop
from dfbatch.core.books import Books
from dfbatch.core.instant import Instant
from dfbatch.core.states import JobState

pytestmark = pytest.mark.integration

WAIT_S = 60.0
NOW = Instant(1.7e9, 1000.0)


class LateNews:
    """Keeps back the news that rows of outcomes are durable; those that calls wait for pass."""

    def __init__(self, life):
        committer = life.manager.committing
        self._tell, self._kept, self._lock = committer._report, [], threading.Lock()
        committer._report = self._report

    def _report(self, done):
        with self._lock:
            if self._kept is not None and not all(isinstance(tag, CallTag) for tag in done.tags):
                self._kept.append(done)
                return
        self._tell(done)

    def release(self):
        with self._lock:
            kept, self._kept = self._kept, None
        for done in kept:
            self._tell(done)


@pytest.fixture
def begun():
    """Runs a call in a thread of its own; returns its future."""
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit


def await_turn(life, until, call):
    """Until the manager works at the call, or has answered it."""
    until(lambda: life.manager._changing.locked() or call.done())


def test_a_redrive_takes_a_job_whose_end_the_ledger_shows_already(life, make_gate, until, begun):
    one = life(workers=(0, 0))
    batch = one.client.map(make_gate(), range(2))
    news = LateNews(one)
    batch[1].cancel()
    until(batch[1].done)
    redrive = begun(one.link().call, "redrive", batch.id)
    await_turn(one, until, redrive)
    news.release()
    assert redrive.result(WAIT_S) == 1
    assert batch[1].status.value == "queued"


@pytest.mark.parametrize("what", ["redrive_dead", "purge_dead"])
def test_a_dead_letter_that_the_ledger_shows_is_one(life, make_gate, until, begun, what):
    rest, go_on = make_gate(), make_gate()

    def fails_first(item):
        go_on(item)
        if item == 0:
            raise ValueError("no")
        return rest(item)

    one = life(workers=1)
    batch = one.client.map(fails_first, range(2))
    go_on.await_items(1)
    news = LateNews(one)
    go_on.open()
    until(batch[0].done)
    keys = keys_of_queue(one.client._session, "default")
    call = begun(one.link().call, what, "default", keys)
    await_turn(one, until, call)
    news.release()
    assert call.result(WAIT_S) == 1
    rest.open()


@pytest.fixture
def books():
    """One batch of ten jobs, of which 2 and 5 were cancelled and are not durable."""
    found = Books(epoch=1)
    batch = Batch(BatchSpec("k3f2m9qa", 10), NOW)
    found.batches[batch.batch_id] = batch
    batch.await_rows(np.array([2, 5]), JobState.CANCELLED)
    return found


def waits(books, indices=None, after=None, longest_s=60.0):
    """True if the call still waits ``longest_s`` after ``after`` was carried out."""

    async def run():
        task = asyncio.ensure_future(await_rows_of(books, "k3f2m9qa", indices))
        await asyncio.sleep(0)
        if after is not None:
            assert not task.done()
            after(books.batches["k3f2m9qa"])
        done, _ = await asyncio.wait([task], timeout=longest_s)
        task.cancel()
        return not done

    return asyncio.run(run())


def written(batch, n):
    counts = np.zeros(len(JobState), np.int64)
    counts[JobState.CANCELLED.code] = n
    batch.rows_written(counts)


def test_only_the_rows_that_are_asked_for_are_waited_for(books):
    assert waits(books, longest_s=0.1)
    assert waits(books, np.array([5]), longest_s=0.1)
    assert not waits(books, np.array([3, 4]))
    assert not waits(books, np.array([2]), lambda batch: written(batch, 1))


def test_rows_that_follow_are_not_waited_for(books):
    def more(batch):
        batch.await_rows(np.array([7]), JobState.CANCELLED)
        written(batch, 2)

    assert not waits(books, after=more)


def test_a_batch_that_is_being_stopped_or_is_gone_is_not_waited_for(books):
    stop = BatchStop(JobState.CANCELLED, None, "")
    assert not waits(books, after=lambda batch: setattr(batch, "stopping", stop))
    books.batches["k3f2m9qa"].stopping = None
    assert not waits(books, after=lambda batch: books.batches.clear())
    assert not waits(books)
