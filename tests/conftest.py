"""What every test stands on: a home of its own, steady Hypothesis, and no process left behind."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

_MARK = "DFBATCH_TEST_SESSION"
_GRACE_S = 10.0

# How long an example takes says how busy the machine is, not whether the program is right.
_STEADY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dfbatch", _STEADY, max_examples=50)
settings.register_profile("ci", _STEADY, max_examples=100, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dfbatch")


def _started_by_this_session(mark: str) -> list[psutil.Process]:
    """Living processes that carry the mark in their environment or descend from this one.

    The mark finds daemons too, which have left the process tree.
    """
    own = psutil.Process()
    found = {process.pid: process for process in own.children(recursive=True)}
    for process in psutil.process_iter():
        try:
            if process.pid != own.pid and process.environ().get(_MARK) == mark:
                found[process.pid] = process
        except (psutil.Error, OSError):  # it ended meanwhile, or belongs to somebody else
            continue
    return [process for process in found.values() if _counts(process)]


def _counts(process: psutil.Process) -> bool:
    try:
        # Python's own tracker of shared memory lives as long as the test run.
        return process.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid}: {' '.join(process.cmdline())[:200] or process.name()}"
    except psutil.Error:
        return f"{process.pid}: ended"


@pytest.fixture(scope="session", autouse=True)
def no_process_left_behind() -> Iterator[None]:
    """The run ends with the processes it began with, Ray's included."""
    mark = uuid.uuid4().hex
    os.environ[_MARK] = mark
    yield
    del os.environ[_MARK]
    psutil.wait_procs(_started_by_this_session(mark), timeout=_GRACE_S)
    left = _started_by_this_session(mark)
    stories = [_describe(process) for process in left]
    for process in left:
        process.kill()
    assert not stories, "processes outlived the tests:\n" + "\n".join(stories)


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, no_process_left_behind: None) -> Iterator[Path]:
    """Tests see neither the settings nor the home folder of who runs them."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name == "RAY_ADDRESS" or (name.startswith("DFBATCH_") and name != _MARK):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        yield home


@pytest.fixture
def ledger_path(tmp_path: Path) -> Path:
    """A folder for one ledger, empty and not made yet."""
    return tmp_path / "ledger"


@pytest.fixture(scope="module")
def module_ledger_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger folder that the tests of one module share."""
    return tmp_path_factory.mktemp("shared") / "ledger"
