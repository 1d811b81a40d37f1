"""The client as notebooks use it: submit, find again, list, look after workers."""

import threading

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import dfbatch
from dfbatch.client.batch import Batch
from dfbatch.core.states import BatchState
from dfbatch.errors import ClientClosed, InvalidInput, InvalidType, KeyConflict, UnknownId
from dfbatch.testing import InProcess, ManualClock

pytestmark = pytest.mark.integration

WAIT_S = 60.0


@pytest.fixture(scope="module")
def client(module_ledger_path):
    with InProcess(module_ledger_path) as client:
        yield client


def test_items_of_every_kind_reach_the_verifier_as_they_are(client):
    items = [None, True, 3, 2.5, "text", b"bytes", [1, [2]], {"a": {"b": None}}]
    shown = client.map(lambda item: f"{type(item).__name__} {item!r}", items).results(WAIT_S).values()
    assert shown == [f"{type(item).__name__} {item!r}" for item in items]
    arrays = [np.arange(6).reshape(2, 3), np.array([1.5])]
    assert client.map(lambda a: f"{a.shape} {a.sum()}", arrays).results(WAIT_S).values() == ["(2, 3) 15", "(1,) 1.5"]


@pytest.mark.parametrize("table", [pa.table, pd.DataFrame, pl.DataFrame], ids=["arrow", "pandas", "polars"])
def test_a_row_of_a_table_is_a_dict_and_its_columns_are_carried(client, table):
    results = client.map(lambda row: row["a"] + len(row["b"]), table({"a": [1, 2], "b": ["x", "yz"]})).results(WAIT_S)
    assert results.values() == [2, 4]
    assert results["input"].to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": "yz"}]
    assert results.to_pandas(flatten=True)["input.b"].tolist() == ["x", "yz"]


def test_a_vectorised_verifier_gets_columns(client):
    class Both:
        def verify_batch(self, table):
            import pyarrow.compute as pc

            return pa.table({"sum": pc.add(table.column("a"), table.column("b"))})

    assert client.map(Both, pa.table({"a": [1, 2], "b": [10, 20]})).results(WAIT_S).values() == [
        {"sum": 11},
        {"sum": 22},
    ]


def test_a_class_is_constructed_once_a_worker(client, make_gate):
    made = make_gate(is_open=True)

    class Costly:
        def __init__(self, start):
            made("constructed")
            self.start = start

        def __call__(self, item):
            return self.start + item

    assert client.map(Costly, range(500), init={"start": 7}).results(WAIT_S).values() == list(range(7, 507))
    assert 1 <= len(made.seen) <= 2


def test_what_cannot_be_carried_is_said_at_the_call(client):
    before = len(client.batches())
    with pytest.raises(InvalidType, match=r"items\[1\]"):
        client.map(lambda x: x, [1, object()])
    with pytest.raises(InvalidType, match=r"is one str, not several items.*client\.submit"):
        client.map(lambda x: x, "abc")
    with pytest.raises(InvalidInput, match="holds no item"):
        client.map(lambda x: x, [])
    with pytest.raises(InvalidInput, match="is neither a function, nor a class"):
        client.map(5, [1])
    with pytest.raises(InvalidInput, match="prio: is no option"):
        client.map(lambda x: x, [1], prio=3)
    assert len(client.batches()) == before


def test_a_key_is_good_for_one_piece_of_work(client):
    def work(item):
        return item

    first = client.map(work, [1, 2], key="monthly")
    assert client.map(work, [1, 2], key="monthly") == first
    first.wait(WAIT_S)
    assert client.map(work, [1, 2], key="monthly") == first
    with pytest.raises(KeyConflict, match=rf"'monthly' belongs to batch {first.id}.*Use another key"):
        client.map(work, [1, 3], key="monthly")
    with pytest.raises(KeyConflict):
        client.map(lambda item: -item, [1, 2], key="monthly")
    assert client.map(work, [1, 2], key="weekly") != first
    assert client.map(work, [1, 2]) != first


