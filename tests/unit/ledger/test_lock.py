from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dfbatch
from dfbatch.errors import StorageUnusable
from dfbatch.ledger.local_storage import LocalStorage
from dfbatch.ledger.lock import LedgerLock, is_locked_elsewhere, read_manager_info
from dfbatch.ledger.storage import open_storage

pytestmark = pytest.mark.integration


def test_one_holder_at_a_time(storage):
    assert not is_locked_elsewhere(storage)
    first, second = LedgerLock(storage), LedgerLock(storage)
    assert first.try_acquire()
    assert first.try_acquire()
    assert is_locked_elsewhere(storage)
    assert not second.try_acquire()
    first.release()
    first.release()
    assert not is_locked_elsewhere(storage)
    assert second.try_acquire()
    second.release()


_HOLD = """
import sys
from dfbatch.ledger.lock import LedgerLock
from dfbatch.ledger.storage import open_storage
assert LedgerLock(open_storage(sys.argv[1])).try_acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_holds_no_lock(storage):
    environment = os.environ | {"PYTHONPATH": str(Path(dfbatch.__file__).parents[1])}
    command = [sys.executable, "-c", _HOLD, storage.root]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        assert is_locked_elsewhere(storage)
        assert not LedgerLock(storage).try_acquire()
        holder.kill()
        holder.wait(100)
    lock = LedgerLock(storage)
    assert lock.try_acquire()
    lock.release()


def test_looking_makes_no_file(storage):
    assert not is_locked_elsewhere(storage)
    assert not os.path.exists(storage.root)


def test_there_is_no_lock_where_the_ledger_is_not_local():
    storage = open_storage("memory://lock")
    lock, other = LedgerLock(storage), LedgerLock(storage)
    assert lock.try_acquire()
    assert other.try_acquire()
    assert not is_locked_elsewhere(storage)


def test_a_lock_that_cannot_be_made_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnusable, match="choose another storage_path"):
        LedgerLock(LocalStorage(str(tmp_path / "file"))).try_acquire()


def test_the_manager_is_read_back(storage, rows):
    assert read_manager_info(storage) is None
    info = dataclasses.replace(rows.info, epoch=7)
    storage.replace("manager.json", info.encode())
    assert read_manager_info(storage) == info


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff", b'{"epoch": 1}'])
def test_an_illegible_manager_file_is_no_manager(storage, data):
    storage.replace("manager.json", data)
    assert read_manager_info(storage) is None
