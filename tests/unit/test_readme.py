"""What the README names is there: files, settings, commands, options, columns; and its code is Python."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from dfbatch.cli.app import app
from dfbatch.client.options import submit_options
from dfbatch.config import resolve
from dfbatch.core.states import JobState
from dfbatch.errors import InvalidInput
from dfbatch.ledger.schemas import RESULTS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
NOT_SHOWN = {"outputs", "commit_id", "ruv", "fused_confidence", "reused_from"}
"""Columns that join tables or belong to what is not in this version, and one that is told elsewhere."""


GLOSSARY = (
    "Batch Job Generation Attempt Chunk Lease Epoch Worker Pool Queue Verifier Detector Finding Verdict Dead Ledger"
)


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("target", re.findall(r"\]\((?!\w+://)([^)#]+)\)", README))
def test_links_lead_to_files_of_the_repository(target: str) -> None:
    assert (ROOT / target).is_file()


@pytest.mark.parametrize("picture", ["docs/notebook.png", "docs/architecture.svg", "benchmarks/results.png"])
def test_pictures_are_small(picture: str) -> None:
    assert (ROOT / picture).stat().st_size < 300_000


@pytest.mark.parametrize("code", CODE)
def test_code_is_python(code: str) -> None:
    ast.parse(code)


def test_the_first_code_is_ten_lines_at_most() -> None:
    assert len([line for line in CODE[0].splitlines() if line.strip()]) <= 10


def test_settings_are_those_that_are_read() -> None:
    variables = set(re.findall(r"`(DFBATCH_\w+|RAY_ADDRESS)`", section("Settings")))
    values = {"DFBATCH_TIMEOUT_S": "5", "DFBATCH_WORKERS": "2", "DFBATCH_PROGRESS": "off", "DFBATCH_LOG_LEVEL": "INFO"}
    settings = resolve(environment={name: values.get(name, "a-name") for name in variables})
    assert {origin for _, _, origin in settings.rows()} == variables


def test_commands_are_those_that_there_are() -> None:
    told = section("Command line")
    names = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    assert {name for name in names if name and re.search(rf"`(dfbatch )?{name}\b", told)} == names


def test_columns_are_those_of_the_results() -> None:
    told = {word for row in re.findall(r"^\| (`[^|]+`) \|", section("Columns of the results"), re.MULTILINE)
            for word in re.findall(r"\w+", row)}  # fmt: skip
    assert told == set(RESULTS.arrow.names) - NOT_SHOWN | {"input", "output"}


def test_every_terminal_state_of_a_job_is_told() -> None:
    assert all(f"`{state}`" in README for state in JobState if state.is_terminal)


def test_options_are_those_that_are_taken() -> None:
    line = next(line for line in section("Sources").splitlines() if line.startswith("Options of"))
    given = {word for code in re.findall(r"`([^`]+)`", line) for word in re.findall(r"\b[a-z_]+\b(?!\")", code)}
    with pytest.raises(InvalidInput, match="no_such_option") as refused:
        submit_options({"no_such_option": 1}, name=None, default_queue="q", default_timeout_s=None)
    known = set(re.findall(r"\w+", str(refused.value)))
    assert given - {"verify", "map", "submit"} <= known


@pytest.mark.parametrize("word", GLOSSARY.split())
def test_the_glossary_explains_every_word(word: str) -> None:
    assert re.search(rf"^\| ([A-Z]\w+, )*{word}( letter)?(, [A-Z]\w+)* \| .+", README, re.MULTILINE)
