"""What operators said about the number of workers holds over a crash of the manager, and no longer than the manager."""

from __future__ import annotations

import json

import pytest

from dfbatch.actors.pool_orders import KIND, PoolOrder, last_order
from dfbatch.errors import StorageRefused
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.storage import open_storage

pytestmark = pytest.mark.integration

WAIT_S = 60.0


def row(order, session="one"):
    return {"kind": KIND, "detail": json.loads(json.dumps(order.detail(session)))}


def test_the_last_order_to_a_manager_of_the_same_session_counts():
    rows = [
        row(PoolOrder(0, 8)),
        {"kind": "manager_started", "detail": {}},
        row(PoolOrder(0, 0, {"w": "a1"})),
        row(PoolOrder(1, 2), "two"),
    ]
    assert last_order(rows, "one") == PoolOrder(0, 0, {"w": "a1"})
    assert last_order(rows, "two") == PoolOrder(1, 2)
    assert last_order(rows, "three") is None


def test_a_drained_pool_stays_empty_after_a_crash_of_its_manager(life):
    first = life(workers=(1, 2))
    first.client.map(lambda x: x, [1]).wait(WAIT_S)
    first.client.drain(timeout=WAIT_S)
    first.crash()
    second = life(workers=(1, 2))
    assert second.pool._threads == [], "a worker was started before the manager knew of the drain"
    batch = second.client.map(lambda x: x, [1, 2])
    assert (second.client.workers(), batch.counts()) == ([], {"queued": 2})
    second.crash()
    third = life(workers=(1, 2))
    assert third.pool._threads == [], "the life after the next forgot it"
    third.client.scale(0, 1)
    assert third.client.attach(batch.id).results(WAIT_S).values() == [1, 2]


def test_limits_that_were_changed_hold_after_a_crash(life, until):
    first = life(workers=(0, 1))
    first.client.scale(3, 3)
    first.crash()
    second = life(workers=(0, 1))
    assert len(second.pool._threads) == 3
    until(lambda: len(second.client.workers()) == 3)


def test_a_manager_that_is_created_anew_goes_by_what_it_is_created_with(life):
    """Also after one between them that was told nothing."""
    first = life(workers=(0, 2), session="yesterday")
    first.client.drain(timeout=WAIT_S)
    first.crash()
    second = life(workers=(1, 1), session="today")
    assert len(second.pool._threads) == 1
    assert second.client.map(lambda x: x, [1]).results(WAIT_S).values() == [1]


def test_the_order_is_in_the_ledger_when_the_call_returns(life, ledger_path):
    one = life(workers=(0, 1))
    one.client.scale(0, 3)
    one.client.drain(timeout=WAIT_S)
    rows = LedgerReader(open_storage(ledger_path)).read("events").sort_by([("seq", "ascending")]).to_pylist()
    limits = [json.loads(event["detail"]) for event in rows if event["kind"] == KIND]
    assert [(each["low"], each["high"]) for each in limits] == [(0, 3), (0, 0)]


def test_what_cannot_be_written_down_is_refused_and_not_done(life, refuse, until, gate):
    one = life(workers=(0, 1))
    batch = one.client.map(gate, [1])
    gate.await_items()
    writer = refuse(one)
    writer.refusing.set()
    gate.open()  # its outcome is what the storage refuses
    until(lambda: one.manager.state.storage_refusing is not None)
    for call in (lambda: one.client.scale(0, 3), one.client.drain):
        with pytest.raises(StorageRefused, match="nothing was changed"):
            call()
    assert one.pool._high == 1
    writer.refusing.clear()
    batch.wait(WAIT_S)


class Deaf(set):
    """In place of those that are to leave: the manager dies before it could tell anybody."""

    def update(self, *_):
        pass


def test_a_worker_that_the_crash_kept_from_hearing_of_the_drain_hears_of_it(life, switch, start_worker, gate):
    """One that is started after the drain is another one, and may work, whatever its name."""
    switch.life = first = life(workers=(0, 0))
    worker = start_worker(switch, "w")
    batch = first.client.map(gate, range(20))
    gate.await_items()
    first.manager.leaving = Deaf()
    first.link().call("drain")
    switch.life = None
    first.crash()
    assert worker.vitals().state == "running"
    switch.life = second = life(workers=(0, 0))
    gate.open()
    assert worker.wait_left(WAIT_S), "it never heard of the drain"
    start_worker(switch, "w")
    assert second.client.attach(batch.id).results(WAIT_S).values() == list(range(20))
