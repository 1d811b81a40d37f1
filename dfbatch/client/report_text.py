"""The parts of the report around its items: the key, the run, the failures, the limits of the method."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dfbatch.client.html_text import esc, moment
from dfbatch.client.report_items import anchor
from dfbatch.client.verdict_style import look

if TYPE_CHECKING:
    from dfbatch.client.results import Results

_MOST_GROUPS = 40
_MOST_PAIRS = 60
_LISTED = 25

_LABELS = {
    "batch_id": "Batch",
    "submitted_at": "Submitted",
    "started_at": "Started",
    "finished_at": "Finished",
    "elapsed_s": "Took (s)",
    "n_jobs": "Items",
    "client_version": "dfbatch version",
    "version": "dfbatch version",
    "verifier_name": "Verifier",
    "verifier_fingerprint": "Verifier fingerprint",
    "model_fingerprint": "Model fingerprint",
    "timeout_s": "Time limit per item (s)",
}

_LIMITS = (
    "A verdict is about traces in a file, not about the truth of what the file shows. A genuine photograph can "
    "mislead, and an edited one can be honest.",
    "“No manipulation found” is not “authentic”. It says that the methods that apply to the item found nothing.",
    "Methods that look for traces of editing lose much of their power once a file was resized, compressed again, "
    "photographed from a screen or sent through a messenger. Absence of traces then means little.",
    "A method that does not apply is counted as missing, never as a clean result. Coverage (0 to 1) says how much of "
    "the evidence that could exist for an item was there.",
    "The probability p weighs the findings together. It was calibrated on development media; on other kinds of media "
    "it can be off, and it is no error rate for this collection.",
    "Where few items of a collection are manipulated, many of those that are flagged can be false alarms, however "
    "good the method. Look at the evidence of each flagged item.",
    "Content Credentials say who signed a file and whether its bytes changed since. Without them nothing follows, and "
    "credentials that do not match are also found on honest files after a harmless edit.",
)


def key_html(counts: Mapping[str, int]) -> str:
    """Every outcome that occurs, with its number, its share and what it means."""
    total = sum(counts.values())
    lines = []
    for name, n in counts.items():
        shown = look(name)
        lines.append(
            f'<li><span class="sign" style="color:{shown.colour}" aria-hidden="true">{esc(shown.sign)}</span>'
            f'<span><span class="n">{n:,}</span> <b>{esc(shown.label)}</b> '
            f'<span class="share">{_percent(n, total)}</span></span>'
            f"<small>{esc(shown.meaning)}</small></li>"
        )
    return f'<ul class="key">{"".join(lines)}</ul>'


def about_html(batch_info: Mapping[str, Any], digest: str) -> str:
    """The section on the run: what is known of the batch, and the digest of its results with how to repeat it."""
    pairs = "".join(
        f"<dt>{esc(_label(name), 60)}</dt><dd{_mono(name)}>{_value(value)}</dd>"
        for name, value in list(batch_info.items())[:_MOST_PAIRS]
        if value is not None
    )
    return (
        f'<section><h2>About this run</h2><dl>{pairs}<dt>Digest of the results</dt><dd><span class="mono">{digest}'
        "</span><br><small>SHA-256 over one line per item (job id, SHA-256, status and verdict, separated by tabs), in "
        "the order of the batch. Anyone who has the saved results can compute it again.</small></dd></dl></section>"
    )


def failures_html(results: Results) -> str:
    """Failures by kind, with the first items of each; nothing if there are none."""
    groups = results.errors()
    if not groups:
        return ""
    body = "".join(
        f'<tr><td class="num">{group.n:,}</td><td><b>{esc(group.error_type, 80)}</b></td>'
        f"<td>{esc(group.message, 400)}{_listed(results, group.error_type, group.n)}</td></tr>"
        for group in groups[:_MOST_GROUPS]
    )
    left = len(groups) - _MOST_GROUPS
    more = f"<p>… and {left:,} more kinds of failure.</p>" if left > 0 else ""
    return (
        '<section><h2>Failures</h2><table class="failures"><caption>Nothing is known about these items. The message is '
        'that of the first of each kind.</caption><thead><tr><th scope="col" class="num">Items</th>'
        f'<th scope="col">Error</th><th scope="col">What it means</th></tr></thead><tbody>{body}</tbody></table>{more}'
        "</section>"
    )


def limits_html(results: Results) -> str:
    """What the verdicts do not say; left out for results of user code, which has limits of its own."""
    if results["verdict"].null_count == len(results):
        return ""
    return (
        "<section><h2>How far these verdicts go</h2>"
        f'<ul class="limits">{"".join(f"<li>{esc(limit)}</li>" for limit in _LIMITS)}</ul>'
        "<p>The SHA-256 of an item was taken of its bytes before anything decoded them. Pictures in this report were "
        "made when it was written, and only of files whose SHA-256 was still the same.</p></section>"
    )


def _listed(results: Results, error_type: str, n: int) -> str:
    rows = results.filter(error_type=error_type)[:_LISTED]
    lines = "".join(f"<li>{_link(row)} {esc(row['uri'] or 'given by value', 160)}</li>" for row in rows)
    more = f"<li>… and {n - _LISTED:,} more</li>" if n > _LISTED else ""
    return f"<details><summary>Which items</summary><ul>{lines}{more}</ul></details>" if lines else ""


def _link(row: Mapping[str, Any]) -> str:
    name = esc(row["job_id"] or "")
    return f'<a href="#{name}">{name}</a>' if anchor(row["job_id"]) else name


def _percent(n: int, total: int) -> str:
    share = 100 * n / total
    return f"{share:.0f} %" if share >= 10 or share == 0 else f"{share:.1f} %" if share >= 0.1 else "under 0.1 %"


def _label(name: str) -> str:
    plain = str(name).replace("_", " ")
    return _LABELS.get(name, plain if plain == "dfbatch" else plain.capitalize())


def _mono(name: str) -> str:
    return ' class="mono"' if str(name).endswith("fingerprint") else ""


def _value(value: Any) -> str:
    if isinstance(value, datetime):
        return esc(moment(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, Mapping):
        return "<br>".join(f"{esc(k, 60)}: {esc(v, 200)}" for k, v in list(value.items())[:_MOST_PAIRS])
    if isinstance(value, list | tuple):
        return "<br>".join(esc(part, 200) for part in value[:_MOST_PAIRS])
    return esc(value, 400)
