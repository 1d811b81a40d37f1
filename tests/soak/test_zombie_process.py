"""A real worker process that is stopped for longer than its lease, and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STORY = """
import json, os, signal, sys, time
import dfbatch
from dfbatch.core.books import LEASE_TERM_S

client = dfbatch.connect(storage_path=sys.argv[1], workers=(2, 2))
gate = sys.argv[2]
said = {}

def until(condition, what, limit_s=150):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"{what}: {client.workers()} {client.health()}"
        time.sleep(0.05)

def slow(item, gate):
    import os, time
    while item >= 1000 and not os.path.exists(gate):
        time.sleep(0.01)
    time.sleep(0.001)
    return item

until(lambda: len(client.workers()) == 2, "two workers")
batch = client.map(lambda item: slow(item, gate), range(4000))
until(lambda: batch.progress().done >= 500 and all(w["leases"] for w in client.workers()), "both are at work")
zombie = client.workers()[0]
os.kill(zombie["pid"], signal.SIGSTOP)
leases = lambda: {w["worker"]: w["leases"] for w in client.workers()}
until(lambda: leases().get(zombie["worker"], 0) == 0, "the lease is over", LEASE_TERM_S + 150)
open(gate, "w").close()
batch.wait(200)
os.kill(zombie["pid"], signal.SIGCONT)
until(lambda: client.health()["duplicates_suppressed"] > 0, "its late outcomes are suppressed")
until(lambda: any(w["worker"] == zombie["worker"] and w["seen_s_ago"] < 3 for w in client.workers()), "it is back")
rows = client._session.reader.read("results")
said["rows"] = rows["job_index"].to_pylist() == list(range(4000))
said["values"] = batch.results().values() == list(range(4000))
said["pid"] = zombie["pid"] == next(w for w in client.workers() if w["worker"] == zombie["worker"])["pid"]
said["again"] = client.map(len, ["abc"] * 50).results().values() == [3] * 50
print(json.dumps(said))
"""


@pytest.mark.timeout(900)
def test_a_stopped_worker_loses_its_lease_and_brings_nothing_twice(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STORY, str(tmp_path / "ledger"), str(tmp_path / "gate")],
        capture_output=True,
        text=True,
        timeout=850,
        check=False,
        env={**os.environ, "DFBATCH_PROGRESS": "off"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"rows": True, "values": True, "pid": True, "again": True}
