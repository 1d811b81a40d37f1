from __future__ import annotations

import contextlib
import json
import threading

import pyarrow as pa
import pytest

from dfbatch.clock import ManualClock
from dfbatch.errors import (
    CommitUnknown,
    InvalidInput,
    LedgerCorrupt,
    LedgerFenced,
    LedgerTooNew,
    StorageRefused,
    StorageUnusable,
)
from dfbatch.ledger.local_storage import LocalStorage
from dfbatch.ledger.lock import read_manager_info
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.schemas import TABLES
from dfbatch.ledger.writer import CommitGroup, LedgerWriter

pytestmark = pytest.mark.integration


def test_opening_creates_every_table_and_the_marker(storage, clock):
    LedgerWriter.open(storage, clock=clock)
    assert LedgerReader(storage).table_names() == list(TABLES)
    assert json.loads(storage.read("ledger.json"))["format"] == 1


def test_a_folder_with_other_files_is_taken_as_it_is(tmp_path, clock):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    (tmp_path / "b.parquet").write_text("mine too")
    LedgerWriter.open(LocalStorage(str(tmp_path)), clock=clock)
    assert (tmp_path / "notes" / "a.txt").read_text() == "mine"
    assert (tmp_path / "b.parquet").read_text() == "mine too"


def test_a_ledger_of_a_newer_format_is_refused_before_anything_is_written(storage):
    storage.replace("ledger.json", b'{"format": 2, "dfbatch": "9.9"}')
    with pytest.raises(LedgerTooNew, match=r"format 2 \(written by dfbatch 9\.9\)"):
        LedgerWriter.open(storage)
    with pytest.raises(LedgerTooNew):
        LedgerReader(storage)
    assert storage.folders() == []


@pytest.mark.parametrize("marker", [b"", b"[]", b"{}", b'{"format": "x"}', b"\xff\x00"])
def test_a_damaged_marker_is_named(storage, marker):
    storage.replace("ledger.json", marker)
    with pytest.raises(LedgerCorrupt, match=r"ledger\.json is damaged"):
        LedgerWriter.open(storage)


def test_each_takeover_is_one_epoch_later_and_says_who_it_is(storage, clock, rows):
    for epoch in (1, 2, 3):
        writer = LedgerWriter.open(storage, clock=clock)
        assert writer.take_over(rows.info) == epoch
        assert read_manager_info(storage).epoch == epoch
        assert writer.next_commit_id() == epoch << 40 | 1


def test_nothing_is_committed_before_a_takeover(storage, clock, rows):
    with pytest.raises(InvalidInput, match="was not taken over"):
        LedgerWriter.open(storage, clock=clock).commit(CommitGroup(rows.submit("k3f2m9qa", 1)))


def test_tables_are_written_in_the_order_that_survives_a_crash(rows):
    names = ["events", "results", "outputs_b", "outputs_a", "attempts", "batches", "jobs", "inputs_a"]
    group = CommitGroup({name: pa.table({"batch_id": ["a"]}) for name in names})
    assert group.ordered() == [
        "inputs_a", "jobs", "batches", "attempts", "outputs_a", "outputs_b", "results", "events",
    ]  # fmt: skip


def test_an_unknown_table_or_column_is_refused_by_name(writer, rows):
    with pytest.raises(InvalidInput, match="no table 'result'"):
        writer.commit(CommitGroup({"result": pa.table({"batch_id": ["a"]})}))
    with pytest.raises(InvalidInput, match="no column 'colour'"):
        writer.commit(CommitGroup({"jobs": pa.table({"batch_id": ["a"], "job_index": [0], "colour": ["red"]})}))


def test_a_replaced_manager_is_fenced_for_good(storage, clock, rows):
    old = LedgerWriter.open(storage, clock=clock)
    old.take_over(rows.info)
    old.commit(CommitGroup(rows.submit("k3f2m9qa", 2)))
    new = LedgerWriter.open(storage, clock=clock)
    new.take_over(rows.info)
    for _ in range(2):
        with pytest.raises(LedgerFenced) as refusal:
            old.commit(CommitGroup(rows.submit("k3f2m9qb", 2)))
        assert (refusal.value.own_epoch, refusal.value.other_epoch) == (1, 2)
    with pytest.raises(LedgerFenced):
        old.maintain(clock.now().wall)
    new.commit(CommitGroup(rows.submit("k3f2m9qc", 2)))
    assert LedgerReader(storage).read("batches").column("batch_id").to_pylist() == ["k3f2m9qa", "k3f2m9qc"]


