"""How outcomes are said in a terminal: a sign, a word and a colour each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfbatch.client.displays.wording import shorten, verdict_words

VERDICT_STYLES: Mapping[str, tuple[str, str]] = {
    "authentic": ("✓", "green"),
    "no_manipulation_found": ("○", "green"),
    "manipulated": ("✗", "bold red"),
    "ai_generated": ("◆", "bold magenta"),
    "inconclusive": ("?", "yellow"),
    "not_applicable": ("-", "dim"),
}
"""Verdict to its sign and style."""

STATUS_STYLES: Mapping[str, tuple[str, str]] = {
    "succeeded": ("✓", "green"),
    "failed": ("!", "bold red"),
    "expired": ("!", "bold red"),
    "cancelled": ("■", "dim"),
    "partial": ("!", "yellow"),
    "stalled": ("!", "yellow"),
    "running": ("▶", "blue"),
    "paused": ("‖", "dim"),
}
"""State of a job or batch to its sign and style."""


def outcome_words(row: Mapping[str, Any]) -> tuple[str, str]:
    """``(text, style)`` of one results row: its verdict, or why it has none."""
    verdict = row.get("verdict")
    if row["status"] == "succeeded" and verdict:
        sign, style = VERDICT_STYLES.get(verdict, ("?", ""))
        return f"{sign} {verdict_words(verdict)}", style
    return state_text(row["status"])


def state_text(status: str) -> tuple[str, str]:
    """``(text, style)`` of a state."""
    sign, style = STATUS_STYLES.get(status, ("…", "dim"))
    return f"{sign} {status}", style


def reason_words(row: Mapping[str, Any]) -> str:
    """Why: the first reason of a verdict, or the error and its sentence."""
    if row.get("error_type"):
        return f"{row['error_type']}: {shorten(row.get('error_message'), 300)}".removesuffix(": ")
    reasons = row.get("reasons") or []
    return shorten(reasons[0], 300) if reasons else ""


def type_words(media_type: str | None) -> str:
    """``image/jpeg`` as ``jpeg``."""
    return (media_type or "-").rpartition("/")[2].removeprefix("x-")


def file_words(row: Mapping[str, Any], parent: str, width: int) -> str:
    """The file below ``parent``, its end kept where it is too long; the job id for an item without a URI."""
    uri = row.get("uri")
    if not uri:
        return str(row["job_id"])
    name = shorten(uri.removeprefix(parent), 4096)
    return name if len(name) <= width else "…" + name[-(width - 1) :]


def common_parent(uris: list[str]) -> str:
    """The longest folder prefix, with its slash, that all of ``uris`` share; empty if there is none."""
    if not uris:
        return ""
    shared = min(uris), max(uris)
    length = 0
    for a, b in zip(*shared, strict=False):
        if a != b:
            break
        length += 1
    return shared[0][:length].rpartition("/")[0] + "/" if "/" in shared[0][:length] else ""


def size_words(size: float) -> str:
    """``812 B``, ``4.1 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def tally_words(numbers: Mapping[str, int]) -> str:
    """``12 no manipulation found, 4 manipulated``: greatest first."""
    ranked = sorted(numbers.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{number:,} {verdict_words(word)}" for word, number in ranked if number)
