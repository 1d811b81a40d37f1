"""What ``dfbatch`` shows is what it promises: sorted, complete, and nothing else."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import dfbatch
from dfbatch import errors

LAZY = dfbatch._LAZY


def test_all_is_sorted_and_without_doubles() -> None:
    assert list(dfbatch.__all__) == sorted(set(dfbatch.__all__))


@pytest.mark.parametrize("name", dfbatch.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(dfbatch, name) is not None


@pytest.mark.parametrize("name", sorted(LAZY))
def test_a_public_name_is_the_one_of_its_module(name: str) -> None:
    """There is one object under one name, whichever way it is reached."""
    assert getattr(dfbatch, name) is getattr(importlib.import_module(LAZY[name]), name)


@pytest.mark.parametrize("name", sorted(LAZY))
def test_a_public_class_or_function_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(dfbatch, name))


def test_every_error_is_public() -> None:
    tree = {n for n, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__}
    assert tree <= set(dfbatch.__all__)


def test_dir_shows_the_public_names_only() -> None:
    assert dir(dfbatch) == sorted(dfbatch.__all__)


def test_nothing_else_is_visible_after_import() -> None:
    """Beside the public names there are only modules, dunders and private names."""
    code = (
        "import types, dfbatch\n"
        "extra = [n for n, v in vars(dfbatch).items()\n"
        "         if not n.startswith('_') and n not in dfbatch.__all__ and not isinstance(v, types.ModuleType)]\n"
        "print(*extra)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert set(run.stdout.split()) <= {"annotations", "import_module", "TYPE_CHECKING", "Any"}


def test_type_checkers_see_the_same_lazy_names() -> None:
    tree = ast.parse(Path(dfbatch.__file__).read_text(encoding="utf-8"))
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    seen = {alias.name: n.module for n in block.body if isinstance(n, ast.ImportFrom) for alias in n.names}
    assert seen == LAZY


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'conect'"):
        dfbatch.conect  # noqa: B018


def test_the_version_is_that_of_the_distribution() -> None:
    assert dfbatch.__version__ == importlib.metadata.version("dfbatch")


def test_the_timeout_is_caught_by_the_builtin_name() -> None:
    assert issubclass(dfbatch.TimeoutError, TimeoutError)