def test_every_table_is_fenced_not_only_those_in_use(storage, clock, rows):
    old = LedgerWriter.open(storage, clock=clock)
    old.take_over(rows.info)
    old.commit(CommitGroup(rows.submit("k3f2m9qa", 1, inputs="inputs_00000001")))
    LedgerWriter.open(storage, clock=clock).take_over(rows.info)
    for name in [*TABLES, "inputs_00000001"]:
        table = old._tables[name]
        with pytest.raises(LedgerFenced):
            table.append(pa.table({table.snapshot.schema.names[0]: [None]}), 1 << 40 | 99)


def test_of_two_managers_that_start_at_once_one_remains(storage, clock, rows):
    one, other = (LedgerWriter.open(storage, clock=clock) for _ in range(2))
    assert one.take_over(rows.info) == 1
    with pytest.raises(LedgerFenced):
        other.take_over(rows.info)
    with pytest.raises(LedgerFenced):
        other.commit(CommitGroup(rows.submit("k3f2m9qb", 1)))
    one.commit(CommitGroup(rows.submit("k3f2m9qa", 1)))


def test_a_manager_that_is_overtaken_while_it_fences_ends(storage, clock, rows):
    slow = LedgerWriter.open(storage, clock=clock)
    slow._tables["attempts"].fence(1)
    fast = LedgerWriter.open(storage, clock=clock)
    assert fast.take_over(rows.info) == 2
    with pytest.raises(LedgerFenced):
        slow.take_over(rows.info)


def test_a_writer_goes_on_after_a_commit_of_somebody_else_who_is_no_manager(storage, writer, commit, rows):
    """Somebody ran ``DeltaTable.optimize`` or wrote metadata by hand: that is no reason to stop."""
    commit(**rows.submit("k3f2m9qa", 2))
    foreign = b'{"commitInfo":{"timestamp":1,"operation":"OPTIMIZE"}}\n'
    storage.create(f"batches/_delta_log/{writer.version('batches') + 1:020d}.json", foreign)
    commit(**rows.submit("k3f2m9qb", 2))
    assert LedgerReader(storage).read("batches").column("batch_id").to_pylist() == ["k3f2m9qa", "k3f2m9qb"]


@pytest.mark.parametrize("after", [False, True], ids=["not carried out", "carried out, answer lost"])
def test_a_commit_that_fails_anywhere_is_tried_again_and_doubles_nothing(tmp_path, clock, rows, failing_disk, after):
    """At each operation on the disk in turn: the same group again makes every row durable once."""

    def session(number: int, fail_at: int | None) -> int:
        disk = failing_disk(after=after)
        storage = LocalStorage(str(tmp_path / f"{number}"), disk=disk)
        writer = LedgerWriter.open(storage, clock=clock)
        writer.take_over(rows.info)
        writer.commit(CommitGroup(rows.submit("k3f2m9qa", 4, inputs="inputs_00000001")))
        group = CommitGroup({"results": rows.results("k3f2m9qa", range(4), writer.next_commit_id())})
        group.tables["outputs_1"] = rows.outputs(
            "k3f2m9qa", range(4), writer.next_commit_id(), [{"x": i} for i in range(4)]
        )
        group.tables["events"] = rows.event("paused", 1)
        disk.done, disk.fail_at = 0, fail_at
        if fail_at is not None:
            with contextlib.suppress(StorageRefused):
                writer.commit(group)
            assert disk.done >= fail_at, "nothing failed"
        writer.commit(group)
        operations = disk.done
        read = LedgerReader(storage)
        assert [len(read.read(name)) for name in ("results", "outputs_1", "events")] == [4, 4, 1]
        writer.commit(CommitGroup(rows.submit("k3f2m9qb", 3)))
        assert len(read.read("batches")) == 2
        return operations

    operations = session(0, None)
    assert operations >= 3 * 7
    for number in range(1, operations + 1):
        session(number, number)


@pytest.mark.parametrize("after", [False, True], ids=["not carried out", "carried out, answer lost"])
@pytest.mark.parametrize("n_failures", [1, 2, 4])
def test_a_refused_submit_is_not_there_and_never_will_be(tmp_path, clock, rows, failing_disk, after, n_failures):
    """At each operation on the disk in turn. What cannot be told is not said, and the same group again tells it."""
    answers = {"refused": 0, "unknown": 0, "there": 0}
    fail_at = 0
    while fail_at <= answers["refused"] + answers["unknown"] + answers["there"]:
        fail_at += 1
        disk = failing_disk(after=after, n_failures=n_failures)
        storage = LocalStorage(str(tmp_path / f"{fail_at}"), disk=disk)
        writer = LedgerWriter.open(storage, clock=clock)
        writer.take_over(rows.info)
        disk.done, disk.fail_at = 0, fail_at
        group = CommitGroup(rows.submit("k3f2m9qa", 4))
        try:
            writer.commit(group)
        except CommitUnknown:
            answers["unknown"] += 1
            disk.fail_at = None
            writer.commit(group)
            expected = ["k3f2m9qa"]
        except StorageRefused:
            answers["refused"] += 1
            expected = []
        else:
            answers["there"] += disk.done >= fail_at
            expected = ["k3f2m9qa"]
        disk.fail_at = None
        successor = LedgerWriter.open(storage, clock=clock)
        successor.take_over(rows.info)
        successor.commit(CommitGroup(rows.submit("k3f2m9qb", 1)))
        assert LedgerReader(storage).read("batches").column("batch_id").to_pylist() == [*expected, "k3f2m9qb"]
    assert answers["refused"] >= 10
    assert answers["there"] if n_failures == 1 else answers["unknown"]


