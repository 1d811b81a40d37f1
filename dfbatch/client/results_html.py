"""Results in a notebook: at most twenty rows, a bounded number of bytes, no script, and any theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from dfbatch.client.displays.wording import without_folder
from dfbatch.client.html_text import bar, dot, esc, esc_path, figure, seconds
from dfbatch.client.verdict_style import RANK, look, look_of

if TYPE_CHECKING:
    from dfbatch.client.results import Results

ROWS = 20
_GROUPS = 5
_LINE = "border-top:1px solid rgba(128,128,128,.3)"
_CELL = f'style="text-align:left;vertical-align:top;padding:4px 10px 4px 0;{_LINE}"'
_HEAD = 'style="text-align:left;padding:4px 10px 4px 0;font-weight:600;white-space:nowrap"'


def results_html(results: Results) -> str:
    """A summary, the failures in groups and the first rows. All text is escaped and shortened."""
    verified = "verdict" in results.column_names and results["verdict"].null_count < len(results)
    return (
        '<div style="font-size:13px;line-height:1.45;max-width:100%;overflow-x:auto">'
        f"{_summary(results, verified)}{_failures(results)}{_table(results, verified)}</div>"
    )


def shares(results: Results) -> dict[str, int]:
    """Rows by verdict, and by status where there is no verdict, in the order of attention."""
    names = results.column_names
    if "verdict" not in names:
        return results.counts("status")
    shown = pc.coalesce(results["verdict"], results["status"])
    found = {pair["values"]: pair["counts"] for pair in pc.value_counts(shown).to_pylist()}
    return {key: found[key] for key in sorted(found, key=lambda key: RANK.get(key, len(RANK)))}


def _summary(results: Results, verified: bool) -> str:
    counted = shares(results)
    words = " &nbsp; ".join(f"{dot(look(key))} <b>{n:,}</b>" for key, n in counted.items())
    noun = "item" if len(results) == 1 else "items"
    return (
        f'<div style="margin-bottom:4px"><b>{len(results):,} {noun}</b> &nbsp; {words}</div>'
        f'<div style="max-width:36em;margin-bottom:8px">{bar(counted, 8)}</div>'
    )


def _failures(results: Results) -> str:
    groups = results.errors()
    if not groups:
        return ""
    lines = [
        f"<li><b>{group.n:,} &times; {esc(group.error_type, 60)}</b> {esc(group.message, 160)}</li>"
        for group in groups[:_GROUPS]
    ]
    if len(groups) > _GROUPS:
        lines.append(f"<li>… and {len(groups) - _GROUPS} more kinds; see <code>results.errors()</code></li>")
    return f'<ul style="margin:0 0 8px;padding-left:1.4em">{"".join(lines)}</ul>'


def _table(results: Results, verified: bool) -> str:
    columns = _verified_columns if verified else _mapped_columns
    body = "".join(
        "<tr>" + "".join(f"<td {_CELL}>{cell}</td>" for cell in columns(row).values()) + "</tr>"
        for row in results[:ROWS]
    )
    first: dict[str, Any] = results[0] if len(results) else {}
    head = "".join(f"<th {_HEAD}>{name}</th>" for name in columns(first))
    more = len(results) - ROWS
    rest = f'<div style="opacity:.75;margin-top:4px">… and {more:,} more rows</div>' if more > 0 else ""
    return (
        f'<table style="border-collapse:collapse;font-size:12px"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>{rest}"
    )


def _verified_columns(row: dict[str, Any]) -> dict[str, str]:
    reasons = row.get("reasons") or []
    error = f"{row.get('error_type') or ''}: {without_folder(row.get('error_message'), row.get('uri'))}"
    told = " ".join(reasons) if row.get("verdict") else error
    return {
        "#": esc(row.get("job_index", ""), 20),
        "item": esc_path(row.get("uri"), 44),
        "verdict": dot(look_of(row)),
        "p manipulated": figure(row.get("p_manipulated")),
        "coverage": figure(row.get("coverage")),
        "why": esc(told.strip(": "), 140),
        "time": f'<span style="white-space:nowrap">{seconds(row.get("duration_s"))}</span>',
    }


def _mapped_columns(row: dict[str, Any]) -> dict[str, str]:
    told = row.get("error_type") and f"{row['error_type']}: {row.get('error_message') or ''}"
    return {
        "#": esc(row.get("job_index", ""), 20),
        "input": esc(_brief(row.get("input"), ("item", "item_json")) or row.get("uri") or "", 60),
        "status": dot(look_of(row)),
        "output": esc(told or _brief(row.get("output"), ("value",)), 140),
        "time": f'<span style="white-space:nowrap">{seconds(row.get("duration_s"))}</span>',
    }


def _brief(struct: Any, names: tuple[str, ...]) -> str:
    """A struct's single value if that is all it holds, else the struct."""
    if not isinstance(struct, dict):
        return "" if struct is None else str(struct)
    if set(struct) <= set(names):
        return next((str(value) for value in struct.values() if value is not None), "None")
    return ", ".join(f"{key}={value!r:.60}" for key, value in list(struct.items())[:8])
