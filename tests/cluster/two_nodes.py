"""Work on a cluster of two nodes, of which one is killed: `two_nodes.py FOLDER`, where Ray is told to
be quiet and to stay on loopback. Prints one JSON line, or fails.

The second node alone has the resource ``far``. The ledger is on the disk that both nodes share.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import dfbatch
from dfbatch.client.client import Client

N = 3_000
LIMIT_S = 150.0
NODE = {
    "node_ip_address": "127.0.0.1",
    "include_dashboard": False,
    "dashboard_agent_listen_port": 0,
    "object_store_memory": 80_000_000,
}


def until(condition: Callable[[], bool], what: str, client: Client) -> float:
    """Seconds it took."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < LIMIT_S, f"{what}: {client.health()} {client.workers()}"
        time.sleep(0.02)
    return round(time.monotonic() - begin, 2)


def slow_double(item: int, hurry: str) -> int:
    """Most items take longer as long as there is no file `hurry`: the work is under way until then."""
    import os
    import time

    time.sleep(0.002 if item < 1_000 or os.path.exists(hurry) else 0.08)
    return 2 * item


def hold(item: int) -> int:
    import time

    time.sleep(0.2)
    return item


def tell(folder: str) -> dict[str, Any]:
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 1})
    far = cluster.add_node(**NODE, num_cpus=2, resources={"far": 1})
    client = dfbatch.connect(address=cluster.address, storage_path=folder + "/ledger", workers=(2, 3))
    try:
        return play(client, folder + "/hurry", lambda: cluster.remove_node(far, allow_graceful=False))
    finally:
        client.shutdown()
        ray.shutdown()
        cluster.shutdown()


def play(client: Client, hurry: str, kill_node: Callable[[], None]) -> dict[str, Any]:
    batch = client.map(lambda item: slow_double(item, hurry), range(N), name="spread")
    there = client.map(hold, range(1_000), resources={"far": 1}, name="there")
    until(lambda: batch.progress().done > N // 8 and there.progress().done > 0, "work on both nodes", client)
    nodes: dict[str, tuple[str, str]] = {}

    def are_spread() -> bool:
        nodes.clear()
        nodes.update({worker["worker"]: (worker["shape"], worker["node"]) for worker in client.workers()})
        plain = [node for shape, node in nodes.values() if shape == "default"]
        return len(nodes) == 3 and len(plain) == len(set(plain)) == 2

    until(are_spread, "three workers, plain ones on both nodes", client)
    done_before = batch.progress().done
    kill_node()
    open(hurry, "w").close()
    stalled: list[str | None] = []

    def has_stalled() -> bool:
        now = there.progress()
        stalled[:] = [now.reason, client.health()["stalled"].get(there.id)]
        return now.status == "stalled" and None not in stalled

    batch.wait(LIMIT_S)
    stalled_after_s = until(has_stalled, "the batch that only the dead node could run is stalled", client)
    try:
        client.submit(hold, 1, resources={"far": 1})
        refused = None
    except dfbatch.ResourcesUnavailable as error:
        refused = str(error)
    rows = client._session.reader.read("results", batch_id=batch.id, columns=["job_index", "status"]).to_pylist()
    found = {
        "nodes": nodes,
        "rows": len(rows),
        "jobs": len({row["job_index"] for row in rows}),
        "statuses": Counter(row["status"] for row in rows),
        "values_ok": batch.results().values() == [2 * k for k in range(N)],
        "done_before": done_before,
        "stalled": stalled[0],
        "stalled_in_health": stalled[1],
        "stalled_after_s": stalled_after_s,
        "refused": refused,
    }
    there.cancel()
    return found


if __name__ == "__main__":
    print(json.dumps(tell(sys.argv[1])), flush=True)
