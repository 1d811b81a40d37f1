"""Every error survives the way between processes, and stands in the tree its module draws."""

from __future__ import annotations

import builtins
import copy
import inspect
import pickle

import cloudpickle
import pytest

from dfbatch import errors
from dfbatch.errors import DfbatchError

_SAMPLES = {"str": "k3f2m9qx-17", "int": 12_345, "float": 2.5, "tuple[str, ...]": ("queued", "running")}


def _walk(root: type[DfbatchError]) -> list[type[DfbatchError]]:
    """The class and all below it, in the order of their definition, depth first."""
    return [root, *(found for child in root.__subclasses__() for found in _walk(child))]


def _tree() -> list[type[DfbatchError]]:
    return [error for error in _walk(DfbatchError) if error.__module__ == errors.__name__]


def _parameters(error: type[DfbatchError]) -> list[inspect.Parameter]:
    """What the class asks for; empty if it takes one sentence, as ``Exception`` does."""
    written = next((base.__dict__["__init__"] for base in error.__mro__ if "__init__" in base.__dict__), None)
    if not inspect.isfunction(written):
        return []
    return list(inspect.signature(written).parameters.values())[1:]


def _build(error: type[DfbatchError]) -> DfbatchError:
    """An instance from the types its signature declares."""
    values = [_SAMPLES[parameter.annotation] for parameter in _parameters(error)]
    return error(*(values or ["The sky fell. Wait for it to rise again."]))


@pytest.fixture(params=_tree(), ids=lambda error: error.__name__)
def error(request: pytest.FixtureRequest) -> DfbatchError:
    return _build(request.param)


@pytest.mark.parametrize("pickler", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
def test_a_pickled_error_comes_back_as_it_was(error: DfbatchError, pickler: object) -> None:
    back = pickle.loads(pickler.dumps(error))  # type: ignore[attr-defined]
    assert type(back) is type(error)
    assert back.args == error.args
    assert str(back) == str(error)
    assert vars(back) == vars(error)


def test_a_copied_error_comes_back_as_it_was(error: DfbatchError) -> None:
    assert str(copy.deepcopy(error)) == str(error)


def test_the_text_of_an_error_has_no_raw_tuple_or_object_in_it(error: DfbatchError) -> None:
    text = str(error)
    assert text.strip()
    assert "object at 0x" not in text
    assert not text.startswith("('")
    assert str(error.args) not in text


@pytest.mark.parametrize("error_class", _tree(), ids=lambda error: error.__name__)
def test_an_error_says_what_it_is_even_without_its_own_words(error_class: type[DfbatchError]) -> None:
    """Each class has a docstring of its own; it is the text where no argument was given."""
    assert error_class.__dict__.get("__doc__")


@pytest.mark.parametrize("error_class", _tree(), ids=lambda error: error.__name__)
def test_errors_take_positional_arguments_only(error_class: type[DfbatchError]) -> None:
    """A keyword-only argument would be lost when the error is pickled."""
    assert {parameter.kind for parameter in _parameters(error_class)} <= {inspect.Parameter.POSITIONAL_OR_KEYWORD}


def test_the_tree_in_the_docstring_is_the_real_tree() -> None:
    drawn = [line for line in (errors.__doc__ or "").splitlines() if line.startswith("    ")]
    drawn_pairs = [(_depth(line), _name(line)) for line in drawn]
    real_pairs = [(len(_path(error)) - 1, error.__name__) for error in _tree()]
    assert sorted(_edges(drawn_pairs)) == sorted(_edges(real_pairs))
    assert drawn_pairs == real_pairs, "the order differs from that of the classes"


def test_the_builtin_parents_in_the_docstring_are_real() -> None:
    """What stands in brackets after a name is a builtin that also catches the error."""
    for line in (errors.__doc__ or "").splitlines():
        name, _, rest = line.lstrip(" │├└─").partition(" (")
        parent, closed, _ = rest.partition(")")
        if closed and parent in vars(builtins):
            assert issubclass(getattr(errors, name), getattr(builtins, parent)), line


def test_item_errors_tell_whether_a_retry_can_help() -> None:
    temporary = {error.__name__ for error in _walk(errors.ItemError) if not error.permanent}
    assert temporary == {"ItemTimeout", "HostOutOfMemory", "GpuOutOfMemory", "WorkerCrash"}


def _depth(line: str) -> int:
    return (len(line) - len(line.lstrip(" │├└─")) - 4) // 4


def _name(line: str) -> str:
    return line.lstrip(" │├└─").split()[0]


def _path(error: type[DfbatchError]) -> list[type]:
    """From the root down to the error, through classes of the tree."""
    parents = [base for base in error.__bases__ if issubclass(base, DfbatchError)]
    return [*(_path(parents[0]) if parents else []), error]


def _edges(pairs: list[tuple[int, str]]) -> list[tuple[str, str]]:
    """(parent, child) of each line of a tree given as (depth, name)."""
    above: dict[int, str] = {-1: ""}
    edges = []
    for depth, name in pairs:
        above[depth] = name
        edges.append((above[depth - 1], name))
    return edges
