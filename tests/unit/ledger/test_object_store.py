"""A ledger on S3, spoken over HTTP: conditional puts are the compare-and-swap, and answers may be lost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dfbatch.errors import LedgerFenced
from dfbatch.ledger import blobs
from dfbatch.ledger.delta_log import Entry, commit_id
from dfbatch.ledger.log_commits import DeltaTransactions, log_commits
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.recovery import recover
from dfbatch.ledger.storage import open_storage
from dfbatch.ledger.writer import CommitGroup, LedgerWriter

pytestmark = pytest.mark.integration

A, B = "k3f2m9qa", "k3f2m9qb"
WAIT_S = 60.0


@pytest.fixture
def store(s3):
    return open_storage(s3.uri())


def test_files_are_written_read_listed_and_deleted(store, s3):
    store.replace("a/one.txt", b"1")
    store.replace("a/one.txt", b"11")
    store.create("a/b/two.txt", b"2")
    assert (store.read("a/one.txt"), store.exists("a/one.txt"), store.exists("a/b")) == (b"11", True, False)
    assert [(info.path, info.size) for info in store.list("a")] == [("a/one.txt", 2)]
    assert store.folders() == ["a"]
    store.delete("a/one.txt")
    store.delete("a/one.txt")
    assert s3.files() == ["a/b/two.txt"]
    with pytest.raises(FileNotFoundError):
        store.read("a/one.txt")
    sha = blobs.put(store, bytes(7 << 20))  # more than one part of an upload
    assert blobs.get(store, sha) == bytes(7 << 20)


def test_more_files_than_one_page_of_a_listing_are_all_there(store):
    for number in range(105):
        store.replace(f"many/{number:03d}", b"")
    assert [info.path for info in store.list("many")] == [f"many/{number:03d}" for number in range(105)]


def test_of_those_who_write_one_version_at_the_same_time_one_wins(store, rows):
    LedgerWriter.open(store)
    schema = LedgerReader(store).snapshot("events").schema
    start = threading.Barrier(4)

    def race(writer: int) -> list[int]:
        log, won = log_commits(store), []
        assert isinstance(log, DeltaTransactions)
        for version in range(1, 6):
            start.wait(WAIT_S)
            try:
                log.commit("events", version, Entry(commit=commit_id(writer, version), token=f"{writer}"), schema, 0)
                won.append(version)
            except FileExistsError:
                pass
            start.wait(WAIT_S)
        return won

    with ThreadPoolExecutor(4) as pool:
        won = [version for versions in pool.map(race, range(1, 5)) for version in versions]
    assert sorted(won) == [1, 2, 3, 4, 5]


def test_a_replaced_manager_is_fenced_and_leaves_no_row(store, clock, rows, s3):
    old, new = LedgerWriter.open(store, clock=clock), LedgerWriter.open(store, clock=clock)
    old.take_over(rows.info)
    old.commit(CommitGroup(rows.submit(A, 2)))
    new = LedgerWriter.open(store, clock=clock)
    assert new.take_over(rows.info) == 2
    with pytest.raises(LedgerFenced):
        old.commit(CommitGroup(rows.submit(B, 2)))
    new.commit(CommitGroup(rows.submit("k3f2m9qc", 2)))
    assert LedgerReader(store).read("batches").column("batch_id").to_pylist() == [A, "k3f2m9qc"]
    assert s3.server.conditional_puts > 10


def test_a_commit_whose_answer_is_lost_stands_once(store, clock, rows, s3):
    writer = LedgerWriter.open(store, clock=clock)
    writer.take_over(rows.info)
    lost: list[str] = []

    def lose_the_first(method: str, key: str) -> bool:
        if method != "PUT" or "_delta_log" not in key or key in lost:
            return False
        lost.append(key)
        return True

    s3.server.loses_answer = lose_the_first
    writer.commit(CommitGroup(rows.submit(A, 3, inputs="inputs_00000001")))
    commit = writer.next_commit_id()
    writer.commit(CommitGroup({"results": rows.results(A, range(3), commit)}, commit))
    assert len(lost) >= 4
    assert {"batches", "results"} <= {key.split("/")[-3] for key in lost}
    reader = LedgerReader(store)
    assert [len(reader.read(name)) for name in ("jobs", "inputs_00000001", "batches", "results")] == [3, 3, 1, 3]
    (found,) = recover(reader).batches
    assert found.result_index.tolist() == [0, 1, 2]