def test_a_log_that_cannot_be_read_leaves_it_open_whether_a_commit_is_there(tmp_path, clock, rows, monkeypatch):
    storage = LocalStorage(str(tmp_path))
    writer = LedgerWriter.open(storage, clock=clock)
    writer.take_over(rows.info)
    group = CommitGroup(rows.submit("k3f2m9qa", 4))

    def gone(path, data=None):
        raise (StorageUnusable if data is None else StorageRefused)("the disk is away")

    with monkeypatch.context() as away:
        away.setattr(storage, "create", gone)
        away.setattr(storage, "read", gone)
        with pytest.raises(CommitUnknown, match="not known whether jobs/_delta_log/.* was written"):
            writer.commit(group)
    writer.commit(group)
    assert LedgerReader(storage).read("batches").num_rows == 1


def test_another_commit_may_come_between_a_lost_answer_and_its_repetition(tmp_path, clock, rows, failing_disk):
    disk = failing_disk(after=True, n_failures=3)
    storage = LocalStorage(str(tmp_path), disk=disk)
    writer = LedgerWriter.open(storage, clock=clock)
    writer.take_over(rows.info)
    writer.commit(CommitGroup({"events": rows.event("manager_started", 0)}))
    disk.done = 0
    writer.commit(CommitGroup({"events": rows.event("paused", 1)}))
    disk.done, disk.fail_at = 0, disk.done  # the last operation: the folder's fsync after the entry got its name
    first = CommitGroup({"events": rows.event("paused", 2)})
    with pytest.raises(CommitUnknown, match="may not outlast a power failure"):
        writer.commit(first)
    disk.fail_at = None
    writer.commit(CommitGroup({"events": rows.event("resumed", 3)}))
    writer.commit(first)
    assert sorted(LedgerReader(storage).read("events").column("seq").to_pylist()) == [0, 1, 2, 3]


def test_a_manager_that_slept_longer_than_the_log_is_kept_is_fenced(storage, rows):
    """Its next version's name is free again, because the new manager swept the old log away."""
    clock = ManualClock()
    old = LedgerWriter.open(storage, clock=clock)
    old.take_over(rows.info)
    new = LedgerWriter.open(storage, clock=clock)
    new.take_over(rows.info)
    for number in range(70):
        new.commit(CommitGroup({"events": rows.event("paused", number)}))
    while new.maintain(clock.now().wall):
        pass
    clock.advance(10 * 86_400.0)
    while new.maintain(clock.now().wall):
        pass
    for info in storage.list("events/_delta_log"):
        if info.path.endswith(".json") and "_last" not in info.path:
            storage.delete(info.path)
    with pytest.raises(LedgerFenced):
        old.commit(CommitGroup({"events": rows.event("resumed", 99)}))
    assert len(LedgerReader(storage).read("events")) == 70


def test_takeovers_against_a_busy_manager_lose_and_double_nothing(storage, clock, rows):
    """Ten times a new manager starts while the old one commits as fast as it can."""
    acknowledged: list[int] = []

    def work(writer: LedgerWriter) -> None:
        try:
            for number in range(10_000):
                seq = writer.epoch * 10_000 + number
                writer.commit(CommitGroup({"events": rows.event("paused", seq, epoch=writer.epoch)}))
                acknowledged.append(seq)
        except LedgerFenced:
            return

    workers = []
    for _ in range(10):
        writer = LedgerWriter.open(storage, clock=clock)
        writer.take_over(rows.info)
        workers.append(threading.Thread(target=work, args=(writer,)))
        workers[-1].start()
        while not acknowledged or acknowledged[-1] < writer.epoch * 10_000 + 3:
            workers[-1].join(0.001)
    LedgerWriter.open(storage, clock=clock).take_over(rows.info)
    for worker in workers:
        worker.join(100)
    assert LedgerReader(storage).read("events")["seq"].to_pylist() == sorted(acknowledged)
