from __future__ import annotations

import os
import time

import pytest

from dfbatch.errors import LedgerCorrupt, StorageRefused
from dfbatch.ledger.local_storage import LocalStorage
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.recovery import recover
from dfbatch.ledger.writer import CommitGroup, LedgerWriter

pytestmark = pytest.mark.integration

A, B = "k3f2m9qa", "k3f2m9qb"
DAY_S = 86_400.0


@pytest.fixture
def settle(writer, clock):
    """Do all upkeep that is due; returns the number of steps."""

    def run(writer=writer) -> int:
        steps = 0
        while writer.maintain(clock.now().wall):
            steps += 1
        return steps

    return run


@pytest.fixture
def busy(writer, rows):
    """Many small commits of two batches, alternating, with everything that is joined on reading."""

    def run(n: int) -> None:
        for batch_id in (A, B):
            writer.commit(CommitGroup(rows.submit(batch_id, n, inputs="inputs_1")))
        for index in reversed(range(n)):
            for batch_id in (A, B):
                commit = writer.next_commit_id()
                tables = {
                    "attempts": rows.attempts(batch_id, [{"job_index": index, "attempt": 1}]),
                    "outputs_1": rows.outputs(batch_id, [index], commit, [{"i": index}]),
                    "results": rows.results(batch_id, [index], commit, outputs="outputs_1"),
                }
                writer.commit(CommitGroup(tables, commit))

    return run


def test_merges_and_checkpoints_change_nothing_that_is_read(storage, busy, settle):
    busy(40)
    reader = LedgerReader(storage)
    before = [reader.results(A), reader.results(B), reader.read("attempts")]
    recovered = recover(reader).batches[0]
    assert len(reader.snapshot("results").files) == 80
    assert settle() >= 6
    assert len(reader.snapshot("results").files) < 40
    for fresh in (reader, LedgerReader(storage)):
        assert [fresh.results(A), fresh.results(B), fresh.read("attempts")] == before
    again = recover(LedgerReader(storage)).batches[0]
    assert again.result_index.tolist() == recovered.result_index.tolist()
    assert again.attempts == recovered.attempts
    assert settle() == 0


def test_a_finished_batch_is_merged_before_there_are_many_files(storage, commit, rows, settle):
    for index in range(10):
        commit(results=rows.results(A, [index], 1))
    settle()
    assert len(LedgerReader(storage).snapshot("results").files) == 10
    commit(events=rows.event("batch_finished", 1, batch_id=A))
    settle()
    (file,) = LedgerReader(storage).snapshot("results").files.values()
    assert (file.rows, file.batches, file.indices) == (10, (A, A), (0, 9))


def test_batches_and_events_keep_the_order_in_which_they_were_written(storage, commit, rows, settle):
    for number in range(150):
        batches = rows.submit(f"b{number % 10}", number)["batches"]
        commit(batches=batches, events=rows.event("paused", number))
        settle()
    reader = LedgerReader(storage)
    assert reader.read("events")["seq"].to_pylist() == list(range(150))
    assert reader.read("batches")["n_jobs"].to_pylist() == list(range(150))
    assert sorted(reader.batches()["n_jobs"].to_pylist()) == list(range(140, 150))


def test_large_files_are_left_alone(storage, commit, rows, settle, monkeypatch):
    monkeypatch.setattr("dfbatch.ledger.maintenance.SMALL_ROWS", 5)
    for _ in range(66):
        commit(results=rows.results(A, range(5), 1))
    settle()
    assert len(LedgerReader(storage).snapshot("results").files) == 66


def test_one_step_is_bounded(storage, writer, commit, rows, settle, clock, monkeypatch):
    monkeypatch.setattr("dfbatch.ledger.maintenance.STEP_ROWS", 50)
    for _ in range(64):
        commit(results=rows.results(A, range(10), 1))
    writer.maintain(clock.now().wall)
    reader = LedgerReader(storage)
    assert max(file.rows for file in reader.snapshot("results").files.values()) == 50
    settle()
    assert len(reader.read("results")) == 640


