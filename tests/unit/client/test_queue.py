"""A queue: its limits hold for all batches in it, and persist."""

import pytest

import dfbatch
from dfbatch.core.states import BatchState
from dfbatch.errors import InvalidInput, QueueFull
from dfbatch.testing import InProcess

WAIT_S = 20.0


@pytest.fixture(scope="module")
def client(module_ledger_path):
    with InProcess(module_ledger_path) as client:
        yield client


def test_a_full_queue_accepts_nothing_of_a_submit(client, gate):
    queue = client.queue("narrow")
    queue.set_policy(max_length=5)
    batch = client.map(gate, range(4), queue="narrow", key="first")
    before = client.batches()
    with pytest.raises(QueueFull, match=r"Queue 'narrow' holds 4 of at most 5 jobs, so 2 more\s+were not accepted"):
        client.map(gate, range(2), queue="narrow")
    assert client.batches()["batch_id"].to_pylist() == before["batch_id"].to_pylist()
    assert queue.stats()["waiting"] + queue.stats()["running"] == 4
    more = client.map(gate, [9], queue="narrow")
    gate.open()
    batch.wait(WAIT_S)
    more.wait(WAIT_S)
    assert client.map(gate, range(5), queue="narrow").results(WAIT_S).values() == list(range(5))


def test_a_paused_queue_leases_nothing_until_it_is_resumed(client, make_gate):
    gate = make_gate(is_open=True)
    queue = client.queue("halted")
    assert queue.pause() is queue
    batch = client.map(gate, [1, 2], queue="halted")
    other = client.map(lambda x: x, [1], queue="elsewhere")
    other.wait(WAIT_S)
    with pytest.raises(dfbatch.TimeoutError, match="is paused"):
        batch.wait(0.2)
    assert batch.status is BatchState.PAUSED
    assert gate.seen == []
    assert queue.stats()["paused"]
    assert repr(queue) == "<Queue halted: 2 waiting, 0 running, paused>"
    queue.resume()
    assert batch.wait(WAIT_S).status is BatchState.SUCCEEDED


def test_concurrency_bounds_what_runs_at_one_time(client, gate):
    client.queue("single").set_policy(concurrency=1)
    batch = client.map(gate, range(6), queue="single")
    gate.await_items()
    assert client.queue("single").stats()["running"] == 1
    gate.open()
    assert batch.results(WAIT_S).values() == list(range(6))


def test_limits_are_checked_and_all_of_them_told(client):
    queue = client.queue("checked")
    assert queue.set_policy(max_length=7)["max_length"] == 7
    assert queue.set_policy(rate_per_s=1000.0)["max_length"] == 7
    assert queue.policy["rate_per_s"] == 1000.0
    assert queue.set_policy(max_length=None)["max_length"] is None
    with pytest.raises(InvalidInput, match="max_len: is no limit of a queue.*max_length"):
        queue.set_policy(max_len=3)
    with pytest.raises(InvalidInput, match="concurrency: 0 is not a whole number at least 1"):
        queue.set_policy(concurrency=0)


def test_queues_in_use_are_listed(client):
    client.map(lambda x: x, [1], queue="listed").wait(WAIT_S)
    assert "listed" in [queue.name for queue in client.queues()]
    assert client.queue("never-used").stats()["waiting"] == 0


def test_limits_and_pauses_outlive_the_manager(ledger_path):
    with InProcess(ledger_path) as first:
        first.queue("kept").set_policy(max_length=3)
        first.queue("kept").pause()
        first.queue("open").pause()
        first.queue("open").resume()
    with InProcess(ledger_path) as second:
        assert second.queue("kept").policy["max_length"] == 3
        assert second.queue("kept").stats()["paused"]
        assert not second.queue("open").stats()["paused"]