def test_threads_that_submit_under_one_key_get_one_batch(client):
    def work(item):
        return item

    barrier, found = threading.Barrier(5), []

    def submit():
        barrier.wait()
        found.append(client.map(work, [1], key="race"))

    threads = [threading.Thread(target=submit) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert len(found) == 5
    assert len({batch.id for batch in found}) == 1
    assert found[0].wait(WAIT_S).results().values() == [1]


def test_batches_are_listed_with_their_states(client, gate):
    ended = client.map(lambda x: x, [1], name="listed-ended").wait(WAIT_S)
    going = client.map(gate, [1, 2], name="listed-going", queue="q", priority=2)
    gate.await_items()
    rows = {row["batch_id"]: row for row in client.batches().to_pylist()}
    assert rows[ended.id]["status"] == "succeeded"
    assert rows[ended.id]["finished_at"] >= rows[ended.id]["submitted_at"]
    about = rows[going.id]
    assert (about["name"], about["status"], about["n_jobs"], about["queue"], about["priority"]) == (
        "listed-going",
        "running",
        2,
        "q",
        2,
    )
    assert client.last() == going
    gate.open()
    going.wait(WAIT_S)
    found = client.attach(ended.id)
    assert isinstance(found, Batch)
    assert len(found) == 1
    assert found.status is BatchState.SUCCEEDED


def test_an_empty_ledger_has_no_last_batch(ledger_path):
    with InProcess(ledger_path) as client:
        with pytest.raises(UnknownId, match="has no batch yet"):
            client.last()
        assert len(client.batches()) == 0
        assert client.queues() == []


def test_workers_and_health_are_told(client, gate):
    batch = client.map(gate, range(2))
    gate.await_items(2)
    health = client.health()
    assert (health["status"], health["reason"]) == ("running", "")
    assert health["open_batches"] >= 1
    workers = client.workers()
    assert sum(w["state"] == "running" for w in workers) == 2
    assert all({"worker", "node", "leases", "restarts", "jobs_done"} <= set(w) for w in workers)
    gate.open()
    batch.wait(WAIT_S)
    assert sum(w["jobs_done"] for w in client.workers()) >= 2


def test_the_number_of_workers_can_be_changed(client, gate):
    client.scale(0, 4)
    batch = client.map(gate, range(4))
    gate.await_items(4)
    gate.open()
    batch.wait(WAIT_S)
    for bad in ((3, 2), (-1, 2), (0, 0)):
        with pytest.raises(InvalidInput, match=r"is no range of workers\. Give 0 <= min <= max, max >= 1"):
            client.scale(*bad)


def test_the_client_of_a_manager_that_was_shut_down_says_so_at_once(ledger_path):
    with InProcess(ledger_path) as client:
        batch = client.map(lambda x: x, [1]).wait(WAIT_S)
    for call in (client.batches, client.health, batch.progress, batch.results, lambda: client.map(len, ["a"])):
        with pytest.raises(ClientClosed):
            call()


def test_fail_fast_stops_a_verifier_that_never_works(client):
    def broken(item):
        return item.no_such_method()

    batch = client.map(broken, range(5000)).wait(WAIT_S)
    assert batch.status is BatchState.FAILED
    counts = batch.counts()
    assert counts["failed"] >= 50
    assert counts["cancelled"] > 1000
    first = batch.failures()[0]
    assert first["error_type"] == "AttributeError"
    assert "no_such_method" in first["traceback"]
    rest = batch.results().filter(status="cancelled")[0]
    assert rest["error_type"] == "BatchStopped"
    assert "all failed with the same error" in rest["error_message"]
    assert "fail_fast=False" in rest["error_message"]
    assert "all failed with the same error" in (batch.progress().reason or "")


def test_without_fail_fast_every_item_has_its_try(client):
    batch = client.map(lambda item: item.nothing, range(200), fail_fast=False).wait(WAIT_S)
    assert batch.counts() == {"failed": 200}
    assert batch.status is BatchState.PARTIAL


def test_a_verifier_that_cannot_be_constructed_stops_its_batch(client):
    class Broken:
        def __init__(self, path):
            raise FileNotFoundError(f"no model at {path}")

        def __call__(self, item):
            return item

    batch = client.map(Broken, range(300), init={"path": "model.bin"}).wait(WAIT_S)
    assert batch.status is BatchState.FAILED
    row = batch.failures()[0]
    assert row["error_type"] == "VerifierUnusable"
    assert "FileNotFoundError: no model at model.bin" in row["error_message"]


def test_too_many_failures_stop_a_batch(client):
    def mostly(item):
        if item % 3:
            raise ValueError(item)

    batch = client.map(mostly, range(3000), max_failure_ratio=0.1).wait(WAIT_S)
    assert batch.status is BatchState.FAILED
    assert batch.counts()["failed"] > 300
    assert "max_failure_ratio" in batch.results().filter(status="cancelled")[0]["error_message"]


def test_a_deadline_expires_what_is_left(ledger_path, gate):
    clock = ManualClock()
    with InProcess(ledger_path, clock=clock) as client:
        batch = client.map(gate, range(100), deadline_s=20)
        gate.await_items()
        clock.advance(21)
        while batch.progress().counts.get("expired", 0) == 0:
            dfbatch.wait([batch], timeout=0.05)
        gate.open()
        batch.wait(WAIT_S)
        counts = batch.counts()
        assert counts["expired"] + counts["succeeded"] == 100
        assert batch.status is BatchState.PARTIAL
        assert batch.failures()["error_type"].to_pylist() == ["DeadlinePassed"] * counts["expired"]
        assert len(gate.seen) == counts["succeeded"]


def test_a_delayed_batch_waits_for_its_time(ledger_path):
    clock = ManualClock()
    with InProcess(ledger_path, clock=clock) as client:
        batch = client.map(lambda x: x, [1, 2], delay_s=60)
        client.map(lambda x: x, [3]).wait(WAIT_S)
        assert batch.counts() == {"scheduled": 2}
        clock.advance(61)
        assert batch.results(WAIT_S).values() == [1, 2]
        assert batch.progress().elapsed_s >= 60
