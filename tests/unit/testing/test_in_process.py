"""dfbatch without Ray, for the tests of users."""

import threading

import pytest

import dfbatch
from dfbatch.core.states import BatchState
from dfbatch.errors import StorageInUse
from dfbatch.testing import InProcess, ManualClock

WAIT_S = 60.0
pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("brisk")]


def test_a_user_can_test_a_verifier_in_three_lines(tmp_path):
    with InProcess(tmp_path) as client:
        assert client.map(lambda x: x + 1, [1, 2]).results().values() == [2, 3]


def test_nothing_is_left_running(tmp_path):
    before = set(threading.enumerate())
    with InProcess(tmp_path) as client:
        client.map(lambda x: x, range(10)).wait(WAIT_S)
    started = set(threading.enumerate()) - before
    left = [thread for thread in started if thread.name.startswith(("dfbatch", "thread-"))]
    for thread in left:
        thread.join(60.0)
    assert [thread.name for thread in left if thread.is_alive()] == []


def test_the_ledger_stays_and_the_next_client_goes_on_with_it(tmp_path):
    with InProcess(tmp_path) as client:
        batch = client.map(lambda x: x, [7], name="first")
        batch.wait(WAIT_S)
    with InProcess(tmp_path) as client:
        assert client.last() == batch
        assert client.last().results().values() == [7]


def test_one_ledger_has_one_manager(tmp_path):
    with InProcess(tmp_path), pytest.raises(StorageInUse), InProcess(tmp_path):
        pass


def test_it_works_although_the_block_raises(tmp_path):
    def interrupted():
        with InProcess(tmp_path) as client:
            return client.map(lambda x: x, [1]).wait(WAIT_S) and 1 / 0

    with pytest.raises(ZeroDivisionError):
        interrupted()
    with InProcess(tmp_path) as client:
        assert client.last().status is BatchState.SUCCEEDED


def test_retries_can_be_tested_with_a_clock_that_stands_still(tmp_path, make_gate):
    """An hour of back-off passes in no time; not a second before it does."""
    gate = make_gate(is_open=True)

    def flaky(item, ctx):
        gate(ctx.attempt)
        if ctx.attempt == 1:
            raise dfbatch.TransientError("come again in an hour")
        return item

    clock = ManualClock()
    with InProcess(tmp_path, clock=clock) as client:
        retry = dfbatch.Retry(initial_s=3600, max_s=3600, jitter=0)
        batch = client.map(flaky, [5], retry=retry)
        gate.await_items(1)
        while batch.counts() != {"retrying": 1}:
            dfbatch.wait([batch], timeout=0.05)
        clock.advance(3590)
        with pytest.raises(dfbatch.TimeoutError):
            batch.wait(0.2)
        clock.advance(20)
        assert batch.results(WAIT_S).values() == [5]
    assert gate.seen == [1, 2]


def test_the_number_of_workers_is_kept(tmp_path, gate):
    with InProcess(tmp_path, workers=3) as client:
        batch = client.map(gate, range(9))
        gate.await_items(3)
        assert len(client.workers()) == 3
        assert len(gate.seen) == 3
        gate.open()
        batch.wait(WAIT_S)