def test_replaced_files_stay_for_a_day_and_go_then(storage, clock, busy, settle):
    busy(40)
    old = LedgerReader(storage)
    files = set(old.snapshot("results").files)
    settle()
    clock.advance(DAY_S - 60.0)
    settle()
    there = {os.path.basename(info.path) for info in storage.list("results")}
    assert files <= there
    clock.advance(3_700.0)
    assert settle() > 0
    there = {os.path.basename(info.path) for info in storage.list("results")}
    live = set(LedgerReader(storage).snapshot("results").files)
    assert there == live
    assert len(LedgerReader(storage).results(A)) == 40


def test_orphans_of_a_crash_are_swept_after_a_day_and_not_before(storage, clock, writer, commit, rows, settle):
    commit(results=rows.results(A, [0], 1))
    storage.create("results/0000000000000001-deadbeef.parquet", b"never committed")
    storage.create("results/_delta_log/.0123456789abcdef.tmp", b"half")
    clock.advance(time.time() - clock.now().wall)
    settle()
    assert storage.exists("results/0000000000000001-deadbeef.parquet")
    clock.advance(2 * DAY_S)
    settle()
    assert not storage.exists("results/0000000000000001-deadbeef.parquet")
    assert not storage.exists("results/_delta_log/.0123456789abcdef.tmp")
    assert len(LedgerReader(storage).read("results")) == 1


def test_old_log_entries_go_once_a_checkpoint_stands_for_them(storage, clock, commit, rows, settle):
    for number in range(70):
        commit(events=rows.event("paused", number))
    clock.advance(time.time() - clock.now().wall)
    settle()
    assert len(storage.list("events/_delta_log")) > 70
    clock.advance(2 * DAY_S)
    settle()
    assert len(storage.list("events/_delta_log")) < 10
    assert LedgerReader(storage).read("events")["seq"].to_pylist() == list(range(70))


def test_a_manager_that_was_replaced_while_it_slept_sweeps_nothing_of_its_successor(storage, clock, rows):
    clock.advance(time.time() - clock.now().wall)
    old, new = (LedgerWriter.open(storage, clock=clock) for _ in range(2))
    old.take_over(rows.info)
    new = LedgerWriter.open(storage, clock=clock)
    new.take_over(rows.info)
    new.commit(CommitGroup({"results": rows.results(A, [0], 1)}))
    clock.advance(3 * DAY_S)
    while old.maintain(clock.now().wall):
        pass
    assert len(LedgerReader(storage).read("results")) == 1


def test_a_full_disk_during_a_merge_loses_nothing(tmp_path, clock, rows, failing_disk):
    disk = failing_disk()
    storage = LocalStorage(str(tmp_path), disk=disk)
    writer = LedgerWriter.open(storage, clock=clock)
    writer.take_over(rows.info)
    for index in range(64):
        writer.commit(CommitGroup({"results": rows.results(A, [index], 1)}))
    for step in range(1, 8):
        disk.done, disk.fail_at = 0, step
        with pytest.raises(StorageRefused):
            writer.maintain(clock.now().wall)
        assert LedgerReader(storage).read("results")["job_index"].to_pylist() == list(range(64))
    disk.fail_at = None
    while writer.maintain(clock.now().wall):
        pass
    writer.commit(CommitGroup({"results": rows.results(A, [64], 1)}))
    assert LedgerReader(storage).read("results")["job_index"].to_pylist() == list(range(65))


def test_a_damaged_file_stops_the_merges_of_its_table_and_nothing_else(storage, clock, rows, writer, commit):
    for index in range(64):
        commit(results=rows.results(A, [index], 1))
    file = next(iter(LedgerReader(storage).snapshot("results").files))
    storage.replace(f"results/{file}", b"damaged")
    fresh = LedgerWriter.open(storage, clock=clock)
    fresh.take_over(rows.info)
    with pytest.raises(LedgerCorrupt, match=file):
        fresh.maintain(clock.now().wall)
    while fresh.maintain(clock.now().wall):
        pass
    fresh.commit(CommitGroup({"results": rows.results(A, [64], 1)}))
    assert len(LedgerReader(storage, intact_only=True).read("results")) == 64
