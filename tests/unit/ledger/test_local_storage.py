from __future__ import annotations

import errno
import os

import pyarrow as pa
import pytest

from dfbatch.errors import StorageRefused, StorageUnusable
from dfbatch.ledger.local_storage import LocalStorage

TABLE = pa.table({"batch_id": ["a"] * 1000, "job_index": range(1000)})


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES])
def test_a_refused_write_is_typed_says_what_to_do_and_leaves_nothing(tmp_path, failing_disk, code):
    storage = LocalStorage(str(tmp_path), disk=failing_disk(code=code))
    storage.create("t/there", b"")
    for write in (
        lambda: storage.create("t/new", b"x"),
        lambda: storage.replace("t/new", b"x"),
        lambda: storage.write_parquet("t/new", TABLE, row_group_size=100),
    ):
        storage._disk.done, storage._disk.fail_at = 0, 1
        with pytest.raises(StorageRefused, match=f"{tmp_path}/t/new could not be written") as refusal:
            write()
        assert refusal.value.__cause__.errno == code
        assert str(refusal.value).count(". ") >= 1
        assert os.listdir(tmp_path / "t") == ["there"]


def test_rows_are_refused_before_the_reserve_is_used_up_but_log_entries_are_not(tmp_path, failing_disk):
    disk = failing_disk()
    free = 1 << 20
    disk.free_bytes = lambda path: free
    storage = LocalStorage(str(tmp_path), disk=disk, reserve_bytes=1 << 20)
    with pytest.raises(StorageRefused, match="kept in reserve"):
        storage.write_parquet("t/f.parquet", TABLE, row_group_size=100)
    with pytest.raises(StorageRefused, match="kept in reserve"):
        storage.create("blobs/x", bytes(100_000))
    storage.create("t/_delta_log/0.json", b"{}")
    free = 2 << 20
    storage.write_parquet("t/f.parquet", TABLE, row_group_size=100)


def test_the_default_reserve_fits_a_small_disk(tmp_path, failing_disk):
    disk = failing_disk()
    disk.free_bytes = lambda path: 10 << 20
    storage = LocalStorage(str(tmp_path), disk=disk)
    storage.write_parquet("t/f.parquet", TABLE, row_group_size=100)
    disk.free_bytes = lambda path: 200_000
    with pytest.raises(StorageRefused):
        storage.write_parquet("t/g.parquet", TABLE, row_group_size=100)


def test_free_bytes_are_known_before_the_folder_is_there(tmp_path):
    assert LocalStorage(str(tmp_path / "not" / "yet")).free_bytes() > 0


def test_a_file_where_a_folder_should_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageRefused):
        LocalStorage(str(tmp_path / "file")).create("a", b"")
    with pytest.raises(StorageUnusable):
        LocalStorage(str(tmp_path / "file")).folders()


def test_a_folder_read_as_a_file_is_unusable(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageUnusable, match="cannot be read"):
        LocalStorage(str(tmp_path)).read("folder")


def test_no_temporary_name_is_left_when_a_name_is_taken(tmp_path):
    storage = LocalStorage(str(tmp_path))
    storage.create("t/a", b"")
    with pytest.raises(FileExistsError):
        storage.create("t/a", b"")
    assert os.listdir(tmp_path / "t") == ["a"]


def test_a_folder_that_vanished_is_not_made_again_but_used_again_when_it_is_back(tmp_path):
    """While a disk is away, rows written in its place would be lost when it is back."""
    storage = LocalStorage(str(tmp_path / "ledger"))
    storage.create("t/a", b"")
    for gone in ("t", "."):
        away = (tmp_path / "ledger" / gone).rename(tmp_path / "away")
        with pytest.raises(StorageRefused, match="No such file|not there any more"):
            storage.create("t/b", b"")
        for _ in range(2):
            with pytest.raises(StorageRefused, match="not there any more"):
                storage.create("t/b", b"")
        away.rename(tmp_path / "ledger" / gone)
    storage.create("t/b", b"")
    assert [info.path for info in storage.list("t")] == ["t/a", "t/b"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_hard_links_is_told_apart(tmp_path, failing_disk, code):
    storage = LocalStorage(str(tmp_path), disk=failing_disk(code=code))
    storage.create("a", b"")
    storage._disk.done, storage._disk.fail_at = 0, 3
    with pytest.raises(StorageRefused, match="has no hard links"):
        storage.create("b", b"")
    assert os.listdir(tmp_path) == ["a"]
