"""A cluster that grows by itself: workers that have no place yet are the demand that Ray's autoscaler sees.

Its nodes are of a provider for tests, which starts them on this machine.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

NOTHING = (
    "cluster_synced_files", "initialization_commands", "setup_commands", "head_setup_commands",
    "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands", "rsync_exclude", "rsync_filter",
)  # fmt: skip
"""The autoscaler wants these lists to be there."""

HEAD_ID = "f" * 51 + "00000"
"""How the provider knows the head node."""
HEADS_OWN = ("RAY_OVERRIDE_NODE_ID_FOR_TESTING", "RAY_CLOUD_INSTANCE_ID")

STORY = """
import sys, time
import ray
import dfbatch
from dfbatch.actors.ray_compat import autoscaler_facts

def where(item):
    time.sleep(0.1)
    return ray.get_runtime_context().get_node_id()

client = dfbatch.connect(address=sys.argv[1], storage_path=sys.argv[2], workers=(0, 2))
head = ray.nodes()[0]["NodeID"]
assert [node["NodeID"] for node in ray.nodes()] == [head], "the cluster begins with one node, that has no CPU"
batch = client.map(where, range(50))
on = set(batch.results(timeout=200).values())
assert on and head not in on, on
assert autoscaler_facts()[0]
there = client.map(lambda item: item, range(3), num_gpus=4)  # not refused: such a node may come
assert there.status in ("queued", "running", "stalled"), there.status
client.shutdown()
"""


@pytest.mark.timeout(320)
def test_an_autoscaler_adds_nodes_for_the_workers_that_have_no_place(
    start_head: Callable[..., tuple[str, dict[str, str]]], tmp_path: Path
) -> None:
    """The head has no CPU: whatever was done was done on a node that came because of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    worker = {"resources": {"CPU": 1, "object_store_memory": 80_000_000}, "node_config": {}, "max_workers": 2}
    config = {
        "cluster_name": "fake",
        "max_workers": 2,
        "idle_timeout_minutes": 5,
        "provider": {
            "type": "fake_multinode",
            "fake_multinode": True,
            "gcs_address": f"127.0.0.1:{port}",
            "head_node_id": HEAD_ID,
            "disable_node_updaters": True,
        },
        "available_node_types": {
            "ray.worker.cpu": {**worker, "min_workers": 0},
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        },
        "head_node_type": "ray.head.default",
        "upscaling_speed": 1.0,
        "auth": {"ssh_user": "nobody"},
        "file_mounts": {},
        **{key: [] for key in NOTHING},
    }
    (tmp_path / "fake.json").write_text(json.dumps(config))
    address, environment = start_head(
        "--num-cpus=0",
        f"--port={port}",
        "--include-dashboard=false",
        f"--autoscaling-config={tmp_path / 'fake.json'}",
        RAY_FAKE_CLUSTER="1",
        RAY_OVERRIDE_NODE_ID_FOR_TESTING=HEAD_ID,
        RAY_CLOUD_INSTANCE_ID=HEAD_ID,
        AUTOSCALER_UPDATE_INTERVAL_S="1",
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STORY, address, str(tmp_path / "ledger")],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={k: v for k, v in environment.items() if k not in HEADS_OWN},
    )
    assert done.returncode == 0, done.stderr[-4000:]
