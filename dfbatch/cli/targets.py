"""Files to be written are checked before the work starts, not after it."""

from __future__ import annotations

import os
from pathlib import Path

from dfbatch.errors import InvalidInput

_TABLE_SUFFIXES = (".parquet", ".csv", ".jsonl")


def check_table_target(path: str | None) -> None:
    """Raises InvalidInput unless ``path`` is None or a table could be written there."""
    if path is not None:
        _check("--out", path, _TABLE_SUFFIXES)


def check_report_target(path: str | None) -> None:
    """Raises InvalidInput unless ``path`` is None or a report could be written there."""
    if path is not None:
        _check("--report", path, (".html", ".htm"))


def _check(option: str, path: str, suffixes: tuple[str, ...]) -> None:
    target = Path(path)
    if target.suffix.lower() not in suffixes:
        raise InvalidInput(option, f"{path!r} does not end in {', '.join(suffixes)}")
    if target.is_dir():
        raise InvalidInput(option, f"{path!r} is a folder", "Give a file")
    folder = target.parent
    if not folder.is_dir():
        raise InvalidInput(option, f"there is no folder {str(folder)!r}", "Make it first")
    if not os.access(folder, os.W_OK):
        raise InvalidInput(option, f"the folder {str(folder)!r} cannot be written to", "Give another file")
