"""The shape of the code is checked, not wished for: layers, budgets, names and habits."""

from __future__ import annotations

import ast
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "dfbatch"
MODULES = sorted(PACKAGE.rglob("*.py"))

MODULE_LINES = 400
CLASS_LINES = 250
FUNCTION_LINES = 40


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def all_nodes() -> list[tuple[Path, ast.AST]]:
    return [(path, node) for path in MODULES for node in ast.walk(parse(path))]


def nodes(*kinds: type[ast.AST]) -> Iterator[tuple[Path, ast.AST]]:
    return ((path, node) for path, node in all_nodes() if isinstance(node, kinds))


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)} {getattr(node, 'name', '')}".strip()


def length(node: ast.AST) -> int:
    """Lines of a function or class, without its decorators and docstring."""
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


@pytest.fixture(scope="module")
def import_linter() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]


def test_every_layer_imports_only_those_below_it() -> None:
    """The contracts of pyproject.toml, among them the order of the layers."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert run.returncode == 0, run.stdout + run.stderr
    assert " 0 broken" in run.stdout


def test_no_contract_has_exemptions(import_linter: dict[str, list[dict[str, object]]]) -> None:
    assert len(import_linter["contracts"]) >= 3
    for contract in import_linter["contracts"]:
        assert "ignore_imports" not in contract, contract["name"]
        assert "unmatched_ignore_imports_alerting" not in contract, contract["name"]


def test_the_layers_name_every_package(import_linter: dict[str, list[dict[str, object]]]) -> None:
    layers = next(contract for contract in import_linter["contracts"] if contract["type"] == "layers")
    assert layers["exhaustive"] is True
    assert "exhaustive_ignores" not in layers


def test_only_actors_import_ray() -> None:
    """Beside the actors only the Serve wrapper of the REST face knows Ray."""
    elsewhere = [
        where(path, node)
        for path, node in nodes(ast.Import, ast.ImportFrom)
        if any(name.split(".")[0] == "ray" for name in imported(node))
        and path.relative_to(PACKAGE).parts[0] not in ("actors", "rest")
    ]
    assert elsewhere == []


def test_modules_are_short() -> None:
    long = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: lines for path, lines in long.items() if lines > MODULE_LINES} == {}


def test_functions_are_short() -> None:
    found = nodes(ast.FunctionDef, ast.AsyncFunctionDef)
    assert {where(p, n): length(n) for p, n in found if length(n) > FUNCTION_LINES} == {}


def test_classes_are_short() -> None:
    assert {where(p, n): length(n) for p, n in nodes(ast.ClassDef) if length(n) > CLASS_LINES} == {}


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    drawers = {"util", "utils", "common", "helper", "helpers", "misc", "base", "shared"}
    assert [path for path in MODULES if path.stem in drawers or path.parent.name in drawers] == []


def test_no_module_is_named_like_one_of_pythons_own() -> None:
    """A notebook puts its folder first on the path, and then ``queue`` would be the wrong one.

    Inside dfbatch imports are absolute, so a noun of the glossary may name a module of a
    subpackage; directly below ``dfbatch`` it may not.
    """
    own = {path.stem for path in PACKAGE.glob("*.py")} | {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert own & sys.stdlib_module_names == set()
    glossary = {"queue"}
    assert {path.stem for path in MODULES} & sys.stdlib_module_names <= glossary


def test_imports_are_absolute() -> None:
    assert [where(p, n) for p, n in nodes(ast.ImportFrom) if isinstance(n, ast.ImportFrom) and n.level] == []


def test_no_error_is_swallowed() -> None:
    """A handler for every exception must do something with it."""
    silent = []
    for path, node in nodes(ast.ExceptHandler):
        assert isinstance(node, ast.ExceptHandler)
        broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
        idle = all(isinstance(statement, ast.Pass | ast.Continue) for statement in node.body)
        if broad and idle:
            silent.append(where(path, node))
    assert silent == []


def test_nothing_is_unfinished() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "raise NotImplemented" + "Error")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in MODULES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if any(mark in line for mark in marks)
    ]
    assert found == []


def test_every_module_says_what_it_is_for() -> None:
    written = [path for path in MODULES if parse(path).body]
    assert [str(path.relative_to(ROOT)) for path in written if not ast.get_docstring(parse(path))] == []


def test_unit_tests_lie_where_their_code_lies() -> None:
    """``tests/unit/core`` tests ``dfbatch/core``; a module that is tested alone gives its test the name."""
    tests = sorted((ROOT / "tests" / "unit").rglob("test_*.py"))
    folders = {path.parent.relative_to(ROOT / "tests" / "unit") for path in tests}
    assert [str(folder) for folder in folders if not (PACKAGE / folder).is_dir()] == []


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_scripts_lie_where_the_interpreter_is() -> None:
    """The console script of an installed dfbatch is in the environment that runs the tests."""
    assert (Path(sysconfig.get_path("scripts")) / "dfbatch").is_file()
