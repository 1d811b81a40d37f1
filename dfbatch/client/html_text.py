"""Text on its way into HTML. File names and messages come from strangers: everything passes through here."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from dfbatch.client.verdict_style import Look, look

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
"""Control characters, and those that hide or turn round the text after them (a name can pose as another by them)."""


def visible(text: Any) -> str:
    """The text with characters that cannot be seen written as escapes, and all on one line."""
    spaced = re.sub(r"[\t\n\r]+", " ", str(text))
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", spaced)


def short(text: Any, most: int = 80) -> str:
    """At most ``most`` characters; a longer text keeps its end too, where a path has its name."""
    plain = visible(text)
    if len(plain) <= most:
        return plain
    head = (most - 1) // 3
    return f"{plain[:head]}…{plain[len(plain) - (most - 1 - head) :]}"


def clipped(text: Any, most: int) -> str:
    """At most ``most`` characters of the beginning."""
    plain = visible(text)
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def esc(text: Any, most: int | None = None) -> str:
    """Text safe in an element and in a quoted attribute."""
    return html.escape(visible(text) if most is None else clipped(text, most))


def esc_path(uri: str | None, most: int = 60) -> str:
    """A path or URI, shortened in its middle, with the whole of it (up to 500 characters) as the tooltip."""
    if uri is None:
        return "<i>given by value</i>"
    whole, shown = html.escape(short(uri, 500)), html.escape(short(uri, most))
    return f'<span style="white-space:nowrap" title="{whole}">{shown}</span>'


def esc_block(text: Any, most: int) -> str:
    """Text of several lines for a ``<pre>``."""
    lines = str(text)[:most].splitlines()
    more = "\n…" if len(str(text)) > most else ""
    return html.escape("\n".join(_UNSEEN.sub(lambda f: f"\\u{ord(f[0]):04x}", line) for line in lines) + more)


def size(n: int | None) -> str:
    """Bytes as people write them."""
    if n is None:
        return ""
    value = float(n)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def figure(value: float | None, digits: int = 2) -> str:
    """The number with so many decimal places; empty for None."""
    return "" if value is None else f"{value:.{digits}f}"


def seconds(value: float | None) -> str:
    """Seconds as people write them."""
    if value is None:
        return ""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 90:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(value: datetime | None) -> str:
    """Date, time to the second and zone; empty for None."""
    if value is None:
        return ""
    return f"{value:%Y-%m-%d %H:%M:%S} {value.tzname() or ''}".rstrip()


def bar(counts: Mapping[str, int], height: int = 14) -> str:
    """An inline SVG of the shares of verdicts or states, with its numbers as its title. Constant in size."""
    total = sum(counts.values())
    if not total:
        return ""
    label = ", ".join(f"{n:,} {look(key).label}" for key, n in counts.items())
    parts, x = [], 0.0
    widths = _widths([n / total for n in counts.values()])
    for key, width in zip(counts, widths, strict=True):
        parts.append(
            f'<rect x="{x:.2f}" y="0" width="{max(width - 0.3, 0.2):.2f}" height="10" fill="{look(key).colour}"/>'
        )
        x += width
    return (
        f'<svg role="img" aria-label="{esc(label)}" viewBox="0 0 100 10" preserveAspectRatio="none" '
        f'style="display:block;width:100%;height:{height}px;border-radius:4px">{"".join(parts)}</svg>'
    )


def _widths(shares: Iterable[float], least: float = 1.0) -> list[float]:
    """Percentages that sum to 100 and leave none too thin to see."""
    wide = [max(share * 100, least) for share in shares]
    return [width * 100 / sum(wide) for width in wide]


def dot(shown: Look) -> str:
    """A spot of the verdict's colour beside its word; the word takes the colour of the text, so any theme is fine."""
    return (
        f'<span style="white-space:nowrap"><span style="color:{shown.colour};font-weight:700" aria-hidden="true">'
        f"{esc(shown.sign)}</span> {esc(shown.label)}</span>"
    )


def facts_line(what: str, facts: Mapping[str, Any]) -> str:
    """One line for a handle in a notebook: what it is, then ``name value`` pairs; empty values are left out."""
    shown = "".join(
        f'<span style="margin-left:1em"><span style="opacity:.7">{esc(name, 40)}</span> {esc(value, 200)}</span>'
        for name, value in facts.items()
        if value not in (None, "")
    )
    return f'<div style="font-size:90%"><b>{esc(what, 80)}</b>{shown}</div>'
