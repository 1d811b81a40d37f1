"""Command lines that are printed to be copied."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dfbatch.cli.screen import command


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """An installed ``dfbatch`` in an environment of its own."""
    path = tmp_path / ".venv" / "bin" / "dfbatch"
    path.parent.mkdir(parents=True)
    path.touch(mode=0o755)
    return path


def test_a_program_outside_the_path_is_called_by_its_path(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program), "verify"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert command("retry", "k3f2m9qx") == f".venv{os.sep}bin{os.sep}dfbatch retry k3f2m9qx"


def test_a_program_on_the_path_is_called_by_its_name(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(program), "verify"])
    monkeypatch.setenv("PATH", str(program.parent))
    assert command("verify", "my photos") == "dfbatch verify 'my photos'"


def test_without_a_program_the_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["-c"])
    assert command("batches") == "dfbatch batches"
