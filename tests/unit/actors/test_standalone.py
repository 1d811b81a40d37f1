"""`dfbatch worker` without Ray: its processes are stand-ins that follow a script; the signals are real."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfbatch.actors import standalone, standalone_process
from dfbatch.actors.standalone import StandaloneWorker
from dfbatch.actors.standalone_plan import RENEWED, StandalonePlan
from dfbatch.actors.standalone_process import LONGEST_DELAY_S, restart_delay_s
from dfbatch.errors import ConnectError, ManagerUnavailable

pytestmark = pytest.mark.integration

CHILD = """
import json, os, sys, time
plan = json.loads(sys.argv[1])
def tell(**pulse): os.write(plan["report_fd"], (json.dumps(pulse) + "\\n").encode())
def word(): return sys.stdin.readline().strip()
def is_first():
    try: return os.close(os.open(sys.argv[2] + "/first", os.O_CREAT | os.O_EXCL)) is None
    except FileExistsError: return False
n = len(open(sys.argv[2] + "/starts", "a+").write(plan["name"] + "\\n") and open(sys.argv[2] + "/starts").readlines())
"""
"""Beginning of every stand-in: ``n`` is the number of starts so far; of several at once only one is the first."""
READY = 'tell(state="idle", ready=True)\n'
DRAINS = READY + 'word()\ntell(state="stopped")\n'
STUBBORN = READY + 'word()\nassert word() == "now"\ntell(state="stopped")\n'
HANGS = READY + "while True: time.sleep(1)\n"


WhenReady = Callable[[StandaloneWorker], object]


class Watch:
    """The clock of the command. It goes with that of the machine, until it is stopped at a moment."""

    time = staticmethod(time.time)

    def __init__(self) -> None:
        self.stopped_at: float | None = None

    def monotonic(self) -> float:
        return time.monotonic() if self.stopped_at is None else self.stopped_at


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    found = Watch()
    monkeypatch.setattr(standalone, "time", found)
    return found


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs the command with stand-ins of a script; ``when_ready`` is called in a thread once they all are."""

    def command(plan: str) -> list[str]:
        return [sys.executable, "-c", CHILD + (tmp_path / "script").read_text(), plan, str(tmp_path)]

    monkeypatch.setattr(standalone_process, "child_command", command)
    monkeypatch.setattr(standalone, "HEALTH_S", 0.02)
    monkeypatch.setattr(standalone, "TICK_S", 0.02)
    health = tmp_path / "health"

    def run(script: str, when_ready: WhenReady | None = None, **options: Any) -> int:
        (tmp_path / "script").write_text(script)
        plan = StandalonePlan(**{"concurrency": 2, "grace_s": 100.0, "health_file": str(health), **options})
        worker = StandaloneWorker(plan)

        def wait() -> None:
            while not (health.exists() and all(w["ready"] for w in json.loads(health.read_text())["workers"])):
                time.sleep(0.01)
            assert when_ready is not None
            when_ready(worker)

        if when_ready is not None:
            threading.Thread(target=wait, daemon=True).start()
        return worker.run()

    return run


def send(*numbers: signal.Signals) -> WhenReady:
    """Each signal when the one before it was heard: of two at once the system may deliver one."""

    def kill(worker: StandaloneWorker) -> None:
        for n_heard, number in enumerate(numbers, 1):
            os.kill(os.getpid(), number)
            while len(worker._signals) < n_heard:
                time.sleep(0.01)

    return kill


