"""Why one item got its verdict: the evidence, as text and as HTML with pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dfbatch.client.findings_html import findings_html
from dfbatch.client.html_text import clipped, dot, esc, esc_block, figure, moment, seconds, short, size
from dfbatch.client.thumbnails import Thumbnail, artifact_thumbnail, item_thumbnail
from dfbatch.client.verdict_style import look_of, provenance_words

_PICTURES = 6


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row of the results (``row``) with the pictures that go with it: ``(caption, picture)``."""

    row: Mapping[str, Any]
    pictures: tuple[tuple[str, Thumbnail], ...] = ()

    def __str__(self) -> str:
        return "\n".join(_text(self.row))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return _html(self)


def explain_row(row: Mapping[str, Any], read: Callable[[str], bytes | None] | None = None) -> Explanation:
    """The explanation of one results row; ``read`` gives files of the ledger."""
    pictures = [("the item", item_thumbnail(row.get("uri"), row.get("sha256"), 240, read))]
    for finding in row.get("findings") or []:
        if finding.get("artifact") and len(pictures) < _PICTURES:
            pictures.append((str(finding["detector"]), artifact_thumbnail(finding["artifact"], 240, read)))
    return Explanation(row, tuple((name, shown) for name, shown in pictures if shown.data_uri or shown.note))


def facts(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known of the file and of the run, as (name, text) pairs; unknown ones are left out."""
    tried = f"{row.get('attempts') or 0}"
    if row.get("worker_deaths"):
        tried += f", and {row['worker_deaths']} deaths of a worker"
    where = " on ".join(str(part) for part in (row.get("worker_id"), row.get("node")) if part)
    pairs = [
        ("Kind", row.get("media_type")),
        ("Size", size(row.get("size"))),
        ("SHA-256", row.get("sha256")),
        ("Content Credentials", provenance_words(row.get("provenance")) if row.get("verdict") else ""),
        ("Trust list", (row.get("provenance") or {}).get("trust_list")),
        ("Examined", moment(row.get("finished_at"))),
        ("Took", seconds(row.get("duration_s"))),
        ("Attempts", tried),
        ("Worker", where),
        ("Verifier", row.get("verifier_fingerprint")),
        ("Model", row.get("model_fingerprint")),
        ("Taken over from", row.get("reused_from")),
    ]
    return [(name, str(value)) for name, value in pairs if value]


def headline(row: Mapping[str, Any]) -> str:
    """Verdict and figures, or the state and the error, in one plain line."""
    if not row.get("verdict"):
        error = f": {row['error_type']}: {row.get('error_message') or ''}" if row.get("error_type") else ""
        return look_of(row).label + error
    figures = [("p manipulated", row.get("p_manipulated")), ("coverage", row.get("coverage"))]
    told = ", ".join(f"{name} {figure(value)}" for name, value in figures if value is not None)
    return look_of(row).label + (f" ({told})" if told else "")


def _text(row: Mapping[str, Any]) -> list[str]:
    lines = [f"{row.get('job_id') or ''}  {short(row.get('uri') or 'given by value', 200)}", "", _line(headline(row))]
    lines += [f"  - {_line(reason)}" for reason in row.get("reasons") or []]
    lines += ["", *(f"{name + ':':<21}{_line(value)}" for name, value in facts(row))]
    found = row.get("findings") or []
    if found:
        lines += ["", "Findings"]
        lines += [f"  {_finding(finding)}" for finding in found]
    for name in ("input", "output"):
        if row.get(name) is not None:
            lines += ["", f"{name.capitalize()}: {clipped(row[name], 1000)}"]
    if row.get("traceback"):
        lines += ["", *str(row["traceback"]).rstrip().splitlines()[-40:]]
    return lines


def _line(text: Any) -> str:
    return clipped(text, 2000)


def _finding(finding: Mapping[str, Any]) -> str:
    name = f"{finding.get('detector')} {finding.get('version')}"
    if not finding.get("applicable"):
        return f"{name:<28} does not apply: {_line(finding.get('reason'))}"
    figures = [f"score {figure(finding['score'])}"] if finding.get("score") is not None else []
    figures += [f"llr {finding['llr']:+.2f}"] if finding.get("llr") is not None else []
    told = ", ".join([*figures, seconds(finding.get("cost_s"))]).strip(", ")
    return f"{name:<28} {told}: {_line(finding.get('reason'))}"


def _html(explanation: Explanation) -> str:
    row = explanation.row
    reasons = "".join(f"<li>{esc(reason, 500)}</li>" for reason in (row.get("reasons") or [])[:20])
    pairs = "".join(
        f'<tr><td style="text-align:left;padding:1px 12px 1px 0;opacity:.75;white-space:nowrap">{esc(name)}</td>'
        f'<td style="text-align:left;padding:1px 0;overflow-wrap:anywhere">{esc(value, 300)}</td></tr>'
        for name, value in facts(row)
    )
    return (
        '<div style="font-size:13px;line-height:1.45;max-width:60em">'
        f'<div style="overflow-wrap:anywhere"><b>{esc(row.get("job_id") or "")}</b> '
        f"{esc(short(row.get('uri') or 'given by value', 300))}</div>"
        f'<div style="font-size:15px;margin:6px 0">{dot(look_of(row))} &ensp; {_figures(row)}</div>'
        f"{_error(row)}"
        + (f'<ul style="margin:0 0 8px;padding-left:1.4em">{reasons}</ul>' if reasons else "")
        + _pictures(explanation.pictures)
        + findings_html(row.get("findings") or [])
        + f'<table style="border-collapse:collapse;font-size:12px;margin-top:8px">{pairs}</table></div>'
    )


def _figures(row: Mapping[str, Any]) -> str:
    figures = [("p manipulated", row.get("p_manipulated")), ("coverage", row.get("coverage"))]
    return " &nbsp; ".join(
        f'<span style="opacity:.75">{name}</span> {figure(value)}' for name, value in figures if value is not None
    )


def _error(row: Mapping[str, Any]) -> str:
    if not row.get("error_type"):
        return ""
    story = esc_block(row.get("traceback") or "", 8000)
    return f"<div><b>{esc(row['error_type'], 80)}</b>: {esc(row.get('error_message') or '', 600)}</div>" + (
        f"<details><summary>Traceback</summary><pre>{story}</pre></details>" if story else ""
    )


def _pictures(pictures: tuple[tuple[str, Thumbnail], ...]) -> str:
    if not pictures:
        return ""
    shown = "".join(
        '<figure style="display:inline-block;margin:0 12px 8px 0;vertical-align:top;font-size:12px">'
        + (
            f'<img src="{p.data_uri}" alt="{esc(name, 60)}" width="{p.width}" height="{p.height}">'
            if p.data_uri
            else ""
        )
        + f"<figcaption>{esc(name, 60)} {esc(p.note)}</figcaption></figure>"
        for name, p in pictures
    )
    return f"<div>{shown}</div>"
