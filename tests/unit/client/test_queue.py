"""Queues through the client: limits, pause and their life over restarts of the manager."""

from __future__ import annotations

import asyncio

import pyarrow as pa
import pytest

import dfbatch
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration


@pytest.fixture
def open_client(ledger_path):
    """A client on the ledger of this test; calling it again is a restart of the manager."""
    running = []

    def run(**options):
        while running:
            running.pop().__exit__(None, None, None)
        opened = InProcess(ledger_path, **{"workers": 2, "session": "one"} | options)
        running.append(opened)
        opened.__enter__().manager_of_test = opened.manager
        return opened.client

    yield run
    while running:
        running.pop().__exit__(None, None, None)


@pytest.fixture
def client(open_client):
    return open_client()


def same(item):
    return item


def test_a_policy_holds_at_once_and_over_a_restart(open_client):
    client = open_client()
    retry = dfbatch.Retry(max_attempts=7, retry_on=(KeyError,))
    client.queue("scans").set_policy(max_length=5, rate_per_s=2.5, burst=3, concurrency=4, retry=retry)
    client.queue("scans").set_policy(concurrency=None, retention_s=60, retention_batches=10)
    expected = {
        "max_length": 5,
        "rate_per_s": 2.5,
        "burst": 3,
        "concurrency": None,
        "retry": retry.as_options(),
        "retention_s": 60,
        "retention_batches": 10,
    }
    for _ in range(2):
        assert client.queue("scans").policy == expected
        assert [queue.name for queue in client.queues()] == ["scans"]
        with pytest.raises(dfbatch.QueueFull, match="'scans' holds 0 of at most 5 jobs.*set_policy"):
            client.map(same, range(6), queue="scans")
        client = open_client()


def test_changes_at_one_time_do_not_undo_each_other(client):
    manager = client.manager_of_test
    loop = client._session.link._loop

    async def both():
        await asyncio.gather(manager.set_queue("q", {"max_length": 5}), manager.set_queue("q", {"concurrency": 2}))

    asyncio.run_coroutine_threadsafe(both(), loop).result(60)
    policy = client.queue("q").policy
    assert (policy["max_length"], policy["concurrency"]) == (5, 2)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"max_length": 0}, "max_length: 0 is not a whole number at least 1. Give"),
        ({"concurrency": "two"}, "concurrency: 'two' is not a whole number"),
        ({"retry": 3}, "retry: 3 is no dfbatch.Retry. Give retry="),
        ({"size": 3}, "size: is no limit of a queue. There are: burst,"),
        ({"rate_per_s": 0}, "rate_per_s: 0 is not a number"),
    ],
)
def test_a_bad_policy_names_the_argument_and_what_to_do_and_changes_nothing(client, limits, said):
    with pytest.raises(dfbatch.InvalidInput, match=said):
        client.queue("new").set_policy(**{"burst": 3} | limits)
    assert client.queues() == []


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 65, 3, None])
def test_a_name_that_is_none_is_refused(client, name):
    with pytest.raises(dfbatch.InvalidInput, match="queue"):
        client.queue(name)


def test_a_queue_that_nobody_used_is_empty_and_without_limits(client):
    stats = client.queue("fresh").stats()
    assert stats["waiting"] == stats["running"] == stats["dead_letters"] == stats["batches"] == 0
    assert stats["oldest_waiting_s"] is None
    assert set(stats["policy"].values()) == {None}
    assert client.queues() == []


def test_a_paused_queue_keeps_its_work_over_a_restart_until_it_is_resumed(open_client):
    client = open_client()
    client.queue("slow").pause()
    batch = client.map(same, range(3), queue="slow")
    other = client.map(same, range(3)).wait(60)
    assert other.done()
    client = open_client()
    queue, batch = client.queue("slow"), client.attach(batch.id)
    stats = queue.stats()
    assert (stats["paused"], stats["waiting"], stats["batches"]) == (True, 3, 1)
    assert stats["oldest_waiting_s"] > 0
    assert batch.status == dfbatch.BatchState.PAUSED
    assert "paused" in repr(queue)
    queue.resume()
    assert batch.wait(60).results().values() == [0, 1, 2]
    client = open_client()
    assert client.queue("slow").stats()["paused"] is False


def test_a_paused_batch_stays_paused_over_a_restart_and_one_that_was_resumed_does_not(open_client):
    client = open_client(workers=(0, 1))
    client.queue("default").pause()
    first, second = client.map(same, range(3)), client.map(same, range(3))
    first.pause()
    second.pause()
    second.resume()
    client.queue("default").resume()
    second.wait(60)
    client = open_client()
    first = client.attach(first.id)
    assert first.status == dfbatch.BatchState.PAUSED
    assert first.resume().wait(60).status == dfbatch.BatchState.SUCCEEDED


def test_a_batch_that_was_paused_by_its_user_is_not_resumed_with_the_interrupted_ones(open_client):
    client = open_client(session="a")
    client.queue("default").pause()
    mine, lost = client.map(same, range(3)), client.map(same, range(3))
    mine.pause()
    client = open_client(session="b", resume=True)
    client.queue("default").resume()
    assert client.attach(lost.id).wait(60).done()
    assert client.attach(mine.id).status == dfbatch.BatchState.PAUSED


class Flaky:
    def __call__(self, item):
        import dfbatch

        raise dfbatch.TransientError("busy")


def test_batches_without_a_retry_of_their_own_get_that_of_their_queue(open_client):
    client = open_client()
    client.queue("q").set_policy(retry=dfbatch.Retry(max_attempts=2, initial_s=0.0))
    from_queue = client.map(Flaky, [1], queue="q")
    own = client.map(Flaky, [1], queue="q", retry=dfbatch.Retry(max_attempts=1))
    client.queue("q").set_policy(retry=dfbatch.Retry(max_attempts=4, initial_s=0.0))
    later = client.map(Flaky, [1], queue="q")
    elsewhere = client.map(Flaky, [1], retry=dfbatch.Retry(initial_s=0.0))
    tries = [batch.wait(60).results()["attempts"].to_pylist() for batch in (from_queue, own, later, elsewhere)]
    assert tries == [[2], [1], [4], [3]]
    client = open_client()
    again = client.map(Flaky, [1], queue="q").wait(60)
    assert again.results()["attempts"].to_pylist() == [4]


def test_the_concurrency_of_a_queue_bounds_what_runs_at_one_time(client, tmp_path):
    client.queue("one").set_policy(concurrency=1)
    folder = str(tmp_path)

    def alone(item):
        import os

        handle = os.open(os.path.join(folder, "here"), os.O_CREAT | os.O_EXCL)
        os.close(handle)
        os.unlink(os.path.join(folder, "here"))
        return item

    batches = [client.map(alone, range(20), queue="one") for _ in range(2)]
    for batch in batches:
        assert batch.wait(60).status == dfbatch.BatchState.SUCCEEDED


def test_stats_come_as_plain_values_that_a_table_can_hold(client):
    client.map(same, [1], queue="a").wait(60)
    client.queue("b").set_policy(max_length=1)
    rows = [{k: v for k, v in queue.stats().items() if k != "policy"} for queue in client.queues()]
    assert pa.Table.from_pylist(rows)["queue"].to_pylist() == ["a", "b"]
