"""A cluster of two nodes: workers on both, and one of them is killed under load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HEARTBEATS = {"RAY_health_check_period_ms": "500", "RAY_health_check_initial_delay_ms": "500"}
"""Ray would take 15 s and more to notice that a node is gone."""


def test_a_node_is_killed_under_load_and_every_job_has_exactly_one_row(
    tmp_path: Path, marked_environment: dict[str, str]
) -> None:
    """Workers are on both nodes. Work that only the dead one could run is stalled, and new such work is refused."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("two_nodes.py")), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=450,
        check=False,
        env={**marked_environment, **HEARTBEATS},
    )
    assert done.returncode == 0, done.stderr[-6000:]
    found = json.loads(done.stdout.splitlines()[-1])

    default = {name: node for name, (shape, node) in found["nodes"].items() if shape == "default"}
    (far,) = {node for shape, node in found["nodes"].values() if shape != "default"}
    assert len(default) == 2
    assert set(default.values()) == {far, *default.values()}, "plain workers are on both nodes"
    assert len(set(default.values())) == 2
    assert all(name.startswith("dfbatch-worker:") for name in found["nodes"])

    assert found["done_before"] < 3_000, "it was not under load"
    assert (found["rows"], found["jobs"], found["statuses"]) == (3_000, 3_000, {"succeeded": 3_000})
    assert found["values_ok"]

    why = "No node of the cluster has the 1 CPU, 1 far that a worker needs."
    assert found["stalled"].startswith(why)
    assert found["stalled_in_health"] == found["stalled"]
    assert found["refused"].startswith(why)
    assert "one node; the largest (127.0.0.1) has 1 CPU" in found["refused"]
