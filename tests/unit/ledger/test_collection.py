"""Blobs and verifiers go when no batch has referred to them for a day, and never before."""

from __future__ import annotations

import json
import os
import time

import pytest

from dfbatch.errors import StorageRefused
from dfbatch.ledger import blobs
from dfbatch.ledger.collection import COLLECT_EVERY_S, MARKS_FILE
from dfbatch.ledger.writer import CommitGroup, LedgerWriter

pytestmark = pytest.mark.integration

A = "k3f2m9qa"
DAY_S = 86_400.0


@pytest.fixture
def store(storage):
    """Bytes that were stored some days ago."""

    def run(data, folder="blobs", days=10):
        sha = blobs.put(storage, data, folder)
        long_ago = time.time() - days * DAY_S
        os.utime(os.path.join(storage.root, folder, sha), (long_ago, long_ago))
        return sha

    return run


@pytest.fixture
def look(clock):
    """Do all upkeep that is due ``days`` from now."""

    def run(writer, days=0.0):
        clock.advance(time.time() + days * DAY_S - clock.now().wall)
        steps = 0
        while writer.maintain(clock.now().wall):
            steps += 1
        return steps

    return run


@pytest.fixture
def refer(commit, rows):
    """A batch whose first job is a blob, with a verifier."""

    def run(blob=None, verifier=None, batch_id=A):
        tables = rows.submit(batch_id, 2, verifier_sha=verifier)
        if blob is not None:
            tables["jobs"] = tables["jobs"].append_column("blob", [[blob, None]])
        commit(**tables)

    return run


def there(storage, *shas, folder="blobs"):
    return [storage.exists(f"{folder}/{sha}") for sha in shas]


def test_what_nobody_refers_to_for_a_day_is_collected(storage, writer, store, look, refer):
    used, idle = store(b"used"), store(b"idle")
    code, old_code = store(b"code", "verifiers"), store(b"old code", "verifiers")
    refer(used, code)
    look(writer)
    look(writer, days=0.9)
    assert there(storage, used, idle) == [True, True]
    look(writer, days=1.2)
    assert there(storage, used, idle) == [True, False]
    assert there(storage, code, old_code, folder="verifiers") == [True, False]
    assert look(writer, days=1.3) == 0


def test_a_new_manager_knows_since_when_a_file_is_idle(storage, clock, rows, writer, store, look):
    idle = store(b"idle")
    look(writer)
    assert list(json.loads(storage.read(MARKS_FILE))) == [f"blobs/{idle}"]
    fresh = LedgerWriter.open(storage, clock=clock)
    fresh.take_over(rows.info)
    look(fresh, days=1.1)
    assert there(storage, idle) == [False]
    assert json.loads(storage.read(MARKS_FILE)) == {}


def test_a_damaged_list_of_idle_files_only_begins_their_day_anew(storage, clock, rows, writer, store, look):
    idle = store(b"idle")
    storage.replace(MARKS_FILE, b"[not json")
    look(writer)
    assert there(storage, idle) == [True]
    look(writer, days=1.1)
    assert there(storage, idle) == [False]


def test_a_file_that_is_referred_to_again_loses_its_mark(storage, writer, store, look, refer):
    idle = store(b"idle")
    look(writer)
    refer(idle)
    look(writer, days=1.1)
    assert there(storage, idle) == [True]
    assert json.loads(storage.read(MARKS_FILE)) == {}


def test_bytes_that_are_stored_again_are_young_again(storage, writer, store, look):
    """A submit on its way has stored what is there already, and its rows are not durable yet."""
    idle = store(b"idle")
    look(writer)
    assert blobs.put(storage, b"idle") == idle
    look(writer, days=0.99)
    look(writer, days=0.999)
    assert there(storage, idle) == [True]
    assert time.time() - storage.modified(f"blobs/{idle}") < DAY_S


def test_bytes_that_are_young_are_not_written_again(storage):
    sha = blobs.put(storage, b"data")
    before = os.stat(os.path.join(storage.root, "blobs", sha)).st_ino
    blobs.put(storage, b"data")
    assert os.stat(os.path.join(storage.root, "blobs", sha)).st_ino == before
    assert storage.modified("blobs/nothing") is None


def test_rows_that_come_during_a_look_hold_what_they_refer_to(storage, clock, writer, store, look, refer, rows):
    idle, other = store(b"idle"), store(b"other")
    refer(other)
    look(writer)
    clock.advance(1.1 * DAY_S)
    assert writer.maintain(clock.now().wall)
    refer(idle, batch_id="k3f2m9qb")
    while writer.maintain(clock.now().wall):
        pass
    assert there(storage, idle, other) == [True, True]


def test_a_manager_that_was_replaced_collects_nothing(storage, clock, rows, writer, store, look):
    idle = store(b"idle")
    look(writer)
    fresh = LedgerWriter.open(storage, clock=clock)
    fresh.take_over(rows.info)
    fresh.commit(CommitGroup({"events": rows.event("x", 1)}))
    look(writer, days=1.1)
    assert there(storage, idle) == [True]


def test_a_damaged_table_keeps_everything_and_the_look_is_repeated_later(storage, writer, store, look, refer, clock):
    used, idle = store(b"used"), store(b"idle")
    refer(used)
    look(writer)
    path = next(iter(writer._tables["jobs"].snapshot.files))
    good = storage.read(f"jobs/{path}")
    storage.replace(f"jobs/{path}", b"damaged")
    with pytest.raises(StorageRefused, match="could not be looked for"):
        look(writer, days=1.1)
    assert there(storage, used, idle) == [True, True]
    assert look(writer, days=1.1) == 0
    storage.replace(f"jobs/{path}", good)
    look(writer, days=1.2 + COLLECT_EVERY_S / DAY_S)
    assert there(storage, used, idle) == [True, False]
