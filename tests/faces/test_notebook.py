"""The notebook that users start with runs from top to bottom, and is stored without outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The outputs of each code cell of the quickstart, by a part of its source."""
    folder = tmp_path_factory.mktemp("quickstart")
    notebook = nbformat.read(NOTEBOOKS[0].parent / "quickstart.ipynb", as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DFBATCH_STORAGE_PATH", str(folder / "ledger"))
        resources = {"metadata": {"path": str(folder)}}
        _hold_until_waited_for(notebook)
        NotebookClient(notebook, timeout=400, kernel_name="python3", resources=resources).execute()
    return {cell.source: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def _hold_until_waited_for(notebook: Any) -> None:
    """A wait shows nothing of a batch that has ended before; here the work begins some time after the wait."""
    at = next(k for k, cell in enumerate(notebook.cells) if "client.verify(samples" in cell.source)
    resume = "import threading\nthreading.Timer(4.0, client.queue('verification').resume).start()"
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(resume))
    notebook.cells.insert(at, nbformat.v4.new_code_cell("_ = client.queue('verification').pause()"))


def outputs_of(cells: dict[str, list[Any]], part: str) -> list[Any]:
    return next(outputs for source, outputs in cells.items() if part in source)


@pytest.mark.timeout(500)
def test_the_quickstart_runs_and_shows_cards_tables_and_evidence(quickstart: dict[str, list[Any]]) -> None:
    for part in ("batch.wait();", "results = ", "alarming.explain(0)", "batch.failures()"):
        shown = [output["data"] for output in outputs_of(quickstart, part) if "data" in output]
        assert any("text/html" in data and "text/plain" in data for data in shown), part


@pytest.mark.timeout(500)
def test_nothing_but_results_is_printed(quickstart: dict[str, list[Any]]) -> None:
    """No worker log, no warning and no progress of Ray reaches a cell."""
    assert [o["text"] for outputs in quickstart.values() for o in outputs if o["output_type"] == "stream"] == []
