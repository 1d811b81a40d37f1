"""Real Ray: one embedded client for the tests of this folder, clusters of their own for those that need one."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import dfbatch
from dfbatch.client.client import Client

_SCENE = """
import json, os, signal, sys, time
import dfbatch

os.environ["DFBATCH_PROGRESS"] = "off"
root = sys.argv[1]
client = dfbatch.connect(storage_path=root, workers=(0, 2))
said = {}

def until(condition, what, limit_s=150):
    # Gives what the condition gives as soon as that is something: it may be gone at the next look.
    end = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < end, f"{what}: {one_try('health')}"
        time.sleep(0.02)
    return found

def one_try(method):
    try:
        return client._session.link.call(method, timeout_s=10.0)
    except dfbatch.DfbatchError:
        return {}

def recovering():  # and why
    health = one_try("health")
    return health.get("status") == "recovering" and health.get("reason")
"""
"""What a story finds: a client of its own on ``root``, a way to wait, and ``said``, which it fills."""
TEST_LIMIT_S = 500.0
"""Of one test with its fixtures: a slow machine takes 20 s for one process of Ray."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of this folder start processes, and so have more time than others."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_LIMIT_S))


@pytest.fixture(scope="package")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """An embedded client with two workers."""
    with dfbatch.connect(storage_path=tmp_path_factory.mktemp("embedded") / "ledger", workers=(0, 2)) as found:
        yield found


@pytest.fixture
def until() -> Callable[..., None]:
    """Waits for a condition by looking again and again, at most ``limit_s`` seconds."""

    def wait(condition: Callable[[], bool], limit_s: float = 150.0) -> None:
        deadline = time.monotonic() + limit_s
        pause = time.sleep
        while not condition():
            assert time.monotonic() < deadline, "what the test waits for did not happen"
            pause(0.02)

    return wait


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python code in a fresh process and returns what it printed and how it ended."""

    def run(code: str, *arguments: object, timeout_s: float = 400.0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)

    return run


@pytest.fixture
def tell(python: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., dict[str, Any]]:
    """Plays a story on a ledger, in a process of its own with a manager of its own; returns what it ``said``."""

    def run(story: str, ledger: Path, *arguments: object) -> dict[str, Any]:
        done = python(f"{_SCENE}\n{story}\nprint(json.dumps(said))", ledger, *arguments)
        assert done.returncode == 0, done.stderr[-4000:]
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return said

    return run


@pytest.fixture
def random_kills(head_node: str, tmp_path: Path) -> Callable[[int], None]:
    """Has chaos.py kill manager, workers and drivers at the moments of a seed, and checks what is left."""

    def run(seed: int) -> None:
        script = Path(__file__).with_name("chaos.py")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(script), "referee", head_node, str(tmp_path / "ledger"), str(seed)],
            capture_output=True,
            text=True,
            timeout=560,
            check=False,
            env={**os.environ, "DFBATCH_PROGRESS": "off"},
        )
        assert done.returncode == 0, f"seed {seed}: {done.stderr[-6000:]}"
        print(done.stdout)
        assert json.loads(done.stdout.splitlines()[-1])["rows"] == 100_000

    return run


@pytest.fixture(scope="package")
def head_node() -> Iterator[str]:
    """A Ray head node of its own session on loopback; gives its address."""
    with _folder() as folder, _marked() as environment:
        yield _start_head(environment, folder, "--num-cpus=3", "--include-dashboard=false", "--no-monitor")


@pytest.fixture(scope="package")
def dashboard() -> Iterator[tuple[str, str, dict[str, str]]]:
    """A head node with Ray's dashboard, on loopback: its address, the URL of the dashboard, its environment."""
    with _folder() as folder, _marked() as environment:
        port = _free_port()
        where = ("--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}")
        address = _start_head(environment, folder, "--num-cpus=3", "--no-monitor", *where)
        yield address, f"http://127.0.0.1:{port}", environment


@pytest.fixture
def start_head() -> Iterator[Callable[..., tuple[str, dict[str, str]]]]:
    """Starts a head node with options of `ray start` and environment variables; gives its address and environment."""
    with contextlib.ExitStack() as stack:

        def start(*options: str, **variables: str) -> tuple[str, dict[str, str]]:
            folder = stack.enter_context(_folder())
            environment = {**stack.enter_context(_marked()), **variables}
            return _start_head(environment, folder, *options), environment

        yield start


@pytest.fixture
def marked_environment() -> Iterator[dict[str, str]]:
    """For a process that starts Ray by itself, and must end all of it; what it leaves behind fails the test."""
    with _folder() as folder, _marked() as environment:
        yield {**environment, "RAY_TMPDIR": str(folder)}
        left = _members(environment)
        psutil.wait_procs(left, timeout=60)
        assert not [p for p in left if p.is_running()], f"processes were left behind: {left}"


@contextlib.contextmanager
def _marked() -> Iterator[dict[str, str]]:
    """An environment that marks every process that is started with it. They are ended by their mark."""
    environment = {
        **os.environ,
        "DFBATCH_TEST_HEAD": uuid.uuid4().hex,
        "DFBATCH_PROGRESS": "off",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
    }
    try:
        yield environment
    finally:
        until = time.monotonic() + 60.0
        # Again, for those that were being forked.
        while (members := _members(environment)) and time.monotonic() < until:
            for process in members:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(members, timeout=10)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A short path for Ray's files. To be entered before ``_marked``: whoever writes there is ended first."""
    with tempfile.TemporaryDirectory(prefix="dfh-", dir="/tmp", ignore_cleanup_errors=True) as found:
        yield Path(found)


def _free_port() -> int:
    """A port of loopback that nobody gets by chance before it is used: not one of those that systems give out."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


def _start_head(environment: dict[str, str], folder: Path, *options: str) -> str:
    ray = Path(sys.executable).with_name("ray")
    command = [
        str(ray), "start", "--head", "--port=0", "--node-ip-address=127.0.0.1", f"--temp-dir={folder}",
        "--object-store-memory=150000000", "--disable-usage-stats", "--dashboard-agent-listen-port=0", *options,
    ]  # fmt: skip
    with (folder / "start.log").open("w") as log:
        starter = subprocess.Popen(
            command, env=environment, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    assert starter.wait(180) == 0, (folder / "start.log").read_text()
    return (folder / "ray_current_cluster").read_text().strip()


def _members(environment: dict[str, str]) -> list[psutil.Process]:
    return [p for p in psutil.process_iter() if _is_marked(p, environment["DFBATCH_TEST_HEAD"])]


def _is_marked(process: psutil.Process, name: str) -> bool:
    """Daemons leave the process group and the session, but keep the environment they were started with."""
    try:
        return process.environ().get("DFBATCH_TEST_HEAD") == name
    except (psutil.Error, OSError):
        return False
