"""A ledger away from a local disk: log entries by deltalake's transactions, or by a store's exclusive creation."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pyarrow.fs
import pytest

from dfbatch.errors import LedgerFenced, StorageRefused
from dfbatch.ledger.log_commits import DeltaTransactions, OwnEntries, log_commits
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.recovery import recover
from dfbatch.ledger.remote_storage import RemoteStorage
from dfbatch.ledger.storage import open_storage
from dfbatch.ledger.writer import CommitGroup, LedgerWriter

pytestmark = pytest.mark.integration

A, B = "k3f2m9qa", "k3f2m9qb"


@pytest.fixture(params=["deltalake", "fsspec"])
def remote(request, tmp_path):
    if request.param == "deltalake":
        return RemoteStorage(f"file://{tmp_path}", pyarrow.fs.LocalFileSystem(), str(tmp_path))
    return open_storage(f"memory://{uuid.uuid4()}")


def test_the_way_of_the_log_fits_the_store(remote):
    assert isinstance(log_commits(remote), OwnEntries if remote.exclusive else DeltaTransactions)


def test_a_ledger_lives_through_takeovers_merges_and_checkpoints(remote, clock, rows):
    jobs = {A: 66, B: 3}
    for epoch, (batch_id, n) in enumerate(jobs.items(), 1):
        writer = LedgerWriter.open(remote, clock=clock)
        assert writer.take_over(rows.info) == epoch
        writer.commit(CommitGroup(rows.submit(batch_id, n, inputs="inputs_1")))
        for index in range(n):
            commit = writer.next_commit_id()
            tables = {"results": rows.results(batch_id, [index], commit, outputs="outputs_1")}
            tables["outputs_1"] = rows.outputs(batch_id, [index], commit, [{"x": index}])
            writer.commit(CommitGroup(tables, commit))
        while writer.maintain(clock.now().wall):
            pass
    reader = LedgerReader(remote)
    assert len(reader.snapshot("results").files) < 10
    assert reader.snapshot("results").checkpoint > 0
    for batch_id, n in jobs.items():
        found = reader.results(batch_id)
        assert [row["x"] for row in found["output"].to_pylist()] == list(range(n))
        assert found["input"].to_pylist()[2] == {"label": f"{batch_id}/2"}
    assert [len(batch.result_index) for batch in recover(reader).batches] == [66, 3]


def test_a_replaced_manager_is_fenced(remote, clock, rows):
    old = LedgerWriter.open(remote, clock=clock)
    old.take_over(rows.info)
    old.commit(CommitGroup(rows.submit(A, 1, inputs="inputs_1")))
    new = LedgerWriter.open(remote, clock=clock)
    new.take_over(rows.info)
    with pytest.raises(LedgerFenced):
        old.commit(CommitGroup(rows.submit(B, 1, inputs="inputs_1")))
    new.commit(CommitGroup({"events": rows.event("paused", 1)}))
    assert LedgerReader(remote).read("batches")["batch_id"].to_pylist() == [A]


def test_a_lost_answer_is_found_in_the_log(remote, clock, rows, monkeypatch):
    writer = LedgerWriter.open(remote, clock=clock)
    writer.take_over(rows.info)
    commit = writer._log.commit

    def lose_answer(*arguments):
        commit(*arguments)
        monkeypatch.setattr(writer._log, "commit", commit)
        raise StorageRefused("the connection broke")

    monkeypatch.setattr(writer._log, "commit", lose_answer)
    group = CommitGroup({"results": rows.results(A, [0, 1], writer.next_commit_id())})
    with pytest.raises(StorageRefused):
        writer.commit(group)
    writer.commit(group)
    writer.commit(CommitGroup({"results": rows.results(A, [2], writer.next_commit_id())}))
    assert LedgerReader(remote).read("results")["job_index"].to_pylist() == [0, 1, 2]


def test_a_store_that_refuses_is_typed(clock):
    class Broken(pyarrow.fs.FileSystemHandler):
        def _fail(self, *arguments: object, **named: object) -> None:
            raise OSError("connection refused")

        def get_type_name(self) -> str:
            return "broken"

        get_file_info = lambda self, paths: [pyarrow.fs.FileInfo(p, pyarrow.fs.FileType.NotFound) for p in paths]  # noqa: E731
        get_file_info_selector = lambda self, selector: []  # noqa: E731
        __eq__ = __ne__ = normalize_path = open_input_file = open_input_stream = open_output_stream = _fail
        open_append_stream = copy_file = move = delete_file = delete_dir = delete_dir_contents = create_dir = _fail
        delete_root_dir_contents = _fail

    storage = RemoteStorage("broken://x", pyarrow.fs.PyFileSystem(Broken()), "x")
    for write in (
        lambda: storage.create("a", b""),
        lambda: storage.replace("a", b""),
        lambda: storage.write_parquet("a", pa.table({"a": [1]}), row_group_size=1),
        lambda: storage.delete("a"),
    ):
        with pytest.raises(StorageRefused, match="broken://x/a could not be written"):
            write()
