"""A batch as HTML: the card and the one-line strip. Pure functions of a snapshot; everything is escaped."""

from __future__ import annotations

import html
from collections.abc import Mapping

from dfbatch.client.displays.card_style import STYLE
from dfbatch.client.displays.wording import (
    SYMBOLS,
    WAITING_STATES,
    attach_line,
    duration_words,
    overall_rate,
    rate_words,
    shorten,
    state_words,
    whole_percent,
    worked,
)
from dfbatch.client.verdict_style import RANK, look
from dfbatch.core.progress import ProgressSnapshot
from dfbatch.core.states import BatchState

_SEGMENTS = ("succeeded", "failed", "expired", "cancelled", "running", "cancelling", "retrying")
"""Job states with a colour in the bar, in this order; the rest of the bar is waiting."""

_TOP_ERRORS = 4
_TOP_VERDICTS = 6


def batch_card(snapshot: ProgressSnapshot, live: bool = True) -> str:
    """The card: state, bar, counts, pace, errors and how to attach. A few kilobytes, whatever the batch holds."""
    return (
        f'{STYLE}<div class="dfb dfb-{snapshot.status.value}" role="status">'
        f"{_head(snapshot)}{_bar(snapshot)}{_counts(snapshot)}{_pace(snapshot)}"
        f"{_reason(snapshot)}{_verdicts(snapshot)}{_errors(snapshot)}{_foot(snapshot, live)}</div>"
    )


def batch_strip(snapshot: ProgressSnapshot) -> str:
    """One line of HTML for a batch that is not worth a card: it was over at once."""
    took = f"{_n(worked(snapshot))} items in {duration_words(snapshot.elapsed_s)}"
    return (
        f'{STYLE}<div class="dfb dfb-strip dfb-{snapshot.status.value}" role="status">{_badge(snapshot)}'
        f"{_name(snapshot)}<span>{took}</span><code>{_text(snapshot.batch_id, 40)}</code></div>"
    )


def _head(snapshot: ProgressSnapshot) -> str:
    percent = "" if snapshot.total is None else f"{whole_percent(snapshot)} %"
    return (
        f'<div class="dfb-head">{_badge(snapshot)}{_name(snapshot)}'
        f'<code>{_text(snapshot.batch_id, 40)}</code><b class="dfb-percent">{percent}</b></div>'
    )


def _badge(snapshot: ProgressSnapshot) -> str:
    sign = SYMBOLS[snapshot.status]
    return f'<span class="dfb-badge"><i aria-hidden="true">{sign}</i> {_text(state_words(snapshot), 60)}</span>'


def _name(snapshot: ProgressSnapshot) -> str:
    return f'<span class="dfb-name">{_text(snapshot.name, 60)}</span>' if snapshot.name else ""


def _bar(snapshot: ProgressSnapshot) -> str:
    whole = max(snapshot.total or 0, sum(snapshot.counts.values()), 1)
    parts = []
    for state in _SEGMENTS:
        number = snapshot.counts.get(state, 0)
        if number:
            share = 100.0 * number / whole
            parts.append(f'<i class="dfb-{state}" style="width:{share:.2f}%" title="{_n(number)} {state}"></i>')
    label = f"{whole_percent(snapshot)} % done" if snapshot.total is not None else f"{_n(worked(snapshot))} done so far"
    return f'<div class="dfb-bar" role="img" aria-label="{label}">{"".join(parts)}</div>'


def _counts(snapshot: ProgressSnapshot) -> str:
    waiting = sum(snapshot.counts.get(state, 0) for state in WAITING_STATES)
    paused = snapshot.status is BatchState.PAUSED
    shown = [(state, state, snapshot.counts.get(state, 0)) for state in _SEGMENTS]
    shown.append(("queued", "waiting" if paused else "queued", waiting))
    items = [
        f'<span><i class="dfb-dot dfb-{state}"></i><b>{_n(number)}</b> {word}</span>'
        for state, word, number in shown
        if number
    ]
    of = "stream still open" if snapshot.total is None else f"of {_n(snapshot.total)}"
    return f'<div class="dfb-counts">{"".join(items)}<span class="dfb-soft">{of}</span></div>'


def _pace(snapshot: ProgressSnapshot) -> str:
    facts = []
    rate = overall_rate(snapshot)
    if rate > 0:
        facts.append(("mean rate" if snapshot.status.is_terminal else "rate", rate_words(rate)))
    facts.append(("took" if snapshot.status.is_terminal else "elapsed", duration_words(snapshot.elapsed_s)))
    if not snapshot.status.is_terminal:
        if snapshot.eta_s is not None:
            facts.append(("left", f"about {duration_words(snapshot.eta_s)}"))
        facts.append(("workers", _n(snapshot.workers)))
    if snapshot.queue and snapshot.queue != "verification":
        facts.append(("queue", _text(snapshot.queue, 40)))
    return '<div class="dfb-pace">' + "".join(f"<span>{k} <b>{v}</b></span>" for k, v in facts) + "</div>"


def _reason(snapshot: ProgressSnapshot) -> str:
    return f'<div class="dfb-reason">{_text(snapshot.reason, 400)}</div>' if snapshot.reason else ""


def _verdicts(snapshot: ProgressSnapshot) -> str:
    ranked = sorted(_ranked(snapshot.verdicts), key=lambda pair: RANK.get(pair[0], len(RANK)))
    if not ranked:
        return ""
    items = "".join(f"<span><b>{_n(n)}</b> {_text(look(word).label, 40)}</span>" for word, n in ranked[:_TOP_VERDICTS])
    return f'<div class="dfb-verdicts"><span class="dfb-soft">verdicts</span>{items}</div>'


def _errors(snapshot: ProgressSnapshot) -> str:
    ranked = _ranked(snapshot.errors)
    if not ranked:
        return ""
    items = "".join(f"<span><b>{_n(n)}</b> &times; {_text(kind, 60)}</span>" for kind, n in ranked[:_TOP_ERRORS])
    more = len(ranked) - _TOP_ERRORS
    rest = f'<span class="dfb-soft">and {_n(more)} more {"kind" if more == 1 else "kinds"}</span>' if more > 0 else ""
    return f'<div class="dfb-errors"><span class="dfb-soft">errors</span>{items}{rest}</div>'


def _foot(snapshot: ProgressSnapshot, live: bool) -> str:
    stale = not live and not snapshot.status.is_terminal
    hint = "This card is not updated; batch.show() gives one that is. From any session" if stale else "From any session"
    return f'<div class="dfb-foot">{hint}: <code>{_text(attach_line(snapshot.batch_id), 60)}</code></div>'


def _ranked(numbers: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(((word, n) for word, n in numbers.items() if n), key=lambda pair: (-pair[1], pair[0]))


def _n(number: int) -> str:
    return f"{number:,}"


def _text(text: str | None, limit: int) -> str:
    return html.escape(shorten(text, limit))
