"""A cluster that grows by itself: workers that have no place yet are the demand that Ray's autoscaler sees.

Its nodes are of a provider for tests, and none is started here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

NOTHING = (
    "cluster_synced_files", "initialization_commands", "setup_commands", "head_setup_commands",
    "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands", "rsync_exclude", "rsync_filter",
)  # fmt: skip
"""The autoscaler wants these lists to be there."""

STORY = """
import json, sys, time
import dfbatch
from dfbatch.actors.ray_compat import autoscaler_facts
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray.experimental.internal_kv import _internal_kv_get

def asked_for():
    report = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or "{}").get("load_metrics_report", {})
    return [bundle for bundle, n in report.get("resource_demand", []) if n]

def wait(condition):
    until = time.monotonic() + 150
    while not condition():
        assert time.monotonic() < until, asked_for()
        time.sleep(0.2)

client = dfbatch.connect(address=sys.argv[1], storage_path=sys.argv[2], workers=(0, 2))
batch = client.map(lambda item: time.sleep(1), range(200))
wait(lambda: {"CPU": 1.0} in asked_for())
wait(lambda: autoscaler_facts()[0])
there = client.map(lambda item: item, range(3), num_gpus=4)  # not refused: such a node may come
assert [b.status for b in (batch, there)].count("failed") == 0
client.shutdown()
"""


def test_an_autoscaler_hears_of_the_workers_that_have_no_place(
    start_head: Callable[..., tuple[str, dict[str, str]]], tmp_path: Path
) -> None:
    worker = {"resources": {"CPU": 1, "object_store_memory": 80_000_000}, "node_config": {}, "max_workers": 2}
    config = {
        "cluster_name": "fake",
        "max_workers": 2,
        "idle_timeout_minutes": 5,
        "provider": {"type": "fake_multinode", "fake_multinode": True},
        "available_node_types": {
            "ray.worker.cpu": {**worker, "min_workers": 0},
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        },
        "head_node_type": "ray.head.default",
        "upscaling_speed": 1.0,
        "auth": {},
        "file_mounts": {},
        **{key: [] for key in NOTHING},
    }
    (tmp_path / "fake.json").write_text(json.dumps(config))
    address, environment = start_head(
        "--num-cpus=0",
        "--include-dashboard=false",
        f"--autoscaling-config={tmp_path / 'fake.json'}",
        RAY_FAKE_CLUSTER="1",
        AUTOSCALER_UPDATE_INTERVAL_S="1",
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STORY, address, str(tmp_path / "ledger")],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-4000:]
