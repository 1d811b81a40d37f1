"""Which display fits where the user is."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

from dfbatch.client.displays.display import NullDisplay, ProgressDisplay
from dfbatch.client.displays.html_display import HtmlDisplay
from dfbatch.client.displays.log_display import LogDisplay
from dfbatch.client.displays.tqdm_display import TqdmDisplay
from dfbatch.config import resolve


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Facts about where progress would be shown."""

    notebook: bool
    terminal: bool
    bars_disabled: bool = False
    colour: bool = True


def surroundings(stream: TextIO, environ: Mapping[str, str]) -> Surroundings:
    """The facts about this process and ``stream``; imports nothing."""
    return Surroundings(
        notebook=_in_notebook_kernel(),
        terminal=bool(getattr(stream, "isatty", lambda: False)()),
        bars_disabled=environ.get("TQDM_DISABLE", "").lower() not in ("", "0", "false"),
        colour=not environ.get("NO_COLOR"),
    )


def choose_mode(mode: str, around: Surroundings) -> str:
    """One of ``html``, ``tqdm``, ``log`` and ``off`` for a value of DFBATCH_PROGRESS.

    ``auto`` is ``html`` in a notebook kernel, ``tqdm`` in a terminal, else ``log``.
    ``widget`` draws the same card as ``html`` in this release. TQDM_DISABLE turns
    ``auto`` and ``tqdm`` off; other explicit choices stand.
    """
    if around.bars_disabled and mode in ("auto", "tqdm"):
        return "off"
    if mode == "auto":
        return "html" if around.notebook else "tqdm" if around.terminal else "log"
    if mode in ("widget", "html"):
        return "html" if around.notebook else "log"
    return mode


def make_display(mode: str, around: Surroundings, stream: TextIO) -> ProgressDisplay:
    """A fresh display for one wait."""
    match choose_mode(mode, around):
        case "html":
            return HtmlDisplay()
        case "tqdm":
            return TqdmDisplay(stream, colour=around.colour)
        case "log":
            return LogDisplay(stream)
        case _:
            return NullDisplay()


def default_display(mode: str | None = None) -> ProgressDisplay:
    """The display for this process: ``mode``, else DFBATCH_PROGRESS, else ``auto``; text goes to stderr.

    Raises InvalidInput for a mode that is not known.
    """
    return make_display(resolve(progress=mode).progress, surroundings(sys.stderr, os.environ), sys.stderr)


def _in_notebook_kernel() -> bool:
    """True in a Jupyter kernel; IPython in a terminal has no ``kernel``."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None
