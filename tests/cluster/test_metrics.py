"""What the manager counts is on Ray's Prometheus endpoint, and in ``client.metrics()``."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from dfbatch.client.client import Client

WAIT_S = 150.0


def scraped() -> str:
    """The text of the metrics endpoint of this node."""
    node = ray.nodes()[0]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            found: str = answer.read().decode()
    except OSError:  # the part of Ray that answers here is up some time after the node
        return ""
    return found


def test_ended_jobs_are_counted_on_the_prometheus_endpoint(client: Client, until: Callable[..., None]) -> None:
    def fails_sometimes(item: int) -> int:
        if item % 10 == 0:
            raise ValueError("every tenth")
        return item

    client.map(fails_sometimes, range(100), queue="scraped").wait(WAIT_S)
    series = re.compile(r'^ray_dfbatch_jobs_finished_total\{.*queue="scraped".*status="(\w+)".*\} ([\d.]+)$', re.M)
    found: dict[str, float] = {}

    def has_come() -> bool:
        found.update({status: float(value) for status, value in series.findall(scraped())})
        return found == {"succeeded": 90.0, "failed": 10.0}

    until(has_come, WAIT_S)
    idle = re.compile(r'^ray_dfbatch_workers\{.*state="idle".*\} [\d.]+$', re.M)
    until(lambda: idle.search(scraped()) is not None, WAIT_S)
    until(lambda: "job_seconds_bucket" in scraped(), WAIT_S)


def test_the_table_tells_of_a_real_run(client: Client, tmp_path: Path, until: Callable[..., None]) -> None:
    gate, begin = tmp_path / "gate", time.time()
    batch = client.map(lambda item: wait_at(str(gate)), range(20), queue="timed")
    seen: list[dict[str, Any]] = []

    def a_worker_is_seen_at_an_item() -> bool:
        seen.extend(w for w in client.workers() if (w["current_job"] or "").startswith(batch.id))
        return bool(seen)

    until(a_worker_is_seen_at_an_item)
    worker = seen[0]
    assert begin - 0.001 <= worker["current_since"].timestamp() <= time.time() + 0.001
    assert worker["memory_bytes"] > 10_000_000
    assert (worker["restarts"], worker["idle_but_backlog"]) == (0, False)
    gate.touch()
    rates: list[float] = []  # over the last ten seconds: looked at while the work ends

    def a_rate_is_seen() -> bool:
        rates.extend(w["rate_per_s"] for w in client.workers())
        return max(rates) > 0 or batch.done()

    until(a_rate_is_seen)
    batch.wait(WAIT_S)
    rates.extend(w["rate_per_s"] for w in client.workers())
    assert max(rates) > 0
    last = [row for row in client.metrics(since=600).to_pylist() if row["queue"] == "timed"][-1]
    assert (last["submitted"], last["succeeded"]) == (20, 20)
    health = client.health()
    assert health.ok, health.problems
    assert health["free_bytes"] > 0


def wait_at(gate: str) -> None:
    import os
    import time

    while not os.path.exists(gate):
        time.sleep(0.01)
    time.sleep(0.1)
