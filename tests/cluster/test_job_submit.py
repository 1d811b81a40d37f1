"""A script that is run on a cluster by `ray job submit`, with a verifier in a module beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SCRIPT = """
import json, sys
import dfbatch
from checks import Check

client = dfbatch.connect(storage_path=sys.argv[1], workers=(0, 2))
batch = client.map(Check, range(300), init={"add": 7}, name="from a job")
values = batch.results(timeout=200).values()
found = {"id": batch.id, "status": batch.status, "sum": sum(values), "client": repr(client)}
with open(sys.argv[2], "w") as file:
    json.dump(found, file)
"""
CHECKS = """
class Check:
    def __init__(self, add):
        self.add = add
    def __call__(self, item):
        return item + self.add
"""
LATER = """
import sys
import dfbatch
client = dfbatch.connect(address=sys.argv[1], storage_path=sys.argv[2])
batch = client.attach(sys.argv[3])
assert (batch.status, batch.name, len(batch.results())) == ("succeeded", "from a job", 300)
print(client.health()["epoch"])
client.shutdown()
"""


def test_a_submitted_script_finds_its_cluster_and_its_batch_outlives_it(
    dashboard: tuple[str, str, dict[str, str]], tmp_path: Path, until: Callable[..., None]
) -> None:
    """The script names no address. Once it has ended, another process meets the same manager and reads the results."""
    address, url, environment = dashboard
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "script.py").write_text(SCRIPT)
    (tmp_path / "job" / "checks.py").write_text(CHECKS)
    ledger = str(tmp_path / "ledger")
    ray = str(Path(sys.executable).with_name("ray"))
    said = tmp_path / "found.json"  # what a job prints may come to `ray job submit` after its end, and be left out
    submit = [ray, "job", "submit", "--address", url]
    # The part of the dashboard that runs jobs is up some time after the node.
    until(lambda: _run([*submit, "--", "true"], environment).returncode == 0)
    script = ["--working-dir", str(tmp_path / "job"), "--", sys.executable, "-W", "ignore", "script.py", ledger, said]
    done = _run([*submit, *map(str, script)], environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    found = json.loads(said.read_text())
    assert found["status"] == "succeeded"
    assert found["sum"] == sum(range(300)) + 300 * 7
    assert "cluster" in found["client"]

    later = _run([sys.executable, "-W", "ignore", "-c", LATER, address, ledger, found["id"]], environment)
    assert later.returncode == 0, later.stderr[-4000:]
    assert later.stdout.split()[-1] == "1", "the manager that the job started"


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, env=environment)
