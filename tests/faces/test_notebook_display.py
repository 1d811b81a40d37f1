"""The progress card in a real kernel: one output, static at the end, with plain text beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

_SETTING = """
import time
from dfbatch.client.displays.choice import default_display
from dfbatch.client.displays.live_card import LiveCard
from dfbatch.client.progress_display import watch
from dfbatch.core.progress import ProgressSnapshot
from dfbatch.core.states import BatchState

class Work:
    # Its time passes while it is asked or waited for, and at no other moment.

    def __init__(self, seconds, fails_at=None, is_held=False):
        self.now, self.seconds, self.fails_at, self.is_held = 0.0, seconds, fails_at, is_held

    def poll(self, max_wait_s):
        self.pass_time(min(max_wait_s, 0.05))
        if self.fails_at is not None and self.now > self.fails_at:
            raise KeyboardInterrupt
        done = min(50 if self.is_held else 100, int(100 * self.now / self.seconds))
        status = BatchState.SUCCEEDED if done == 100 else BatchState.RUNNING
        return ProgressSnapshot("k3f2m9qx", None, status, 100, {"succeeded": done}, elapsed_s=self.now)

    def pass_time(self, seconds):
        self.now += seconds

    def clock(self):
        return self.now

def show(work, mode=None):
    display = default_display(mode)
    display._clock = work.clock
    _ = watch(work.poll, display, None, work.clock, work.pass_time)
"""


@pytest.fixture(scope="module")
def run_cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., list[Any]]]:
    """Runs one more cell in a kernel that this module shares, and gives its outputs."""
    folder: Path = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.v4.new_notebook()
    client = NotebookClient(notebook, timeout=110, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    with client.setup_kernel():

        def run(source: str, allow_errors: bool = False) -> list[Any]:
            client.allow_errors = allow_errors
            cell = nbformat.v4.new_code_cell(source)
            notebook.cells.append(cell)
            client.execute_cell(cell, len(notebook.cells) - 1)
            return list(cell.outputs)

        run(_SETTING)
        yield run


def test_a_wait_leaves_one_static_card_with_plain_text(run_cells: Callable[..., list[Any]]) -> None:
    outputs = run_cells("show(Work(1.5))")
    assert [output["output_type"] for output in outputs] == ["display_data"]
    data = outputs[0]["data"]
    assert "✓" in data["text/html"]
    assert "100 %" in data["text/html"]
    assert data["text/plain"].startswith("k3f2m9qx: ✓ succeeded, 100 of 100 (100 %)")


def test_a_batch_that_is_over_at_once_leaves_one_line(run_cells: Callable[..., list[Any]]) -> None:
    outputs = run_cells("show(Work(0.2))")
    assert len(outputs) == 1
    assert "dfb-strip" in outputs[0]["data"]["text/html"]


def test_an_interrupted_wait_leaves_the_card_and_the_way_back(run_cells: Callable[..., list[Any]]) -> None:
    outputs = run_cells("show(Work(60, fails_at=1.0))", allow_errors=True)
    assert [output["output_type"] for output in outputs] == ["display_data", "display_data", "error"]
    assert "is not updated" in outputs[0]["data"]["text/html"]
    assert 'client.attach("k3f2m9qx").cancel()' in outputs[1]["data"]["text/plain"]
    assert outputs[2]["ename"] == "KeyboardInterrupt"


def test_a_live_card_reaches_its_own_cell_while_others_run(run_cells: Callable[..., list[Any]]) -> None:
    """The thread paints into the output of the cell that made the card, not into the one that runs."""
    shown = run_cells("work = Work(1.0, is_held=True)\ncard = LiveCard(work.poll).start()\ncard")
    assert len(shown) == 1
    later = run_cells("work.is_held = False\nwhile card.is_live: time.sleep(0.05)")
    assert later == []
    assert "100 %" in shown[0]["data"]["text/html"]


def test_progress_off_leaves_nothing(run_cells: Callable[..., list[Any]]) -> None:
    assert run_cells("show(Work(0.8), 'off')") == []
