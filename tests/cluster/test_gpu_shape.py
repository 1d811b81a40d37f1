"""Work that asks for a GPU, on a head that was told it has one. No CUDA is needed for that."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

STORY = """
import os, sys
import pyarrow as pa
import ray
import dfbatch

class Plain:
    def __call__(self, item):
        context = ray.get_runtime_context()
        return {"resources": str(context.get_assigned_resources()), "pid": os.getpid(), "rows": 1}

class OnGpu:
    num_gpus = 1
    def verify_batch(self, table, ctx):
        context = ray.get_runtime_context()
        row = {"resources": str(context.get_assigned_resources()), "pid": os.getpid(), "rows": len(table)}
        return pa.Table.from_pylist([{**row, "gpu": os.environ["CUDA_VISIBLE_DEVICES"]}] * len(table))

client = dfbatch.connect(address=sys.argv[1], storage_path=sys.argv[2], workers=(0, 2))
plain = client.map(Plain, range(50))
gpu = client.map(OnGpu, range(200))
results = [batch.results(timeout=200).to_arrow() for batch in (plain, gpu)]
tables = [result["output"].to_pylist() for result in results]
assert {row["resources"] for row in tables[0]} == {"{'CPU': 1.0}"}, tables[0][0]
assert {row["resources"] for row in tables[1]} <= {"{'GPU': 1.0, 'CPU': 1.0}", "{'CPU': 1.0, 'GPU': 1.0}"}, tables[1][0]
assert {row["gpu"] for row in tables[1]} == {"0"}
assert not {row["pid"] for row in tables[0]} & {row["pid"] for row in tables[1]}
assert len({row["pid"] for row in tables[1]}) == 1, "one GPU, one worker"
assert max(row["rows"] for row in tables[1]) > 1, "the table comes whole"
workers = [set(result["worker_id"].to_pylist()) for result in results]
assert {name.split(":")[2] for name in workers[1]} == {"cpu1-gpu1"}, workers
assert not any("gpu" in name for name in workers[0]), workers
try:
    client.map(Plain, [1], num_gpus=2)
except dfbatch.ResourcesUnavailable as error:
    print(error)
else:
    raise AssertionError("two GPUs were promised")
client.shutdown()
"""


def test_a_verifier_that_asks_for_a_gpu_gets_it_and_plain_work_does_not(
    start_head: Callable[..., tuple[str, dict[str, str]]], tmp_path: Path
) -> None:
    """The worker of the GPU's shape holds the GPU and takes tables; what asks for two is refused with what there is."""
    address, environment = start_head("--num-cpus=3", "--num-gpus=1", "--include-dashboard=false", "--no-monitor")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STORY, address, str(tmp_path / "ledger")],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "No node of the cluster has the 1 CPU, 2 GPU that a worker needs." in done.stdout
    assert "has 3 CPU, 1 GPU" in done.stdout
