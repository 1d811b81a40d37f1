"""How outcomes are said in a terminal: a sign, a word and a colour each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from dfbatch.client.displays.wording import SYMBOLS, shorten, without_folder
from dfbatch.client.verdict_style import RANK, look, look_of
from dfbatch.core.states import BatchState

STYLES: Mapping[str, str] = {
    "authentic": "green",
    "no_manipulation_found": "cyan",
    "manipulated": "bold red",
    "ai_generated": "bold magenta",
    "inconclusive": "yellow",
    "succeeded": "green",
    "failed": "red",
    "expired": "red",
    "partial": "yellow",
    "stalled": "yellow",
    "running": "blue",
}
"""Terminal style by verdict or state; the others are dim."""


def outcome_words(row: Mapping[str, Any]) -> tuple[str, str]:
    """``(text, style)`` of one results row: sign and word of its verdict, or of its status where there is none."""
    seen = look_of(row)
    return f"{seen.sign} {seen.label}", STYLES.get(seen.key, "dim")


def state_text(status: str) -> tuple[str, str]:
    """``(text, style)`` of the state of a batch."""
    return f"{SYMBOLS[BatchState(status)]} {status}", STYLES.get(status, "dim")


def reason_words(row: Mapping[str, Any]) -> str:
    """Why: the first reason of a verdict, or the error and its sentence, without the file's name before it."""
    if row.get("error_type"):
        message = without_folder(row.get("error_message"), row.get("uri"))
        return f"{row['error_type']}: {shorten(message, 300)}".removesuffix(": ")
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
    name = shorten(_path(uri).removeprefix(parent), 4096)
    return name if len(name) <= width else "…" + name[-(width - 1) :]


def common_parent(uris: list[str]) -> str:
    """The longest folder prefix, with its slash, that all of ``uris`` share; empty if there is none."""
    if not uris:
        return ""
    paths = [_path(uri) for uri in uris]
    shared = min(paths), max(paths)
    length = 0
    for a, b in zip(*shared, strict=False):
        if a != b:
            break
        length += 1
    return shared[0][:length].rpartition("/")[0] + "/" if "/" in shared[0][:length] else ""


def _path(uri: str) -> str:
    """A ``file://`` URI, which stands for a name that is no valid text, as the path it means."""
    return unquote(uri.removeprefix("file://")) if uri.startswith("file:///") else uri


def size_words(size: float) -> str:
    """``812 B``, ``4.1 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def tally_words(numbers: Mapping[str, int]) -> str:
    """``2 failed, 4 manipulated, 12 no manipulation found``: what needs attention first."""
    ranked = sorted(numbers.items(), key=lambda pair: (RANK.get(pair[0], len(RANK)), pair[0]))
    return ", ".join(f"{number:,} {look(word).label}" for word, number in ranked if number)
