"""A full disk: outcomes wait in memory, nothing is leased or accepted, and nothing is lost, even over a kill."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

DISK_MIB = 64
BALLAST_MIB = 44
N = 9_000

STORY = """
ballast, n = sys.argv[2], int(sys.argv[3])

def fill_up(path):
    size = 1 << 20
    with open(path, "ab", buffering=0) as file:
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2

def bulky(item):
    import random, time
    time.sleep(0.001)
    return random.Random(item).randbytes(4000).hex()

def value(item):
    import random
    return random.Random(item).randbytes(4000).hex()

batch = client.map(bulky, range(n))
said["full"] = until(lambda: client.health()["storage_refusing"], "health says that the disk is full")
said["done when full"] = batch.progress().done
until(lambda: all(w["leases"] == 0 for w in client.workers()), "leasing stops")
at_rest = batch.progress().done
try:
    client.map(len, ["abc"], key="refused")
    said["submit"] = "accepted"
except dfbatch.DfbatchError as error:
    said["submit"] = [type(error).__name__, str(error)]
said["stalled"] = list(until(lambda: client.health()["stalled"], "the batch is stalled").values())[0]
said["nothing went on"] = batch.progress().done == at_rest
said["backlog"] = client.health()["backlog_rows"]
before = client._session.reader.read("results", columns=["job_index", "commit_id"])

os.truncate(ballast, os.path.getsize(ballast) - (12 << 20))
until(lambda: not client.health()["reason"], "health says that there is room")
until(lambda: batch.progress().done > at_rest, "work goes on")
fill_up(ballast + "-2")
until(lambda: client.health()["storage_refusing"], "health says that the disk is full again")
manager = client._session.call("pid")
os.kill(manager, signal.SIGSTOP)  # it writes nothing more, and no other one comes, until the last byte is taken
fill_up(ballast + "-2")
os.kill(manager, signal.SIGKILL)
fill_up(ballast + "-2")
said["recovering"] = until(recovering, "it recovers")
os.unlink(ballast)
os.unlink(ballast + "-2")
until(lambda: one_try("health").get("status") == "running", "it runs again")
batch.wait(200)

rows = client._session.reader.read("results")
said["rows"] = rows["job_index"].to_pylist() == list(range(n))
after = dict(zip(rows["job_index"].to_pylist(), rows["commit_id"].to_pylist()))
said["unchanged"] = all(after[k] == c for k, c in zip(before["job_index"].to_pylist(), before["commit_id"].to_pylist()))
said["values"] = batch.results().values() == [value(k) for k in range(n)]
said["batches"] = len(client.batches())
said["next"] = client.map(len, ["abc"], key="refused").results().values()
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB, most of it taken by the file `ballast`."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small tmpfs")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"mounting a small tmpfs is not permitted here: {mounted.stderr.strip()}")
    (place / "ballast").write_bytes(bytes(BALLAST_MIB << 20))
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_stops_the_work_and_loses_nothing(small_disk: Path, tell: Callable[..., dict[str, Any]]) -> None:
    """Full twice: once until room is made, once over a SIGKILL of the manager. One row a job at the end."""
    said = tell(STORY, small_disk / "ledger", small_disk / "ballast", N)
    assert "Free some space" in said["full"]
    assert 0 < said["done when full"] < N
    name, text = said["submit"]
    assert name == "StorageRefused"
    assert "refuses writes" in text or "Free some space" in text
    assert said["stalled"].startswith("storage refuses writes")
    assert said["nothing went on"] is True
    assert said["backlog"] > 0
    assert "No space left" in said["recovering"]
    assert (said["rows"], said["unchanged"], said["values"]) == (True, True, True)
    assert said["batches"] == 1
    assert said["next"] == [3]
