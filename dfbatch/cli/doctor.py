"""``dfbatch doctor``: what is installed, what this machine has, and which settings are in force."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import typer

from dfbatch.cli.exit_codes import ExitCode
from dfbatch.cli.options import JsonOption, StorageOption
from dfbatch.errors import DfbatchError
from dfbatch.version import __version__

_NEEDED = ("ray", "deltalake", "pyarrow", "numpy", "pillow", "c2pa-python", "av", "soundfile", "pyhanko", "pikepdf")
_OPTIONAL = ("ipywidgets", "ipykernel", "scikit-image", "scikit-learn", "pandas", "polars")
_LEAST_FREE_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried. ``problem`` says what is wrong and what to do, or is None."""

    name: str
    value: str
    problem: str | None = None


def doctor(storage: StorageOption = None, json_: JsonOption = False) -> None:
    """Check this installation and show every setting and where it came from."""
    from dfbatch.cli.screen import print_json, stdout
    from dfbatch.config import resolve

    settings = resolve(storage_path=storage)
    checks = [*versions(), *machine(), check_storage_path(settings.storage_path)]
    problems = [check for check in checks if check.problem]
    if json_:
        print_json(
            {
                "ok": not problems,
                "checks": [{"name": c.name, "value": c.value, "problem": c.problem} for c in checks],
                "settings": [{"name": n, "value": v, "origin": o} for n, v, o in settings.rows()],
            }
        )
    else:
        _show(stdout(), checks, settings.rows())
    if problems:
        raise typer.Exit(ExitCode.COULD_NOT_RUN)


def versions() -> list[Check]:
    """Python, dfbatch and the packages it stands on, without importing any of them."""
    found = [Check("dfbatch", __version__), Check("python", platform.python_version())]
    for package in _NEEDED:
        version = _version(package)
        problem = None if version else f"not installed; run: python -m pip install {package}"
        found.append(Check(package, version or "missing", problem))
    return found + [Check(package, _version(package) or "not installed (optional)") for package in _OPTIONAL]


def machine() -> list[Check]:
    """Cores and memory that this process may use, and shared memory for Ray's object store."""
    import os

    import psutil

    from dfbatch.cli.wording import size_words

    memory = psutil.virtual_memory()
    found = [
        Check("platform", f"{platform.system()} {platform.release()} {platform.machine()}"),
        Check("cores", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())),
        Check("memory", f"{size_words(memory.available)} free of {size_words(memory.total)}"),
    ]
    if sys.platform == "linux":
        found.append(Check("shared memory", f"{size_words(psutil.disk_usage('/dev/shm').free)} free in /dev/shm"))
    return found


def check_storage_path(path: str) -> Check:
    """Writes, reads and deletes a small file under the storage path."""
    from dfbatch.cli.wording import size_words
    from dfbatch.ledger.probe import check_storage
    from dfbatch.ledger.storage import open_storage

    try:
        storage = open_storage(path)
        check_storage(storage)
        free = storage.free_bytes()
    except DfbatchError as error:
        return Check("storage", path, str(error))
    room = "" if free is None else f", {size_words(free)} free"
    scarce = free is not None and free < _LEAST_FREE_BYTES
    return Check("storage", f"{path} is writable{room}", "less than 1 GB is free; make room" if scarce else None)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _show(console: Any, checks: list[Check], settings: list[tuple[str, Any, str]]) -> None:
    from rich.text import Text

    width = max(len(check.name) for check in checks)
    for check in checks:
        sign, style = ("✗", "bold red") if check.problem else ("✓", "green")
        line = Text.assemble((f"{sign} ", style), (f"{check.name:<{width}}  ", "dim"), check.value)
        if check.problem:
            line.append(f" ({check.problem})", "red")
        console.print(line, soft_wrap=True)
    console.print("\nSettings", style="bold")
    for name, value, origin in settings:
        shown = "not set" if value is None else str(value)
        console.print(Text.assemble((f"  {name:<{width}}  ", "dim"), shown, (f"  ({origin})", "dim")), soft_wrap=True)
