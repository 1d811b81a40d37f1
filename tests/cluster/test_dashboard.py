"""Ray's dashboard shows who is who, and its metrics port what dfbatch counts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

STORY = """
import json, sys
import ray
import dfbatch

client = dfbatch.connect(address=sys.argv[1], storage_path=sys.argv[2], workers=(1, 2))
batch = client.map(lambda item: item, range(500))
assert len(batch.results(timeout=60)) == 500
print(json.dumps({"ports": [node["MetricsExportPort"] for node in ray.nodes() if node["Alive"]]}), flush=True)
sys.stdin.readline()
client.shutdown()
"""


def test_the_dashboard_shows_actors_by_name_and_prometheus_their_metrics(
    dashboard: tuple[str, str, dict[str, str]], tmp_path: Path, until: Callable[..., None]
) -> None:
    address, url, environment = dashboard
    command = [sys.executable, "-W", "ignore", "-c", STORY, address, str(tmp_path / "ledger")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()[-4000:]
        (port,) = json.loads(line)["ports"]

        alive = [actor for actor in _actors(url) if actor["state"] == "ALIVE"]
        names = sorted(actor["name"] for actor in alive)
        assert re.fullmatch(r"dfbatch-manager:[0-9a-f]{10}", names[0])
        assert re.fullmatch(r"dfbatch-worker:[0-9a-f]{10}:\d+", names[1])
        shown = {actor["reprName"] for actor in _get(f"{url}/logical/actors")["data"]["actors"].values()}
        assert set(names) <= shown, "the names that the pages of the dashboard show"

        metrics = f"http://127.0.0.1:{port}/metrics"
        until(lambda: "ray_dfbatch_" in _text(metrics), 60)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(60) == 0, process.stderr.read()[-4000:]


def _actors(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _get(f"{url}/api/v0/actors")["data"]["result"]["result"]
    return found


def _get(url: str) -> Any:
    return json.loads(_text(url))


def _text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())
