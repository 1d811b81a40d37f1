"""Findings of detectors as an HTML table: what applied, which way it points and how far, what it cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dfbatch.client.html_text import esc, esc_block, figure, seconds

_MOST = 60
_LLR_REACH = 3.0
"""Log likelihood ratios are shown on a scale from -3 to +3, to which they are clipped when they are calibrated."""


def findings_html(findings: Sequence[Mapping[str, Any]], most_facts: int = 2000) -> str:
    """A table of at most sixty findings, those that apply first, each with so many characters of its facts."""
    if not findings:
        return ""
    ordered = sorted(findings, key=lambda f: (not f.get("applicable"), -abs(f.get("llr") or 0.0)))
    body = "".join(_row(finding, most_facts) for finding in ordered[:_MOST])
    names = ("Method", "Score", "Weight of evidence", "What it says", "Cost")
    head = "".join(f'<th scope="col" style="{_CELL};font-weight:600">{name}</th>' for name in names)
    left = f"<p>… and {len(ordered) - _MOST} more findings.</p>" if len(ordered) > _MOST else ""
    return (
        '<table class="findings" style="border-collapse:collapse;font-size:12px;width:100%">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{left}"
    )


_CELL = "text-align:left;vertical-align:top;padding:3px 10px 3px 0;border-top:1px solid rgba(128,128,128,.3)"


def _row(finding: Mapping[str, Any], most_facts: int) -> str:
    applies = finding.get("applicable")
    name = f"{esc(finding.get('detector'), 60)} <small>{esc(finding.get('version') or '', 20)}</small>"
    cells = [
        name,
        figure(finding.get("score")) if applies else "",
        llr_scale(finding.get("llr")) if applies else "does not apply",
        esc(finding.get("reason") or "", 400) + _facts(finding.get("facts"), most_facts),
        seconds(finding.get("cost_s")),
    ]
    faint = "" if applies else ' style="opacity:.72"'
    return f"<tr{faint}>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells) + "</tr>"


def llr_scale(llr: float | None) -> str:
    """A log likelihood ratio as a bar left (towards genuine) or right (towards manipulated) of the middle."""
    if llr is None:
        return ""
    reach = min(abs(llr), _LLR_REACH) / _LLR_REACH * 50
    start = 50 if llr >= 0 else 50 - reach
    colour = "#d1383d" if llr >= 0 else "#2b86a8"
    side = "towards manipulated" if llr >= 0 else "towards genuine"
    return (
        f'<svg role="img" aria-label="{llr:+.2f}, {side}" width="72" height="10" viewBox="0 0 100 10" '
        'preserveAspectRatio="none" style="vertical-align:middle"><rect x="0" y="4" width="100" height="2" '
        f'fill="#8885"/><rect x="{start:.1f}" y="1" width="{max(reach, 1):.1f}" height="8" fill="{colour}"/>'
        f'<rect x="49.5" y="0" width="1" height="10" fill="#888"/></svg> {llr:+.2f}'
    )


def _facts(text: str | None, most: int) -> str:
    if not text:
        return ""
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    if not found:
        return ""
    if isinstance(found, dict):
        shown = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in found.items())
    else:
        shown = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    return (
        f'<details><summary>facts</summary><pre style="white-space:pre-wrap">{esc_block(shown, most)}</pre></details>'
    )
