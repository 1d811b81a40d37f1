"""``import dfbatch`` is cheap: a notebook cell, a shell completion and a worker all pay for it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

LIMIT_S = 0.3
TRIES = 3
PATIENCE_S = 100
"""For a process that only imports; a busy machine may take long to start it."""
HEAVY = ("ray", "pyarrow", "deltalake", "numpy", "pandas", "polars", "PIL", "av", "c2pa", "ipywidgets", "IPython")
HEAVY_FACES = ("fastapi", "pydantic", "typer", "rich", "tqdm")


def import_in_fresh_process(statement: str) -> tuple[float, set[str]]:
    """(CPU seconds, top-level modules loaded) of the statement in a new interpreter.

    All its threads are counted, and the kernel's work for it; what other processes took meanwhile is not ours to judge.
    """
    code = (
        "import json, sys, time\n"
        "start = time.process_time()\n"
        f"{statement}\n"
        "seconds = time.process_time() - start\n"
        "print(json.dumps([seconds, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    seconds, modules = json.loads(run.stdout)
    return seconds, set(modules)


def test_importing_dfbatch_takes_less_than_a_third_of_a_second() -> None:
    """The best of several: the first may have to fetch the files from the disk."""
    assert min(import_in_fresh_process("import dfbatch")[0] for _ in range(TRIES)) < LIMIT_S


def test_the_clock_of_that_test_sees_what_an_import_does() -> None:
    """An import that only computes for longer than the limit would be noticed."""
    busy = f"end = time.process_time() + {LIMIT_S}\nwhile time.process_time() < end: pass"
    assert import_in_fresh_process(busy)[0] >= LIMIT_S


def test_importing_dfbatch_loads_nothing_heavy() -> None:
    _, modules = import_in_fresh_process("import dfbatch")
    assert modules & {*HEAVY, *HEAVY_FACES, "asyncio"} == set()


@pytest.mark.parametrize(
    "statement",
    [
        "import dfbatch; dfbatch.Retry(max_attempts=2)",
        "import dfbatch; dfbatch.JobFailed('k3f2m9qx-1')",
        "import dfbatch; dfbatch.BatchState.RUNNING.is_terminal",
        "import dfbatch; dfbatch.ProgressSnapshot",
        "from dfbatch.config import resolve; resolve(environment={})",
    ],
)
def test_small_public_names_stay_cheap(statement: str) -> None:
    _, modules = import_in_fresh_process(statement)
    assert modules & {*HEAVY, *HEAVY_FACES} - {"numpy"} == set()


def test_help_of_the_command_line_does_not_load_ray() -> None:
    _, modules = import_in_fresh_process("import dfbatch.cli.app")
    assert modules & {"ray", "ipywidgets", "IPython", "fastapi", "pandas", "polars"} == set()


def test_the_client_loads_neither_widgets_nor_faces() -> None:
    _, modules = import_in_fresh_process("from dfbatch import connect, Client, Batch, Results")
    assert modules & {"ipywidgets", "IPython", "fastapi", "typer", "pandas", "polars"} == set()


def test_looking_around_in_dfbatch_loads_nothing() -> None:
    """Completion calls ``dir``; it must not import the client."""
    _, modules = import_in_fresh_process("import dfbatch; assert 'connect' in dir(dfbatch)")
    assert "ray" not in modules
