"""Retention of queues, as a user meets it."""

from __future__ import annotations

import json

import pyarrow.compute as pc
import pytest

import dfbatch
from dfbatch.actors import manager, retention_calls
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Who asks for the retention waits as long as it takes for the ends of batches to be written."""
    monkeypatch.setattr(retention_calls, "NOTES_S", 60.0)


@pytest.fixture
def opened(ledger_path):
    with InProcess(ledger_path, workers=1) as client:
        yield client


def ids(client):
    return client.batches().column("batch_id").to_pylist()


def test_ended_batches_beyond_the_policy_leave_and_a_record_stays(opened):
    client = opened
    old, new = (client.map(lambda item: item, [1, 2], queue="scans", name="x", key=k).wait(60) for k in ("a", "b"))
    kept = client.map(lambda item: item, [1]).wait(60)
    client.queue("scans").set_policy(retention_batches=1)
    client._session.call("retire")
    assert ids(client) == [new.id, kept.id]
    assert new.results().values() == [1, 2]
    with pytest.raises(dfbatch.UnknownId, match="left the ledger.*queue 'scans'"):
        old.results()
    with pytest.raises(dfbatch.UnknownId, match="left the ledger"):
        client.attach(old.id)
    (record,) = client._session.reader.read("events").filter(pc.field("kind") == "retired").to_pylist()
    about = json.loads(record["detail"])
    assert (record["batch_id"], record["queue"], about["name"], about["counts"]) == (
        old.id,
        "scans",
        "x",
        {"succeeded": 2},
    )
    assert client.map(lambda item: item, [5], queue="scans", key="a").wait(60).results().values() == [5]


@pytest.fixture
def seldom(monkeypatch):
    """The manager ticks once an hour, and so does not look by itself before it is asked."""
    monkeypatch.setattr(manager, "TICK_S", 3600.0)


def test_every_batch_that_leaves_has_left_in_the_ledger_too_when_that_is_answered(seldom, opened):
    client = opened
    gone = {client.map(lambda item: item, [1], queue="scans").wait(60).id for _ in range(4)}
    client.map(lambda item: item, [1], queue="scans").wait(60)
    client.queue("scans").set_policy(retention_batches=1)
    assert client._session.call("retire") == 4
    retired = client._session.reader.read("events").filter(pc.field("kind") == "retired")
    assert set(retired["batch_id"].to_pylist()) == gone


def test_two_who_retire_at_the_same_time_leave_one_record(opened):
    client = opened
    for _ in range(3):
        client.map(lambda item: item, [1], queue="scans").wait(60)
    client.queue("scans").set_policy(retention_batches=1)
    link = client._session.link
    for answer in [link.begin("retire", ()) for _ in range(3)]:
        answer.result(60)
    retired = client._session.reader.read("events").filter(pc.field("kind") == "retired")
    assert len(retired) == len(pc.unique(retired["batch_id"])) == 2


def test_batches_with_dead_letters_stay_until_these_are_purged_or_redriven(opened):
    client = opened

    def fail(item):
        raise ValueError("no")

    batch = client.map(fail, [1], queue="scans").wait(60)
    queue = client.queue("scans")
    queue.set_policy(retention_s=0)
    assert client._session.call("retire") == 0
    assert len(queue.dead_letters()) == 1
    assert queue.purge() == 1
    client._session.call("retire")
    assert batch.id not in ids(client)
    assert queue.stats()["dead_letters"] == len(queue.dead_letters()) == 0


def test_the_manager_looks_by_itself_and_rows_go_when_it_is_idle(opened):
    client = opened
    batch = client.map(lambda item: item, [1, 2], queue="scans").wait(60)
    client.queue("scans").set_policy(retention_s=0)
    reader = client._session.reader
    client.queue("later").pause()
    waiting = client.map(lambda item: item, [1], queue="later")
    for _ in range(300):
        if batch.id not in reader.read("batches").column("batch_id").to_pylist():
            break
        client._session.progress(waiting.id, 0.2)
    assert batch.id not in reader.read("batches").column("batch_id").to_pylist()
    assert len(reader.read("results", batch_id=batch.id)) == len(reader.read("jobs", batch_id=batch.id)) == 0
