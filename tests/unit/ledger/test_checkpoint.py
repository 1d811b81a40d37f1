"""Other readers of Delta tables understand ours: the log, the checkpoints, and the merges."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import deltalake
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import dfbatch
from dfbatch.clock import ManualClock
from dfbatch.ledger.checkpoint import write_checkpoint
from dfbatch.ledger.local_storage import LocalStorage
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.snapshot import load_snapshot
from dfbatch.ledger.writer import CommitGroup, LedgerWriter

pytestmark = pytest.mark.integration

A = "k3f2m9qa"


@pytest.fixture
def tables(storage, made_once):
    """A copy of the ledger that is made once, as the test's own; names of its tables."""
    shutil.copytree(made_once, storage.root, dirs_exist_ok=True)
    return LedgerReader(storage).table_names()


@pytest.fixture(scope="module")
def made_once(tmp_path_factory, rows):
    """A ledger with every kind of table, a merge, and user columns of many types; nobody writes to it."""
    root, clock = str(tmp_path_factory.mktemp("made") / "ledger"), ManualClock()
    writer = LedgerWriter.open(LocalStorage(root), clock=clock)
    writer.take_over(rows.info)
    columns = pa.table(
        {
            "file name": ["a b", "c"],
            "small": pa.array([1, 2], pa.uint8()),
            "seen": np.array(["2026-01-01", "NaT"], "datetime64[ns]"),
            "zoned": pa.array([dt.datetime(2026, 1, 1, tzinfo=dt.UTC), None]),
            "nothing": pa.nulls(2),
            "nested": [{"x": [1.5]}, {"x": []}],
        }
    )
    inputs = pa.table({"batch_id": [A, A], "job_index": [0, 1], "input": columns.to_struct_array()})
    writer.commit(
        CommitGroup(
            rows.submit(A, 66, inputs=None, submitted_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)) | {"inputs_1": inputs}
        )
    )
    for index in range(66):
        commit = writer.next_commit_id()
        tables = {
            "results": rows.results(A, [index], commit, outputs="outputs_1"),
            "outputs_1": rows.outputs(A, [index], commit, [{"x": index}]),
            "attempts": rows.attempts(A, [{"job_index": index, "attempt": 1}]),
        }
        writer.commit(CommitGroup(tables, commit))
    writer.commit(CommitGroup({"events": rows.event("batch_finished", 1, batch_id=A, detail="{}")}))
    while writer.maintain(clock.now().wall):
        pass
    return root


def test_polars_and_deltalake_read_every_table_as_we_do(storage, reader, tables):
    assert {"inputs_1", "outputs_1"} <= set(tables)
    for name in tables:
        path = f"{storage.root}/{name}"
        ours = reader.read(name)
        assert pl.scan_delta(path).select(pl.len()).collect().item() == len(ours), name
        assert deltalake.DeltaTable(path).count() == len(ours), name
    polars = pl.scan_delta(f"{storage.root}/results").sort("job_index").select("job_index", "status").collect()
    assert polars.to_arrow().to_pydict() == reader.read("results", columns=["job_index", "status"]).to_pydict()


def test_our_checkpoints_stand_for_the_log_before_them(storage, reader, tables):
    for name in tables:
        snapshot = load_snapshot(storage, name)
        write_checkpoint(storage, snapshot, 1_780_000_000_000)
        before = reader.read(name)
        for version in range(snapshot.version + 1):
            os.unlink(f"{storage.root}/{name}/_delta_log/{version:020d}.json")
        path = f"{storage.root}/{name}"
        table = deltalake.DeltaTable(path)
        assert table.version() == snapshot.version
        assert table.transaction_version("manager") == snapshot.commit
        assert table.schema().to_json() == deltalake.Schema.from_arrow(snapshot.stored_schema).to_json()
        assert pl.scan_delta(path).select(pl.len()).collect().item() == len(before)
        assert LedgerReader(storage).read(name).equals(before)


def test_deltalake_goes_on_from_our_checkpoint(storage, tables):
    """Its own checkpoint, written over ours, is read by us."""
    table = deltalake.DeltaTable(f"{storage.root}/results")
    before = LedgerReader(storage).results(A)
    table.create_checkpoint()
    assert LedgerReader(storage).results(A).equals(before)
    assert load_snapshot(storage, "results").checkpoint == table.version()


def test_a_damaged_checkpoint_is_passed_over_while_the_log_is_there(storage, reader, tables):
    before = reader.results(A)
    (path,) = [i.path for i in storage.list("results/_delta_log") if i.path.endswith("checkpoint.parquet")]
    storage.replace(path, b"PAR1 damaged")
    assert LedgerReader(storage).results(A).equals(before)


def test_a_new_manager_takes_over_from_a_checkpoint(storage, clock, tables, rows):
    writer = LedgerWriter.open(storage, clock=clock)
    assert writer.take_over(rows.info) == 2
    writer.commit(CommitGroup({"results": rows.results(A, [66], writer.next_commit_id())}))
    assert len(LedgerReader(storage).read("results")) == 67


_WRITE_AND_READ = """
import sys, time
import pyarrow as pa
from dfbatch.ledger.disk import Disk
from dfbatch.ledger.storage import open_storage
from dfbatch.ledger.lock import ManagerInfo
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.writer import CommitGroup, LedgerWriter
Disk._sync = staticmethod(lambda path, flags: None)  # no plug is pulled here
storage = open_storage(sys.argv[1])
writer = LedgerWriter.open(storage)
writer.take_over(ManagerInfo("n", 0, "a", 1, "h", "in_process", "m", 0.0, "1"))
for n in range(70):
    writer.commit(CommitGroup({"jobs": pa.table({"batch_id": ["a"], "job_index": [n]})}))
while writer.maintain(time.time()):
    pass
assert len(LedgerReader(storage).read("jobs")) == 70
"""


def test_a_process_that_wrote_and_read_a_ledger_ends_with_exit_code_0(tmp_path):
    """Reading through deltalake's own file system aborts about every second process at its end."""
    environment = os.environ | {"PYTHONPATH": str(Path(dfbatch.__file__).parents[1])}

    def run(number):
        command = [sys.executable, "-c", _WRITE_AND_READ, str(tmp_path / f"{number}")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110, check=False)

    with ThreadPoolExecutor(3) as at_once:
        for done in at_once.map(run, range(3)):
            assert (done.returncode, done.stderr) == (0, "")


def test_the_stored_sizes_are_those_of_the_files(storage, reader, tables):
    for name in tables:
        for file in reader.snapshot(name).files.values():
            assert os.path.getsize(f"{storage.root}/{name}/{file.path}") == file.size


def test_statistics_prune_in_deltalake_too(storage, tables):
    actions = pa.table(deltalake.DeltaTable(f"{storage.root}/results").get_add_actions(flatten=True))
    assert np.sum(actions["num_records"].to_pylist()) == 66
    assert actions["min.batch_id"].to_pylist()[0] == A
    assert min(actions["min.job_index"].to_pylist()) == 0
