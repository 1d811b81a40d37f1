"""What every storage promises, and which one a path leads to."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from dfbatch.errors import StorageUnusable
from dfbatch.ledger.local_storage import LocalStorage
from dfbatch.ledger.remote_storage import RemoteStorage
from dfbatch.ledger.storage import open_storage


@pytest.fixture(params=["local", "arrow", "fsspec"])
def any_storage(request, tmp_path):
    if request.param == "local":
        return LocalStorage(str(tmp_path))
    if request.param == "arrow":
        return RemoteStorage(f"file://{tmp_path}", pyarrow.fs.LocalFileSystem(), str(tmp_path))
    return open_storage(f"memory://{uuid.uuid4()}")


def test_what_was_written_is_read_back(any_storage):
    any_storage.create("a/b/one", b"1")
    any_storage.replace("a/b/two", b"2")
    assert (any_storage.read("a/b/one"), any_storage.read("a/b/two")) == (b"1", b"2")
    assert any_storage.exists("a/b/one")
    assert not any_storage.exists("a/b")
    assert not any_storage.exists("a/b/three")
    any_storage.sync("a/b/one")


def test_a_name_can_be_created_once(any_storage):
    any_storage.create("a/one", b"first")
    with pytest.raises(FileExistsError):
        any_storage.create("a/one", b"second")
    assert any_storage.read("a/one") == b"first"


def test_a_file_is_replaced_as_a_whole(any_storage):
    for data in (b"longer than the next", b"short", b""):
        any_storage.replace("manager.json", data)
        assert any_storage.read("manager.json") == data


def test_files_of_a_folder_are_listed_by_name_without_its_folders(any_storage):
    for name in ("b", "a", "deeper/c"):
        any_storage.create(f"folder/{name}", b"123")
    found = any_storage.list("folder")
    assert [(info.path, info.size) for info in found] == [("folder/a", 3), ("folder/b", 3)]
    assert list(any_storage.list("nothing/there")) == []
    assert any_storage.folders() == ["folder"]


def test_what_is_deleted_is_gone_and_deleting_again_is_no_error(any_storage):
    any_storage.create("a/one", b"1")
    any_storage.delete("a/one")
    any_storage.delete("a/one")
    with pytest.raises(FileNotFoundError):
        any_storage.read("a/one")


def test_a_parquet_file_is_read_through_the_file_system(any_storage):
    constant = pa.DictionaryArray.from_arrays(pa.array([0] * 5, pa.int32()), pa.array(["x"]))
    table = pa.table({"batch_id": constant, "job_index": range(5), "note": constant})
    size = any_storage.write_parquet("t/f.parquet", table, row_group_size=2, dictionary_columns=["batch_id", "note"])
    filesystem, base = any_storage.filesystem()
    file = pq.ParquetFile(f"{base}/t/f.parquet", filesystem=filesystem)
    assert file.metadata.num_row_groups == 3
    assert file.schema_arrow == pa.schema({"batch_id": pa.string(), "job_index": pa.int64(), "note": pa.string()}), (
        "what came dictionary-encoded is plain text in the file"
    )
    assert file.read().to_pydict() == table.to_pydict()
    (info,) = any_storage.list("t")
    assert info.size == size


def test_a_path_leads_to_a_folder_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    expected = str(tmp_path / "here")
    for path in ("~/here", "here", Path("here"), f"file://{tmp_path}/here", str(tmp_path / "there/../here")):
        assert open_storage(path).root == expected
    assert not os.path.exists(expected), "nothing is written before it must be"


@pytest.mark.parametrize("path", ["", "  ", "nonsense://x", "http:/"])
def test_a_path_that_leads_nowhere_is_refused_with_a_sentence(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "://" in path or not path.strip():
        with pytest.raises(StorageUnusable):
            open_storage(path)
    else:
        assert open_storage(path).is_local


def test_parameters_of_an_s3_uri_reach_deltalake():
    uri = "s3://bucket/a?endpoint_override=127.0.0.1:9000&scheme=http&region=eu-west-1"
    storage = open_storage(uri)
    assert storage.root == "s3://bucket/a"
    assert storage.delta_options == {
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9000",
        "AWS_ALLOW_HTTP": "true",
    }
    assert (storage.is_local, storage.exclusive) == (False, False)
