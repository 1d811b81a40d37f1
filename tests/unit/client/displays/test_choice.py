"""Which display is chosen: by the place, the environment and the argument."""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import pytest

from dfbatch.client.displays.choice import Surroundings, choose_mode, default_display, make_display, surroundings
from dfbatch.client.displays.display import NullDisplay
from dfbatch.client.displays.html_display import HtmlDisplay
from dfbatch.client.displays.log_display import LogDisplay
from dfbatch.client.displays.tqdm_display import TqdmDisplay
from dfbatch.errors import InvalidInput

NOTEBOOK = Surroundings(notebook=True, terminal=False)
TERMINAL = Surroundings(notebook=False, terminal=True)
PIPE = Surroundings(notebook=False, terminal=False)


@pytest.mark.parametrize(
    ("mode", "around", "chosen"),
    [
        ("auto", NOTEBOOK, "html"),
        ("auto", TERMINAL, "tqdm"),
        ("auto", PIPE, "log"),
        ("widget", NOTEBOOK, "html"),  # one card for both in this release
        ("html", PIPE, "log"),  # nowhere to show HTML
        ("tqdm", PIPE, "tqdm"),  # asked for, so given
        ("off", NOTEBOOK, "off"),
        ("auto", replace(TERMINAL, bars_disabled=True), "off"),
        ("tqdm", replace(TERMINAL, bars_disabled=True), "off"),
        ("log", replace(TERMINAL, bars_disabled=True), "log"),
    ],
)
def test_the_display_fits_where_the_user_is(mode: str, around: Surroundings, chosen: str) -> None:
    assert choose_mode(mode, around) == chosen


@pytest.mark.parametrize(
    ("mode", "kind"), [("html", HtmlDisplay), ("tqdm", TqdmDisplay), ("log", LogDisplay), ("off", NullDisplay)]
)
def test_one_factory_makes_them_all(mode: str, kind: type) -> None:
    assert isinstance(make_display(mode, NOTEBOOK, io.StringIO()), kind)


def test_an_argument_stands_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBATCH_PROGRESS", "off")
    assert isinstance(default_display(), NullDisplay)
    assert isinstance(default_display("log"), LogDisplay)


def test_an_unknown_mode_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBATCH_PROGRESS", "fancy")
    with pytest.raises(InvalidInput, match=r"DFBATCH_PROGRESS.*tqdm"):
        default_display()


@pytest.mark.parametrize(
    ("environ", "disabled", "colour"),
    [
        ({}, False, True),
        ({"TQDM_DISABLE": "1"}, True, True),
        ({"TQDM_DISABLE": "0"}, False, True),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, False, True),  # the standard: only a value that is not empty counts
    ],
)
def test_the_wishes_in_the_environment_are_heard(environ: dict[str, str], disabled: bool, colour: bool) -> None:
    around = surroundings(io.StringIO(), environ)
    assert (around.bars_disabled, around.colour, around.terminal) == (disabled, colour, False)


def test_a_closed_or_missing_stream_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not surroundings(None, {}).terminal  # type: ignore[arg-type]
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not surroundings(io.StringIO(), {}).notebook
