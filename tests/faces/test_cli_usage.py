"""Help, usage errors and the doctor: what a person meets first."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dfbatch

Command = Callable[..., Any]
COMMANDS = ["verify", "samples", "batches", "results", "failures", "retry", "ledger", "worker", "doctor"]
TYPER = """
import sys
import typer

app = typer.Typer()

@app.command()
def one(number: int = 3) -> None:
    "One command of two."

@app.command()
def two() -> None:
    "The other one."

sys.argv = ["typer", "--help"]
try: app()
except SystemExit: pass
print([])
"""
"""The help of the smallest command line there is."""


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS), ["ledger", "files"]])
def test_help_fits_80_columns(dfbatch_command: Command, arguments: list[str]) -> None:
    answer = dfbatch_command(*arguments, "--help")
    assert answer.code == 0
    assert max(len(line) for line in answer.out.splitlines()) <= 80


def test_help_names_every_command_and_the_exit_codes(dfbatch_command: Command) -> None:
    out = " ".join(dfbatch_command("--help").out.split())
    assert all(f"│ {name} " in out for name in COMMANDS)
    assert "0 all succeeded, 1 some items failed, 2 wrong usage, 3 could not run" in out


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom dfbatch.cli.app import main\nsys.argv = ['dfbatch', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'ray', 'pyarrow', 'numpy', 'pandas', 'IPython'} & set(sys.modules)))"
    )
    took: dict[str, list[float]] = {code: [], TYPER: []}
    for each in [code, TYPER] * 6:
        start = time.perf_counter()
        run = subprocess.run([sys.executable, "-c", each], capture_output=True, text=True, check=True, timeout=100)
        took[each].append(time.perf_counter() - start)
        assert run.stdout.splitlines()[-1] == "[]"
    assert min(took[code]) < 3 * min(took[TYPER]), "it costs much more than what prints it"


def test_the_version_is_told(dfbatch_command: Command) -> None:
    assert dfbatch_command("--version").out == f"dfbatch {dfbatch.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], "No such command"),
        (["verify"], "Missing argument"),
        (["verify", "x.jpg", "--profile", "quick"], "'quick'"),
        (["verify", "no/such.jpg"], "no file or folder 'no/such.jpg'"),
        (["verify", "x.jpg", "--limit", "-1"], "--limit"),
        (["verify", "x.jpg", "--workers", "many"], "1,8"),
        (["verify", "x.jpg", "--workers", "1,2,3"], "1,8"),
        (["verify", "x.jpg", "--out", "table.xlsx"], ".parquet, .csv, .jsonl"),
        (["verify", "x.jpg", "--out", "/dev/null/table.csv"], "/dev/null"),
        (["verify", "x.jpg", "--report", "report.pdf"], ".html"),
    ],
)
def test_wrong_usage_ends_with_2_before_any_work(dfbatch_command: Command, arguments: list[str], words: str) -> None:
    answer = dfbatch_command(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.err


class TestDoctor:
    def test_each_setting_comes_with_its_origin(
        self, dfbatch_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DFBATCH_PROGRESS", "log")
        found = dfbatch_command("doctor", "--storage", tmp_path, "--json").json
        origins = {setting["name"]: (setting["value"], setting["origin"]) for setting in found["settings"]}
        assert origins["storage_path"] == (str(tmp_path), "argument")
        assert origins["progress"] == ("log", "DFBATCH_PROGRESS")
        assert origins["namespace"] == ("dfbatch", "default")

    def test_a_sound_installation_passes(self, dfbatch_command: Command, tmp_path: Path) -> None:
        answer = dfbatch_command("doctor", "--storage", tmp_path)
        assert answer.code == 0
        assert "✗" not in answer.out
        assert "is writable" in answer.out

    def test_a_storage_that_cannot_be_written_is_told_with_3(self, dfbatch_command: Command, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        answer = dfbatch_command("doctor", "--storage", tmp_path / "file" / "ledger")
        assert answer.code == 3
        assert "✗ storage" in answer.out

    def test_a_wrong_setting_is_a_usage_error(self, dfbatch_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DFBATCH_WORKERS", "several")
        answer = dfbatch_command("doctor")
        assert answer.code == 2
        assert "DFBATCH_WORKERS" in answer.err
