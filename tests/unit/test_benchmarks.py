"""The benchmarks can be imported, and their report helpers tell the truth. Nothing is timed here."""

from __future__ import annotations

import importlib
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
MODULES = sorted(file.stem for file in (ROOT / "benchmarks").glob("*.py"))
WITH_COMMAND = (
    "breaker_cost",
    "cancel",
    "commit_growth",
    "manager_recovery",
    "overhead",
    "real_media",
    "submit_latency",
    "urgent",
    "worker_replacement",
)


@pytest.fixture(autouse=True)
def repository_on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Benchmarks are run with ``python -m`` from the root of the repository, and are not installed."""
    monkeypatch.syspath_prepend(str(ROOT))
    yield
    for name in [name for name in sys.modules if name == "benchmarks" or name.startswith("benchmarks.")]:
        del sys.modules[name]


@pytest.fixture
def report() -> Any:
    return importlib.import_module("benchmarks.report")


@pytest.mark.parametrize("name", MODULES)
def test_a_benchmark_can_be_imported_without_running(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    assert module.__doc__


@pytest.mark.parametrize("name", WITH_COMMAND)
def test_a_benchmark_says_in_its_help_how_to_run_it_quickly(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        module.main()
    assert "--quick" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("bound", "measured", "at_least", "met"),
    [
        (2.0, 1.9, False, True),
        (2.0, 2.0, False, True),  # a bound belongs to what it allows
        (2.0, 2.001, False, False),
        (300_000, 299_999, True, False),  # nearly is not met
        (300_000, 300_000, True, True),
        (1.2, 9.0, True, True),
        (1.0, float("nan"), False, False),  # a number that is none meets nothing
    ],
)
def test_a_goal_is_met_or_not(report: Any, bound: float, measured: float, at_least: bool, met: bool) -> None:
    goal = report.Goal("name", bound, measured, "s", at_least)
    assert goal.met is met
    assert goal.as_dict()["met"] is met
    assert ("NOT MET" in report.goals_table([goal])) is not met


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([5.0], 0.99, 5.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        (list(range(1, 101)), 0.99, 99),
        (list(range(1, 101)), 1.0, 100),
        (list(range(1, 61)), 0.99, 60),  # of sixty runs the slowest is the p99
    ],
)
def test_a_quantile_is_one_of_the_values(report: Any, values: list[float], q: float, expected: float) -> None:
    assert report.quantile(values, q) == expected


def test_a_summary_gives_the_median_and_the_spread_of_its_runs(report: Any) -> None:
    rows = [report.Measurement("a", "warm", 100, seconds) for seconds in (1.0, 4.0, 2.0)]
    summary = report.summarize([*rows, report.Measurement("a", "cold", 100, 9.0)])[0]
    assert (summary.runs, summary.median_s, summary.spread, summary.items_per_s) == (3, 2.0, 1.5, 50.0)


def test_a_table_of_runs_is_eighty_columns_wide(report: Any) -> None:
    rows = [report.Measurement("a system with a name that is far too long", "warm", 1_000_000, 2.345)]
    assert max(map(len, report.table(rows).splitlines())) <= 80


def test_a_benchmark_leaves_the_results_of_others_alone(report: Any, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    report.record("one", report.Findings(facts={"n": 1}), path)
    report.record("two", report.Findings(goals=[report.Goal("g", 1.0, 0.5, "s")]), path)
    report.record("one", report.Findings(facts={"n": 2}), path)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["one"]["facts"] == {"n": 2}
    assert content["two"]["goals"][0]["met"] is True


def test_results_say_on_what_they_were_taken_and_name_neither_host_nor_folder(report: Any) -> None:
    machine = report.machine()
    assert {"at", "cpu", "cpus", "memory_gib", "load", "ray", "deltalake"} <= machine.keys()
    text = json.dumps(machine)
    assert socket.gethostname() not in text
    assert str(ROOT) not in text


def test_goals_are_judged_against_the_fastest_rival_of_a_kind(report: Any) -> None:
    """A rival with two batch sizes counts with its better one, and the ratio to bare tasks is told."""
    overhead = importlib.import_module("benchmarks.overhead")
    peers = importlib.import_module("benchmarks.peers")
    seconds = {"tasks": 0.5, "tasks-1024": 2.0, "actors": 8.0, "actors-1024": 4.0, "actor-pool": 100.0}
    runs = [report.Measurement(peers.PEERS[key]().name, "warm", 100, s) for key, s in seconds.items()]
    runs += [report.Measurement(overhead.VECTORISED, "warm", 100, 2.0)]
    runs += [report.Measurement(overhead.FUNCTION, "warm", 100, 4.0)]
    found = overhead.judged(runs)
    measured = {goal.name: goal.measured for goal in found.goals}
    assert measured["vectorised to Ray Data actors, warm"] == 2.0
    assert measured["function to ActorPool, warm"] == 25.0
    assert found.facts["ratio_to_warm_ray_data_tasks"] == 0.25


def test_committed_results_are_those_of_full_runs_with_every_run_kept(report: Any) -> None:
    """What README and chart show is there to be checked, run by run."""
    if not report.RESULTS.exists():
        pytest.skip("no results are committed")
    content = json.loads(report.RESULTS.read_text(encoding="utf-8"))
    assert content.keys() <= set(WITH_COMMAND) | {"core_profile"}
    for section in content.values():
        for goal in section["goals"]:
            again = report.Goal(**{name: value for name, value in goal.items() if name != "met"})
            assert again.met is goal["met"], goal["name"]


def test_the_readme_shows_what_the_results_say(report: Any) -> None:
    """If this fails: python -m benchmarks.readme."""
    readme = importlib.import_module("benchmarks.readme")
    if not report.RESULTS.exists():
        pytest.skip("no results are committed")
    content = json.loads(report.RESULTS.read_text(encoding="utf-8"))
    assert readme.has_table(readme.README, content), "run: python -m benchmarks.readme"


def test_a_goal_that_was_missed_is_shown_as_missed(report: Any) -> None:
    readme = importlib.import_module("benchmarks.readme")
    findings = report.Findings(goals=[report.Goal("slow thing", 0.06, 0.2812, "s")])
    shown = readme.table({"one": findings.as_dict()})
    assert "| slow thing | at most 0.06 s | 0.281 s | **not met** |" in shown


def test_a_readme_without_marks_is_not_written_over() -> None:
    readme = importlib.import_module("benchmarks.readme")
    with pytest.raises(ValueError, match="substring not found"):
        readme.with_table("# dfbatch", "| table |")
    assert readme.with_table(f"a {readme.BEGIN} old {readme.END} b", "new") == f"a {readme.BEGIN}\nnew\n{readme.END} b"


def test_the_jobs_of_a_dead_worker_run_again_when_another_process_begins_them() -> None:
    module = importlib.import_module("benchmarks.worker_replacement")
    story = [(1.0, 7, 0), (1.1, 8, 1), (2.0, 7, 2), (3.5, 8, 3), (4.0, 9, 2), (4.5, 9, 4)]
    seen = [module.Begin(*begin) for begin in story]
    assert module.last_of(seen, 7) == 2
    assert module.times_after(seen, 7, 2.5) == (1.5, 1.5)
    with pytest.raises(RuntimeError, match="nothing to measure"):
        module.times_after(seen[:4], 7, 2.5)