def drain(worker: StandaloneWorker) -> float:
    """Returns when the grace period is over, by the clock of the command, once it has begun."""
    send(signal.SIGTERM)(worker)
    while worker._drain_until is None:
        time.sleep(0.01)
    return worker._drain_until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_drains_and_leaves_the_handlers_as_they_were(
    play: Callable[..., int], tmp_path: Path, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    assert play(DRAINS, send(number)) == 0
    assert signal.getsignal(number) is before
    assert not (tmp_path / "health").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_hands_back_and_ends(
    play: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: signal.Signals,
    code: int,
) -> None:
    monkeypatch.setattr(standalone, "NOW_S", 60.0)
    assert play(STUBBORN, send(number, number)) == code
    assert "The grace period is nearly over" not in caplog.text
    assert "Not handed back" not in caplog.text


def test_before_the_grace_is_over_everything_is_handed_back(
    play: Callable[..., int], watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    def go_on(worker: StandaloneWorker) -> None:
        watch.stopped_at = drain(worker) - 0.1

    assert play(STUBBORN, go_on) == 0
    assert "what is not finished is handed back" in caplog.text
    assert "Not handed back" not in caplog.text


def test_a_process_that_hangs_is_killed_within_the_grace(
    play: Callable[..., int], watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    running: list[bool] = []

    def go_on(worker: StandaloneWorker) -> None:
        ends_at = drain(worker)
        watch.stopped_at = ends_at - 0.1
        while "what is not finished is handed back" not in caplog.text:
            time.sleep(0.01)
        running.extend(child.is_running for child in worker._children)
        watch.stopped_at = ends_at

    assert play(HANGS, go_on) == 0, "it goes on for longer than its grace"
    assert running == [True, True], "they were killed before their time"
    assert "Not handed back in time by" in caplog.text


def test_a_process_that_crashes_is_replaced_under_its_name(play: Callable[..., int], tmp_path: Path) -> None:
    script = READY + 'if is_first(): os.kill(os.getpid(), 11)\nword()\ntell(state="stopped")\n'
    restarts: list[int] = []

    def look(worker: StandaloneWorker) -> None:
        while not restarts or sum(restarts) == 0:
            restarts[:] = [w["restarts"] for w in json.loads((tmp_path / "health").read_text())["workers"]]
            time.sleep(0.01)
        send(signal.SIGTERM)(worker)

    assert play(script, look) == 0
    names = (tmp_path / "starts").read_text().split()
    assert len(names) == 3
    assert len(set(names)) == 2
    assert sorted(restarts) == [0, 1]


def test_one_that_crashes_while_it_drains_is_replaced_only_to_tell_of_it(
    play: Callable[..., int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next process of the name says where the last one died, so that its leases need not expire; and it leaves."""
    script = READY + 'word()\nif n == 1: os.kill(os.getpid(), 11)\ntell(state="stopped")\n'
    assert play(script, send(signal.SIGTERM), concurrency=1) == 0
    assert "The grace period is nearly over" not in caplog.text, "the replacement was not told to leave"
    assert len((tmp_path / "starts").read_text().split()) == 2


def test_one_that_makes_room_while_it_drains_is_not_replaced(play: Callable[..., int], tmp_path: Path) -> None:
    assert play(READY + f"word()\nsys.exit({RENEWED})\n", send(signal.SIGTERM), concurrency=1) == 0
    assert len((tmp_path / "starts").read_text().split()) == 1


def test_it_ends_when_all_have_left_by_themselves(play: Callable[..., int]) -> None:
    assert play('tell(state="stopped")\n') == 0


def test_nothing_to_join_is_an_error_that_says_why(play: Callable[..., int]) -> None:
    with pytest.raises(ManagerUnavailable, match="Start one"):
        play('tell(state="stopped", error="No manager runs. Start one.")\nsys.exit(3)\n')


def test_it_ends_with_an_error_when_the_manager_has_gone_for_good(play: Callable[..., int]) -> None:
    with pytest.raises(ManagerUnavailable, match="It is gone"):
        play(READY + 'time.sleep(0.5)\ntell(state="stopped", error="It is gone.")\nsys.exit(3)\n')


def test_processes_that_never_come_up_are_given_up(play: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standalone, "GIVE_UP_S", 0.3)
    with pytest.raises(ManagerUnavailable, match="No worker got ready"):
        play("sys.exit(1)\n")


def test_a_port_that_is_taken_is_said_before_anything_starts(play: Callable[..., int], tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConnectError):
        play(READY, health_port=taken.getsockname()[1])
    assert not (tmp_path / "starts").exists()


def test_the_first_replacement_comes_at_once_and_later_ones_wait_longer_and_longer() -> None:
    delays = [restart_delay_s(n) for n in range(1, 40)]
    assert delays[0] == 0
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_DELAY_S
