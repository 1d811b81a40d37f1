"""One item of the report: a line that says what was found, and the evidence folded below it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from dfbatch.client.displays.wording import without_folder
from dfbatch.client.explain import facts
from dfbatch.client.findings_html import findings_html
from dfbatch.client.html_text import clipped, dot, esc, esc_block, figure, short
from dfbatch.client.thumbnails import Thumbnail
from dfbatch.client.verdict_style import look_of, provenance_words

_JOB_ID = re.compile(r"[0-9a-z]{8}-[0-9]+")
_MOST_REASONS = 8
_MOST_COLUMNS = 40


def item_html(row: Mapping[str, Any], picture: Thumbnail) -> str:
    """Two table rows: the item, and its evidence in ``<details>``."""
    return (
        f'<tr class="item"{anchor(row.get("job_id"))}><td class="picture"><div>{_picture(row, picture)}</div></td>'
        f"<td>{_name(row)}</td>"
        f'<td><div class="verdict">{dot(look_of(row))}</div>{_figures(row)}</td>'
        f"<td>{_why(row)}</td><td>{_provenance(row)}</td></tr>"
        f'<tr class="more"><td colspan="5">{_details(row)}</td></tr>'
    )


def anchor(job_id: str | None) -> str:
    """An ``id`` attribute for a job that the list of failures can point to."""
    return f' id="{job_id}"' if job_id and _JOB_ID.fullmatch(job_id) else ""


def _picture(row: Mapping[str, Any], picture: Thumbnail) -> str:
    if picture.data_uri:
        return f'<img src="{picture.data_uri}" alt="">'  # the name stands beside it
    kind = str(row.get("media_type") or "").partition("/")[2] or "no picture"
    return esc(picture.note or kind, 60)


def _name(row: Mapping[str, Any]) -> str:
    uri = row.get("uri")
    name = os.path.basename(str(uri).rstrip("/")) if uri else "given by value"
    folder = os.path.dirname(str(uri)) if uri else ""
    return (
        f'<div class="name">{esc(short(name, 90))}</div><div class="path">{esc(short(folder, 120))}</div>'
        f'<div class="path">{esc(row.get("job_id") or "")}</div>'
    )


def _figures(row: Mapping[str, Any]) -> str:
    pairs = (("p", "probability that it was manipulated", "p_manipulated"), ("coverage", "", "coverage"))
    told = [
        (f'<abbr title="{title}">{name}</abbr>' if title else name) + f" {figure(row[key])}"
        for name, title, key in pairs
        if row.get(key) is not None
    ]
    return f'<div class="figures">{", ".join(told)}</div>' if told else ""


def _why(row: Mapping[str, Any]) -> str:
    if row.get("error_type"):
        message = without_folder(row.get("error_message"), row.get("uri"))
        return f"<b>{esc(row['error_type'], 80)}</b><br>{esc(message, 400)}"
    reasons = list(row.get("reasons") or [])
    if not reasons and row.get("output") is not None:
        reasons = [clipped(_plain_output(row["output"]), 300)]
    shown = "".join(f"<li>{esc(reason, 300)}</li>" for reason in reasons[:_MOST_REASONS])
    more = f"<li>… and {len(reasons) - _MOST_REASONS} more</li>" if len(reasons) > _MOST_REASONS else ""
    return f'<ul class="reasons">{shown}{more}</ul>' if shown else ""


def _plain_output(output: Any) -> Any:
    return output["value"] if isinstance(output, dict) and list(output) == ["value"] else output


def _provenance(row: Mapping[str, Any]) -> str:
    found = row.get("provenance")
    if not found:
        return ""
    ai = '<div class="path">Declares that AI made it.</div>' if found.get("ai_declared") else ""
    said = "".join(f'<div class="path">{esc(failure, 120)}</div>' for failure in (found.get("failures") or [])[:4])
    return f"{esc(provenance_words(found), 160)}{ai}{said}"


def _details(row: Mapping[str, Any]) -> str:
    findings = row.get("findings") or []
    applying = sum(bool(finding.get("applicable")) for finding in findings)
    if findings:
        label = f"Evidence: {applying} of {len(findings)} methods apply"
    else:
        label = "Details"
    pairs = "".join(_pair(name, value) for name, value in facts(row))
    carried = row.get("input")
    if isinstance(carried, dict):
        pairs += "".join(_pair(name, value) for name, value in list(carried.items())[:_MOST_COLUMNS])
    story = esc_block(row["traceback"], 6000) if row.get("traceback") else ""
    trace = f"<details><summary>Traceback</summary><pre>{story}</pre></details>" if story else ""
    return (
        f'<details><summary>{label}</summary><div class="inside">{findings_html(findings, 600)}'
        f"<dl>{pairs}</dl>{trace}</div></details>"
    )


def _pair(name: Any, value: Any) -> str:
    long = ' class="mono"' if name == "SHA-256" else ""
    return f"<div><dt>{esc(name, 60)}</dt><dd{long}>{esc('' if value is None else value, 300)}</dd></div>"
