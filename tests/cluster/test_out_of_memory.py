"""Ray's own memory monitor ends a worker, because its node runs out of memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

ROOM_BYTES = 3 << 30
"""What the node may use beyond what the machine uses now; the item eats twice as much if nobody ends it."""
STORY = """
import sys, time
import dfbatch

class Glutton:
    def __init__(self, most):
        self.most = most

    def __call__(self, item):
        if item != 77:
            return item
        eaten = []
        for _ in range(self.most >> 26):
            eaten.append(b"x" * (1 << 26))
            time.sleep(0.02)
        return "full"

client = dfbatch.connect(address=sys.argv[1], storage_path=sys.argv[2], workers=(2, 2))
batch = client.map(Glutton, range(400), {"most": int(sys.argv[3])}, max_worker_deaths=1)
rows = batch.wait(150).results().to_arrow()
assert rows["job_index"].to_pylist() == list(range(400))
for row in rows.to_pylist():
    if row["status"] != "succeeded":
        print(row["job_index"], row["error_type"], row["error_message"])
client.shutdown()
"""


@pytest.mark.timeout(300)
@pytest.mark.skipif(
    psutil.virtual_memory().available < 3 * ROOM_BYTES, reason="needs 9 GiB of free memory to run out of a part of it"
)
def test_an_item_that_its_node_has_no_memory_for_is_the_only_one_that_fails_and_says_so(
    start_head: Callable[..., tuple[str, dict[str, str]]], tmp_path: Path
) -> None:
    """Whoever else was ended with it succeeds; the row does not speak of a crash."""
    memory = psutil.virtual_memory()
    threshold = (memory.total - memory.available + ROOM_BYTES) / memory.total
    address, environment = start_head(
        "--num-cpus=3",
        "--include-dashboard=false",
        "--no-monitor",
        RAY_memory_usage_threshold=f"{threshold:.4f}",
        RAY_memory_monitor_refresh_ms="50",
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STORY, address, str(tmp_path / "ledger"), str(2 * ROOM_BYTES)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    (failed,) = done.stdout.splitlines()
    assert failed.startswith("77 HostOutOfMemory ")
    assert "its node ran out of memory 1 time while this item ran alone" in failed
