"""Another process on the same ledger: read-only beside an embedded client, a full client on a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dfbatch.client.client import Client
from dfbatch.client.ledger_progress import batch_row
from dfbatch.core.ids import parse_id

READ_ONLY = """
import sys, warnings, dfbatch
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    client = dfbatch.connect(storage_path=sys.argv[1])
batch = client.attach(sys.argv[2])
print(client.read_only, batch.status, sum(batch.results().values()), len(said))
try:
    batch.cancel()
except dfbatch.StorageInUse as error:
    print(error)
try:
    client.map(len, ["x"])
except dfbatch.StorageInUse:
    print("refused")
assert "ray" not in sys.modules, "a read-only client needs no Ray"
"""

INTERRUPTED = """
import sys, time, dfbatch
client = dfbatch.connect(storage_path=sys.argv[1], workers=(0, 2))
gate = sys.argv[2]
def slow(x):
    import os, time
    time.sleep(0.005)
    while x >= 500 and not os.path.exists(gate):
        time.sleep(0.01)
    return x
batch = client.map(slow, range(1000))
while batch.progress().done < 100:
    time.sleep(0.02)
print(batch.id, flush=True)
time.sleep(600)
"""

CLUSTER_FIRST = """
import os, sys, dfbatch
client = dfbatch.connect(address=sys.argv[1], storage_path=sys.argv[2])
def slow(x):
    import time
    time.sleep(0.005)
    return x + 1
batch = client.map(slow, range(1500))
print(batch.id, flush=True)
os._exit(0)
"""

CLUSTER_SECOND = """
import sys, dfbatch
client = dfbatch.connect(address=sys.argv[1], storage_path=sys.argv[2])
batch = client.attach(sys.argv[3])
assert not client.read_only
batch.wait(200)
print(batch.status, sum(batch.results().values()), client.map(len, ["abc"]).results().values())
client.shutdown()
"""


def test_a_second_process_reads_what_an_embedded_client_manages(
    client: Client, python: Callable[..., subprocess.CompletedProcess[str]], until: Callable[..., None]
) -> None:
    """It attaches by id, reads the results, and is told both ways out when it wants to control."""
    batch = client.map(lambda x: x, range(100))
    batch.wait(200)
    # The manager knows of the end a moment before the ledger, which is all that the other process has.
    until(lambda: batch_row(client._session.reader, batch.id)["status"] == "succeeded")
    done = python(READ_ONLY, client.storage_path, batch.id)
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first == "True succeeded 4950 1"
    assert f"process {os.getpid()}" in second
    assert "another storage_path" in second
    assert third == "refused"


def test_a_killed_kernel_leaves_its_batches_paused_until_they_are_resumed(
    client: Client, tmp_path: Path, python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Its committed work stays; the next connect shows `interrupted`, and resume=True finishes the rest."""
    ledger, gate = tmp_path / "ledger", tmp_path / "gate"
    command = [sys.executable, "-c", INTERRUPTED, str(ledger), str(gate)]
    kernel = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert kernel.stdout is not None
    batch_id = kernel.stdout.readline().strip()
    os.kill(kernel.pid, signal.SIGKILL)
    kernel.wait()
    kernel.stdout.close()
    look = python(
        "import sys, dfbatch\nclient = dfbatch.connect(storage_path=sys.argv[1], workers=(0, 1))\n"
        "p = client.attach(sys.argv[2]).progress()\nprint(p.status, p.reason, p.done >= 100)\n",
        ledger,
        batch_id,
    )
    assert (look.returncode, look.stdout.strip()) == (0, "paused interrupted True"), look.stderr
    gate.touch()
    again = python(
        "import sys, dfbatch\nclient = dfbatch.connect(storage_path=sys.argv[1], workers=(0, 2), resume=True)\n"
        "b = client.attach(sys.argv[2]).wait(200)\nr = b.results()\n"
        "print(b.status, r.values() == list(range(1000)), len(client._session.reader.read('results')))\n",
        ledger,
        batch_id,
    )
    assert (again.returncode, again.stdout.strip()) == (0, "succeeded True 1000"), again.stderr


def test_work_on_a_cluster_goes_on_without_its_driver_and_another_process_takes_it_up(
    head_node: str,
    tmp_path: Path,
    python: Callable[..., subprocess.CompletedProcess[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first driver dies right after the submit; the second attaches fully, and ends the manager."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    first = python(CLUSTER_FIRST, head_node, tmp_path / "ledger")
    batch_id = first.stdout.strip()
    assert parse_id(batch_id)[1] is None, first.stderr
    second = python(CLUSTER_SECOND, head_node, tmp_path / "ledger", batch_id)
    assert second.returncode == 0, second.stderr
    assert second.stdout.strip() == f"succeeded {sum(range(1, 1501))} [3]"
