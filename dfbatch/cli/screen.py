"""Where things are printed: results on stdout, notes on stderr."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def stdout() -> Console:
    """For what the user asked to see."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def stderr() -> Console:
    """For notes beside it."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def command(*arguments: str) -> str:
    """A command line that can be copied: ``dfbatch``, or its path where the shell would not find it."""
    called = sys.argv[0]
    found = shutil.which("dfbatch")
    name = "dfbatch"
    if os.path.basename(called) == name and (found is None or not os.path.samefile(found, called)):
        name = min(os.path.relpath(called), called, key=len)
    return shlex.join([name, *arguments])


def print_json(value: Any) -> None:
    """One JSON document on stdout. Instants become ISO 8601 text, bytes hex, NaN null."""
    json.dump(_plain(value), sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


def print_facts(console: Console, facts: Sequence[tuple[str, str]]) -> None:
    """Lines of a name and a value; a value is never cut, so that a path can be copied."""
    width = max((len(name) for name, _ in facts), default=0)
    for name, value in facts:
        console.print(f"{name:<{width}}  ", style="dim", end="")
        console.print(value, markup=False, soft_wrap=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, str | int | bool) else str(value)
