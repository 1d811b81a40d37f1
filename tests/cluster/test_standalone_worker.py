"""`dfbatch worker` on a real cluster: it serves its queues, answers probes, replaces what crashes, and drains.

One run of standalone_stage.py, for all of it; each test judges a part.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(900)
STAGE = Path(__file__).with_name("standalone_stage.py")
N_LOAD, N_QUICK, GRACE_S = 3_000, 40, 90.0


@pytest.fixture(scope="module")
def seen(head_node: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the stage saw."""
    folder = tmp_path_factory.mktemp("standalone")
    command = [sys.executable, "-W", "ignore", STAGE, head_node, folder / "ledger", folder]
    run = subprocess.run(command, capture_output=True, text=True, timeout=850, check=False)
    logs = "".join(log.read_text() for log in folder.glob("*/worker.log"))
    assert run.returncode == 0, run.stderr + logs
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def test_it_is_live_before_it_is_ready(seen: dict[str, Any]) -> None:
    assert seen["early"] == [200, 503]
    assert (seen["begin"]["live"], seen["begin"]["ready"]) == (True, True)


def test_it_works_for_its_queues_only(seen: dict[str, Any]) -> None:
    found = seen["serve"]
    assert found["values_right"]
    assert found["other_counts"] == {"queued": 5}
    assert sorted(found["shown"]) == sorted([w["worker"], w["pid"], ["mine"]] for w in found["health"]["workers"])
    assert set(found["workers"]) <= {name for name, _, _ in found["shown"]}


def test_it_answers_probes_by_port_and_by_file(seen: dict[str, Any]) -> None:
    assert seen["serve"]["probes"] == [200, 200, 404]
    assert seen["serve"]["check"] == 0


def test_a_process_that_crashes_is_replaced_and_its_item_charged(seen: dict[str, Any]) -> None:
    found = seen["crash"]
    assert found["failed"] == [[7, "WorkerCrash", 2]]
    assert found["counts"] == {"succeeded": 29, "failed": 1}
    before, after = seen["begin"]["workers"], found["health"]["workers"]
    assert [w["worker"] for w in after] == [w["worker"] for w in before]
    assert sum(w["restarts"] for w in after) >= 2


def test_sigterm_under_load_drains_it_and_nothing_is_lost_or_repeated(seen: dict[str, Any]) -> None:
    found = seen["drain"]
    assert found["end"]["code"] == 0, found["end"]["log"]
    assert found["end"]["took_s"] < GRACE_S
    assert 0 < found["left"]["done"] < N_LOAD, "it was not under load"
    assert found["left"]["workers"] == []
    assert not found["left"]["file"], "a health file was left behind"
    assert found["counts"] == {"succeeded": N_LOAD}
    assert found["runs"] == {"1": N_LOAD}, "items by how often they were run"


def test_a_second_signal_ends_it_at_once_with_everything_handed_back(seen: dict[str, Any]) -> None:
    found = seen["hurry"]
    assert found["end"]["code"] == 130, found["end"]["log"]
    assert found["end"]["took_s"] < GRACE_S / 2
    assert found["left"] == {"workers": [], "counts": {"succeeded": N_QUICK, "queued": 4}}
    assert found["counts"] == {"succeeded": N_QUICK + 4}
    assert found["runs"] == {"1": N_QUICK + 4}, "finished items were run again"


def test_processes_whose_parent_is_killed_end_by_themselves_and_others_do_their_work(seen: dict[str, Any]) -> None:
    """One is under load and drains; the other one is at an item that outlasts the grace, and gives it back."""
    found, left = seen["orphans"], seen["orphans"]["left"]
    assert (found["n_children"], found["n_told"]) == (2, 2)
    assert 0 < left["done"] < N_LOAD, "it was not under load"
    assert left["stuck"] == {"queued": 1}
    assert found["counts"] == [{"succeeded": N_LOAD}, {"succeeded": 1}]
    assert found["rows"] == [N_LOAD, 1], "not one row a job"
    assert found["runs"] == [{"1": N_LOAD}, {"1": 1}], "items by how often they were run"
    assert all("dfbatch-worker:" in name for name in found["workers"]), "no worker of the pool did it"
