"""A class that was edited while a batch of it runs: the user is told, once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

CELL = """
class Check:
    def __init__(self, gate=None):
        self.gate = gate

    def __call__(self, item):
        import os, time
        while self.gate and not os.path.exists(self.gate):
            time.sleep(0.01)
        return ANSWER
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    with InProcess(tmp_path / "ledger") as found:
        yield found


@pytest.fixture
def cell() -> Callable[[str], Any]:
    """Runs the cell of a notebook that defines Check, and gives the class."""

    def run(answer: str) -> Any:
        space: dict[str, Any] = {"__name__": "__main__"}
        exec(CELL.replace("ANSWER", answer), space)
        return space["Check"]

    return run


def told(client: Any, verifier: Any, **init: Any) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        batch = client.map(verifier, range(3), init=init)
    return batch, [str(w.message) for w in seen if "has changed since batch" in str(w.message)]


def test_an_edit_is_told_while_the_earlier_batch_runs_and_each_batch_runs_its_own_code(
    client: Any, cell: Callable[[str], Any], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    first, nothing = told(client, cell("item"), gate=str(gate))
    second, words = told(client, cell("10 * item"))
    third, no_more = told(client, cell("10 * item"))
    gate.touch()
    assert nothing == no_more == []
    assert len(words) == 1
    assert first.id in words[0]
    assert "Check" in words[0]
    assert "cancel" in words[0]
    assert [b.results(60).values() for b in (first, second, third)] == [[0, 1, 2], [0, 10, 20], [0, 10, 20]]


def test_the_same_cell_run_again_with_other_arguments_is_no_edit(
    client: Any, cell: Callable[[str], Any], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    first, _ = told(client, cell("item"), gate=str(gate))
    _, words = told(client, cell("item"))
    gate.touch()
    assert words == []
    first.wait(60)


def test_an_edit_after_the_batch_has_ended_is_nobodys_business(client: Any, cell: Callable[[str], Any]) -> None:
    told(client, cell("item"))[0].wait(60)
    assert told(client, cell("10 * item"))[1] == []


def test_lambdas_share_a_name_and_are_different_things(client: Any, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")

    def slow(item: int) -> int:
        import os
        import time

        while not os.path.exists(gate):
            time.sleep(0.01)
        return item

    running, _ = told(client, slow)
    assert told(client, lambda item: item)[1] == []
    assert told(client, lambda item: item + 1)[1] == []
    (tmp_path / "gate").touch()
    running.wait(60)
