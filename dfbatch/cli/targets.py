"""Files to be written are checked before the work starts, not after it."""

from __future__ import annotations

import os
from pathlib import Path

from dfbatch.errors import InvalidInput

_TABLE_SUFFIXES = (".parquet", ".csv", ".jsonl", ".json", ".arrow", ".feather")


def check_table_target(path: str | None) -> None:
    """Raises InvalidInput unless ``path`` is None or a table could be written there."""
    if path is not None:
        _check("--out", path, _TABLE_SUFFIXES)


def check_report_target(path: str | None) -> None:
    """Raises InvalidInput unless ``path`` is None or a report could be written there."""
    if path is not None:
        _check("--report", path, (".html", ".htm"))


def _check(option: str, path: str, suffixes: tuple[str, ...]) -> None:
    target = Path(path).expanduser()
    if target.suffix.lower() not in suffixes:
        raise InvalidInput(option, f"{path!r} does not end in {', '.join(suffixes)}")
    if "://" in path:
        return
    if target.is_dir():
        raise InvalidInput(option, f"{path!r} is a folder", "Give a file")
    folder = next(parent for parent in target.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InvalidInput(option, f"{path!r} cannot be written: {str(folder)!r} is no folder open to you")
