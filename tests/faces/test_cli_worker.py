"""`dfbatch worker` at the door: what it refuses, and its probes by file. What it does is in tests/cluster."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfbatch.actors.probes import Health, write_health
from dfbatch.clock import ManualClock
from dfbatch.ledger.lock import ManagerInfo
from dfbatch.ledger.storage import open_storage
from dfbatch.ledger.writer import LedgerWriter

Command = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def ledger_of(root: Path, mode: str, address: str = "127.0.0.1:1") -> Path:
    """A ledger that a manager of this kind has taken over."""
    writer = LedgerWriter.open(open_storage(root), clock=ManualClock())
    writer.take_over(ManagerInfo("mine", 0, address, 1, "thathost", mode, "manager", 0.0, "0.1.0", owner_pid=77))
    return root


def test_without_a_manager_it_says_how_to_start_one(dfbatch_command: Command, tmp_path: Path) -> None:
    answer = dfbatch_command("worker", "--storage", tmp_path)
    assert (answer.code, answer.out) == (3, "")
    assert f"No manager is known for the ledger under {tmp_path}" in answer.err
    assert "dfbatch.connect(address=..., storage_path=...)" in answer.err


def test_a_private_ray_cannot_be_joined(dfbatch_command: Command, tmp_path: Path) -> None:
    answer = dfbatch_command("worker", "--storage", ledger_of(tmp_path / "ledger", "embedded"))
    assert answer.code == 3
    assert "belongs to process 77 on thathost" in answer.err
    assert "Give that process more workers, or work on a cluster" in answer.err


def test_the_cluster_of_the_manager_is_asked_and_found_gone(
    dfbatch_command: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = dfbatch_command("worker", "--storage", ledger_of(tmp_path / "ledger", "cluster"), "--health-port", "0")
    assert answer.code == 3
    assert "Nobody listens at 127.0.0.1:1" in answer.err
    assert "Traceback" not in answer.err + capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--queues", "a,,b"], "has a name that is empty"),
        (["--queues", ""], "has a name that is empty"),
        (["--queues", "a,b\nc"], "queue"),
        (["--concurrency", "0"], "--concurrency"),
        (["--concurrency", "two"], "--concurrency"),
        (["--grace-s", "-1"], "--grace-s"),
        (["--grace-s", "nan"], "--grace-s"),
        (["--idle-s", "inf"], "inf is no number of seconds"),
        (["--health-port", "99999"], "--health-port"),
        (["--health-file", "/no/such/folder/health"], "cannot be written"),
        (["--health-file", "/tmp"], "cannot be written"),
        (["--name", "../../etc"], "no usable name"),
        (["--name", "x" * 65], "no usable name"),
        (["--log-format", "xml"], "Give text or json"),
        (["--num-gpus", "0.5", "--num-cpus", "1.5"], "not whole"),
        (["--address", "ray://host:10001"], "ray://"),
        (["--namespace", " "], "namespace"),
    ],
)
def test_wrong_usage_ends_with_2(dfbatch_command: Command, tmp_path: Path, arguments: list[str], words: str) -> None:
    answer = dfbatch_command("worker", "--storage", tmp_path, *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.err


class TestProbes:
    @pytest.mark.parametrize(("live", "ready"), [(True, True), (True, False), (False, False)])
    def test_the_exit_code_is_the_answer(
        self, dfbatch_command: Command, tmp_path: Path, live: bool, ready: bool
    ) -> None:
        file = tmp_path / "health"
        write_health(str(file), Health(live, ready, time.time(), 1))
        assert dfbatch_command("worker", "--check", file).code == (not ready)
        assert dfbatch_command("worker", "--check-live", file).code == (not live)

    def test_a_worker_that_is_gone_is_neither_live_nor_ready(self, dfbatch_command: Command, tmp_path: Path) -> None:
        answer = dfbatch_command("worker", "--check", tmp_path / "none")
        assert (answer.code, answer.out) == (1, "")
        assert "no worker writes it" in answer.err
