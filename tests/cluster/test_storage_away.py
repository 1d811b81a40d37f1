"""A ledger that is away for a while, under a manager at work and over its restart: nothing lost, nothing begun anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

STORY = """
away, n, hurry = sys.argv[2], int(sys.argv[3]), sys.argv[4]

def slow(item):
    import os, time
    is_brisk = item < n // 2 or os.path.exists(hurry)
    time.sleep(0.0015 if is_brisk else 0.05)  # the rest is there until there is no more need of it
    return 7 * item

batch = client.map(slow, range(n))
until(lambda: batch.progress().done > n // 6, "work begins")

os.rename(root, away)
said["reason while running"] = until(lambda: client.health()["storage_refusing"], "health says that it is away")
try:
    client.map(slow, range(10))
    said["submit"] = "accepted"
except dfbatch.DfbatchError as error:
    said["submit"] = type(error).__name__
said["begun anew"] = os.path.exists(root)
os.rename(away, root)
until(lambda: not client.health()["reason"], "health says that it is back")
done = batch.progress().done
until(lambda: batch.progress().done > max(done, n // 3), "work goes on")
said["epoch before"] = client.health()["epoch"]

manager = client._session.call("pid")
os.rename(root, away)
os.kill(manager, signal.SIGKILL)
said["recovering"] = until(recovering, "it recovers")
said["begun anew over the restart"] = os.path.exists(root)
os.rename(away, root)
until(lambda: one_try("health").get("status") == "running", "it runs again")
open(hurry, "w").close()
batch.wait(200)
import ray
said["managers"] = [a["name"] for a in ray.util.list_named_actors(all_namespaces=True) if "manager" in a["name"]]
said["same pid"] = client._session.call("pid") == manager
said["epoch after"] = client.health()["epoch"]
rows = client._session.reader.read("results")
said["rows"] = rows["job_index"].to_pylist() == list(range(n))
said["values"] = batch.results().values() == [7 * k for k in range(n)]
said["batches"] = len(client.batches())
said["status"] = batch.status
"""


def test_a_ledger_that_is_away_comes_back_to_the_same_manager_and_nothing_is_lost(
    tmp_path: Path, tell: Callable[..., dict[str, Any]]
) -> None:
    """Away under work: refused and kept. Away over a SIGKILL: `recovering` with the reason, then running again."""
    said = tell(STORY, tmp_path / "ledger", tmp_path / "away", 8_000, tmp_path / "hurry")
    assert "could not be written" in said["reason while running"]
    assert said["submit"] == "StorageRefused"
    assert said["begun anew"] is False
    assert "is not there any more" in said["recovering"]
    assert "Bring its folder" in said["recovering"]
    assert said["begun anew over the restart"] is False
    assert len(said["managers"]) == 1
    assert (said["same pid"], said["epoch before"], said["epoch after"]) == (False, 1, 2)
    assert (said["rows"], said["values"], said["batches"], said["status"]) == (True, True, 1, "succeeded")
