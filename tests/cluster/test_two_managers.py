"""Two managers on one ledger: the older one can write nothing more, whatever it slept through, and ends by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

N = 6_000

OLD = """
import json, sys, threading, time
import pyarrow as pa
from dfbatch.errors import LedgerFenced
from dfbatch.testing.in_process import InProcess

n, hurry = int(sys.argv[2]), sys.argv[3]

def slow(item, context):
    import os, time
    from dfbatch import TransientError
    is_brisk = item < n // 2 or os.path.exists(hurry)
    time.sleep(0.001 if is_brisk else 0.08)  # the rest is there until there is no more need of it
    if item % 50 == 7 and context.attempt == 1:
        raise TransientError("not yet")
    return item + 1

harness = InProcess(sys.argv[1], workers=2)
client = harness.__enter__()
writer = harness.manager.opened.writer
import dfbatch
batch = client.map(slow, range(n), retry=dfbatch.Retry(initial_s=0.1, max_attempts=20))
print(batch.id, flush=True)

def at_work():
    return {t.name for t in threading.enumerate()} & {"thread-1", "thread-2", "dfbatch-committer"}

until = time.monotonic() + 400  # it stands still for most of it
while harness.manager.status != "fenced" or at_work():
    assert time.monotonic() < until, (harness.manager.status, at_work())
    time.sleep(0.02)

refused = {}
for name, table in sorted(writer._tables.items()):
    schema = table._schema
    row = {"batch_id": batch.id, "job_index": 0}
    rows = pa.Table.from_pylist([{f.name: row.get(f.name) for f in schema}], schema=schema)
    try:
        table.append(rows, (1 << 40) + 1_000_000)
        refused[name] = False
    except LedgerFenced:
        refused[name] = True
try:
    client.map(slow, [1])
    submit = "accepted"
except LedgerFenced as error:
    submit = str(error)
print(json.dumps({"refused": refused, "submit": submit, "health": client.health()}), flush=True)
"""

NEW = """
import json, sys, time
from dfbatch.testing.in_process import InProcess

with InProcess(sys.argv[1], workers=2, resume=True) as client:
    batch = client.attach(sys.argv[2])
    print("has taken over", flush=True)
    batch.wait(200)
    values = batch.results().values()
    assert values == [k + 1 for k in range(len(batch))], "wrong values"
    print(json.dumps({"status": batch.status, "health": client.health()}), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process that runs Python code; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(code: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line a process prints. Fails with what it said on stderr if it ended instead."""
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline().strip()
    assert line, process.stderr.read()
    return line


def raw_rows(ledger: Path, table: str, columns: list[str]) -> pa.Table:
    """Every row in the log of a table, read without dfbatch."""
    files = DeltaTable(str(ledger / table)).file_uris()
    parts = [pq.read_table(file, columns=columns, partitioning=None) for file in files]
    return pa.concat_tables(parts) if parts else pa.table({name: [] for name in columns})


@pytest.mark.parametrize("wake_up", ["while the new one works", "after the new one has finished"])
def test_an_old_manager_that_slept_over_the_takeover_writes_nothing_more_and_ends(
    tmp_path: Path, until: Callable[..., None], start: Callable[..., subprocess.Popen[str]], wake_up: str
) -> None:
    ledger = tmp_path / "ledger"
    hurry = tmp_path / "hurry"
    old = start(OLD, ledger, N, hurry)
    batch_id = line_of(old)
    until(lambda: len(raw_rows(ledger, "results", ["job_index"])) > N // 4)
    os.kill(old.pid, signal.SIGSTOP)
    # A network file system would not show the lock of a host that stands still; here its file is taken away.
    (ledger / ".lock").unlink()

    new = start(NEW, ledger, batch_id)
    assert line_of(new) == "has taken over"
    n_before = len(raw_rows(ledger, "results", ["job_index"]))
    assert n_before < N, "nothing was left to do for the new manager"
    if wake_up == "while the new one works":
        os.kill(old.pid, signal.SIGCONT)
        said = json.loads(line_of(old))
        hurry.touch()
        finished = json.loads(line_of(new))
    else:
        hurry.touch()
        finished = json.loads(line_of(new))
        os.kill(old.pid, signal.SIGCONT)
        said = json.loads(line_of(old))

    assert old.wait(100) == 0
    assert {"attempts", "batches", "events", "jobs", "results"} <= set(said["refused"])
    assert any(name.startswith("outputs_") for name in said["refused"])
    assert all(said["refused"].values()), said["refused"]
    assert "belongs to the manager of epoch 2" in said["submit"]
    assert (said["health"]["status"], said["health"]["epoch"]) == ("fenced", 1)
    assert (finished["status"], finished["health"]["epoch"]) == ("succeeded", 2)
    new.communicate("\n", timeout=100)
    assert new.returncode == 0

    keys = ["batch_id", "job_index", "generation"]
    assert sorted(raw_rows(ledger, "results", keys)["job_index"].to_pylist()) == list(range(N))
    (row,) = raw_rows(ledger, "batches", ["batch_id", "inputs"]).to_pylist()
    assert row["batch_id"] == batch_id
    assert sorted(raw_rows(ledger, row["inputs"], keys[:2])["job_index"].to_pylist()) == list(range(N))


def test_a_manager_on_ray_that_was_replaced_ends_with_its_workers(
    tmp_path: Path, python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Its callers are told that a newer one has the ledger; then the actor and its process are gone."""
    done = python(
        "import sys, time, dfbatch, psutil, ray\n"
        "from dfbatch.client.ledger_progress import batch_row\n"
        "from dfbatch.ledger.lock import read_manager_info\n"
        "from dfbatch.ledger.writer import LedgerWriter\n"
        "client = dfbatch.connect(storage_path=sys.argv[1], workers=(1, 1))\n"
        "first = client.map(len, ['abc'])\n"
        "print(first.results().values())\n"
        "session = client._session\n"
        "def until(condition):\n"
        "    end = time.monotonic() + 100\n"
        "    while not condition():\n"
        "        assert time.monotonic() < end\n"
        "        time.sleep(0.02)\n"
        "# Nothing is left to be written: the manager learns of its successor when it is called.\n"
        "until(lambda: batch_row(session.reader, first.id)['status'] == 'succeeded')\n"
        "pids = [session.call('pid'), client.workers()[0]['pid']]\n"
        "writer = LedgerWriter.open(session.storage)\n"
        "writer.take_over(read_manager_info(session.storage))\n"
        "try:\n    client.map(len, ['abcd'])\n"
        "except dfbatch.DfbatchError as error:\n    print(type(error).__name__)\n"
        "gone = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]\n"
        "print(psutil.wait_procs(gone, timeout=150)[1])\n"
        "until(lambda: ray.util.list_named_actors(all_namespaces=True) == [])\n"
        "print(len(session.reader.read('batches')))\n",
        tmp_path / "ledger",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[3]", "LedgerFenced", "[]", "1"], done.stdout + done.stderr
