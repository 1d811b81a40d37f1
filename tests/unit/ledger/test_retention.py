"""Retention: which batches are due, and how their rows leave the ledger without harm to any other."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from dfbatch.errors import LedgerCorrupt, StorageRefused, UnknownId
from dfbatch.ledger.local_storage import LocalStorage
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.recovery import recover, recover_batches
from dfbatch.ledger.retention import RetentionRule, due
from dfbatch.ledger.writer import CommitGroup, LedgerWriter

pytestmark = pytest.mark.integration

A, B, C = "k3f2m9qa", "k3f2m9qb", "k3f2m9qc"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TABLES = ("jobs", "batches", "inputs_1", "attempts", "outputs_1", "results")


@pytest.fixture
def settle(clock):
    """Do all upkeep that is due; returns the number of steps."""

    def run(writer) -> int:
        steps = 0
        while writer.maintain(clock.now().wall):
            steps += 1
        return steps

    return run


@pytest.fixture
def fill(rows):
    """Batches with something in every table; rows of several batches are in one file, as of a group commit."""

    def run(writer, *batch_ids, n=6):
        for batch_id in batch_ids:
            writer.commit(CommitGroup(rows.submit(batch_id, n, inputs="inputs_1", queue="scans")))
        commit = writer.next_commit_id()
        per_batch = [
            {
                "attempts": rows.attempts(batch_id, [{"job_index": k, "attempt": 1} for k in range(n)]),
                "outputs_1": rows.outputs(batch_id, range(n), commit, [{"i": k} for k in range(n)]),
                "results": rows.results(batch_id, range(n), commit, outputs="outputs_1"),
            }
            for batch_id in batch_ids
        ]
        tables = {name: pa.concat_tables([t[name].unify_dictionaries() for t in per_batch]) for name in per_batch[0]}
        writer.commit(CommitGroup(tables, commit))

    return run


@pytest.fixture
def retired(rows):
    def run(writer, *batch_ids):
        for seq, batch_id in enumerate(batch_ids):
            writer.commit(CommitGroup({"events": rows.event("retired", 900 + seq, batch_id=batch_id)}))

    return run


def ids_in(storage, name):
    return set(LedgerReader(storage).read(name, columns=["batch_id"]).column("batch_id").to_pylist())


def all_of(reader, batch_id):
    return [reader.results(batch_id), *(reader.read(name, batch_id=batch_id) for name in TABLES)]


def test_rows_of_a_retired_batch_leave_every_table_and_no_other_row_does(storage, writer, fill, retired, settle):
    fill(writer, A, B, C)
    before = [all_of(LedgerReader(storage), batch_id) for batch_id in (A, C)]
    retired(writer, B)
    assert settle(writer) > 6
    for name in TABLES:
        assert ids_in(storage, name) == {A, C}, name
    assert [all_of(LedgerReader(storage), batch_id) for batch_id in (A, C)] == before
    assert LedgerReader(storage).read("events").column("kind").to_pylist() == ["retired"]
    assert settle(writer) == 0


def test_what_is_left_is_a_delta_table_for_everybody(storage, writer, fill, retired, settle):
    fill(writer, A, B)
    retired(writer, A)
    settle(writer)
    table = DeltaTable(f"{storage.root}/results")
    adds = pa.table(table.get_add_actions(flatten=True))
    assert set(adds["min.batch_id"].to_pylist()) == set(adds["max.batch_id"].to_pylist()) == {B}
    assert [entry["operation"] for entry in table.history()].count("DELETE") == 1


def test_who_follows_a_table_sees_no_row_twice(storage, writer, fill, retired, settle):
    fill(writer, A, B)
    reader = LedgerReader(storage)
    version, _ = reader.tail("results", -1)
    retired(writer, A)
    settle(writer)
    later, tables = LedgerReader(storage).tail("results", version)
    assert later > version
    assert tables == []


def test_a_retired_batch_is_hidden_before_its_rows_are_gone(storage, writer, fill, retired):
    fill(writer, A, B)
    retired(writer, A)
    reader = LedgerReader(storage)
    assert reader.batches().column("batch_id").to_pylist() == [B]
    found = recover(reader)
    assert [b.row["batch_id"] for b in found.batches] == [B]
    assert set(found.queue_of) == {B}
    assert recover_batches(reader, [A]) == []


def test_a_step_is_bounded_and_rewrites_row_groups_in_pieces(storage, writer, fill, retired, settle, monkeypatch):
    monkeypatch.setattr("dfbatch.ledger.retention.STEP_ROWS", 10)
    monkeypatch.setattr("dfbatch.ledger.table._OUTCOME_ROWS", 4)
    fill(writer, A, B, n=30)
    before = LedgerReader(storage).results(B)
    retired(writer, A)
    settle(writer)
    reader = LedgerReader(storage)
    assert reader.results(B) == before
    assert max(f.rows for f in reader.snapshot("results").files.values()) <= 10
    assert ids_in(storage, "results") == {B}


def test_a_new_manager_goes_on_where_the_old_one_was_killed(storage, clock, rows, writer, fill, retired, settle):
    fill(writer, A, B)
    retired(writer, A)
    lives = 0
    while A in ids_in(storage, "batches"):
        lives += 1
        fresh = LedgerWriter.open(storage, clock=clock)
        fresh.take_over(rows.info)
        for _ in range(4):
            fresh.maintain(clock.now().wall)
    assert lives > 2
    for name in TABLES:
        assert ids_in(storage, name) == {B}, name


def test_rows_that_come_between_two_steps_are_not_lost(storage, clock, writer, rows, fill, retired, settle):
    fill(writer, A, B)
    retired(writer, A)
    for k in range(100):
        writer.maintain(clock.now().wall)
        writer.commit(CommitGroup({"results": rows.results(B, [100 + k], writer.next_commit_id())}))
    settle(writer)
    assert ids_in(storage, "results") == {B}
    found = LedgerReader(storage).read("results", batch_id=B)["job_index"].to_pylist()
    assert found == [*range(6), *range(100, 200)]


def test_a_full_disk_during_a_removal_loses_nothing(tmp_path, clock, rows, failing_disk, fill, retired, settle):
    disk = failing_disk()
    storage = LocalStorage(str(tmp_path), disk=disk)
    writer = LedgerWriter.open(storage, clock=clock)
    writer.take_over(rows.info)
    fill(writer, A, B)
    before = all_of(LedgerReader(storage), B)
    retired(writer, A)
    for step in range(1, 40):
        disk.done, disk.fail_at = 0, step
        try:
            settle(writer)
        except StorageRefused:
            assert all_of(LedgerReader(storage), B) == before
    disk.fail_at = None
    settle(writer)
    assert all_of(LedgerReader(storage), B) == before
    assert ids_in(storage, "results") == {B}


def test_a_damaged_file_is_named_once_and_the_batch_stays_unfinished(
    storage, clock, rows, writer, fill, retired, settle
):
    fill(writer, A, B)
    (path,) = LedgerReader(storage).snapshot("attempts").files
    storage.replace(f"attempts/{path}", b"damaged")
    retired(writer, A)
    with pytest.raises(LedgerCorrupt, match=path):
        settle(writer)
    settle(writer)
    assert ids_in(storage, "results") == {B}
    assert ids_in(storage, "batches") == {A, B}
    assert LedgerReader(storage).batches().column("batch_id").to_pylist() == [B]


# --------------------------------------------------------------------------------------- what is due


@pytest.fixture
def ended(commit, rows):
    """A batch of ``scans`` that ended ``hours`` ago."""
    seq = iter(range(1, 1000))

    def run(batch_id, hours, queue="scans", **counts):
        commit(**rows.submit(batch_id, 1, queue=queue, name=f"name of {batch_id}", submitted_at=NOW))
        detail = json.dumps({"status": "partial", "counts": counts or {"succeeded": 1}})
        event = rows.event("batch_finished", next(seq), batch_id=batch_id, detail=detail)
        at = pa.array([NOW.timestamp() - 3600 * hours], pa.float64())
        stamps = pa.array([int(at[0].as_py() * 1e6)], pa.timestamp("us", tz="UTC"))
        commit(events=event.append_column("at", stamps))

    return run


def names(found):
    return [record["batch_id"] for record in found]


def test_batches_older_than_the_rule_are_due_oldest_first(reader, ended):
    ended(B, 5)
    ended(A, 9)
    ended(C, 1)
    ended("k3f2m9qd", 9, queue="others")
    rules = {"scans": RetentionRule(keep_s=3600.0 * 5)}
    assert names(due(reader, rules, NOW.timestamp())) == [A, B]
    assert due(reader, {}, NOW.timestamp()) == []
    assert due(reader, {"scans": RetentionRule()}, NOW.timestamp()) == []


def test_the_newest_batches_are_kept(reader, ended, commit, rows):
    for batch_id, hours in ((A, 3), (B, 2), (C, 1)):
        ended(batch_id, hours)
    commit(**rows.submit("k3f2m9qz", 1, queue="scans"))
    assert names(due(reader, {"scans": RetentionRule(keep_batches=1)}, NOW.timestamp())) == [A, B]
    assert names(due(reader, {"scans": RetentionRule(keep_batches=0)}, NOW.timestamp())) == [A, B, C]


def test_a_batch_with_dead_letters_stays_until_they_are_purged(reader, ended, commit, rows):
    ended(A, 9, failed=1, succeeded=1)
    commit(results=rows.results(A, [0], 1, status="failed"))
    rules = {"scans": RetentionRule(keep_s=0.0)}
    assert due(reader, rules, NOW.timestamp()) == []
    commit(events=rows.event("purged", 800, batch_id=A, detail='{"ranges": [[0, 1]]}'))
    assert names(due(reader, rules, NOW.timestamp())) == [A]


def test_the_record_says_what_the_batch_was(reader, ended):
    ended(A, 9)
    (record,) = due(reader, {"scans": RetentionRule(keep_s=0.0)}, NOW.timestamp())
    assert record["queue"] == "scans"
    about = json.loads(json.dumps(record["detail"]))
    assert about["name"] == f"name of {A}"
    assert (about["n_jobs"], about["counts"], about["status"]) == (1, {"succeeded": 1}, "partial")
    assert about["finished_at"] == NOW.timestamp() - 9 * 3600


def test_a_batch_that_left_is_named_with_the_day_and_the_queue(storage, commit, rows):
    from dfbatch.client.ledger_progress import batch_row

    event = rows.event("retired", 1, batch_id=A)
    commit(events=event.append_column("at", pa.array([NOW])).append_column("queue", pa.array(["scans"])))
    with pytest.raises(UnknownId, match="left the ledger on 2026-03-01 12:00 UTC by the retention of queue 'scans'"):
        batch_row(LedgerReader(storage), A)
    with pytest.raises(UnknownId, match="There is no batch"):
        batch_row(LedgerReader(storage), B)
