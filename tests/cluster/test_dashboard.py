"""Ray's dashboard shows who is who, and its metrics port what dfbatch counts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

MANAGER, WORKER = r"dfbatch-manager:[0-9a-f]{10}", r"dfbatch-worker:[0-9a-f]{10}:\d+"
STORY = """
import json, sys
import ray
import dfbatch

client = dfbatch.connect(address=sys.argv[1], storage_path=sys.argv[2], workers=(1, 2))
batch = client.map(lambda item: item, range(500))
assert len(batch.results(timeout=200)) == 500
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

        def names_are_right() -> bool:
            """The books of the dashboard follow a moment later."""
            names = sorted(actor["name"] for actor in _actors(url) if actor["state"] == "ALIVE")
            return len(names) > 1 and all(re.fullmatch(*pair) for pair in zip((MANAGER, WORKER), names, strict=False))

        until(names_are_right)
        # The names that the pages of the dashboard show.
        until(lambda: all(any(re.fullmatch(who, name) for name in _shown(url)) for who in (MANAGER, WORKER)))

        metrics = f"http://127.0.0.1:{port}/metrics"
        until(lambda: "ray_dfbatch_" in _text(metrics))
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(200) == 0, process.stderr.read()[-4000:]


def _shown(url: str) -> set[str]:
    return {actor["reprName"] for actor in _get(f"{url}/logical/actors")["data"]["actors"].values()}


def _actors(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _get(f"{url}/api/v0/actors")["data"]["result"]["result"]
    return found


def _get(url: str) -> Any:
    return json.loads(_text(url))


def _text(url: str) -> str:
    """Asked again while nobody listens: what answers here is started after the node."""
    deadline = time.monotonic() + 150
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return str(answer.read().decode())
        except OSError:
            assert time.monotonic() < deadline, url
            time.sleep(0.1)
