"""The report of a batch: one HTML file that needs nothing else, to be read, printed and kept with the case."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfbatch.client.html_text import bar, esc, moment
from dfbatch.client.report_items import item_html
from dfbatch.client.report_style import CSS
from dfbatch.client.report_text import about_html, failures_html, key_html, limits_html
from dfbatch.client.results_html import shares
from dfbatch.client.results_write import whole_file
from dfbatch.client.thumbnails import Thumbnail, item_thumbnail
from dfbatch.client.verdict_style import RANK
from dfbatch.errors import InvalidInput, StorageRefused
from dfbatch.version import __version__

if TYPE_CHECKING:
    from dfbatch.client.results import ReadFile, Results

MOST_ROWS = 1_000
MOST_CHARACTERS = 16_000_000
MOST_PICTURES = 200
MOST_PICTURE_CHARACTERS = 4_000_000
"""A report lists so many rows, and holds so much text and so many pictures; what is left out is said in it."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def write_report(
    results: Results,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    batch_info: Mapping[str, Any] | None = None,
    read: ReadFile | None = None,
    made_at: datetime | None = None,
) -> str:
    """Write the report to ``path`` (``.html``; local or a URI) and return it in full.

    ``batch_info`` is shown under "About this run" in its order: what was checked, when, by which version and with
    which options. ``read`` gives files of the ledger, for pictures of items given by value. ``made_at`` is aware.
    Raises InvalidInput for another suffix, StorageRefused if the file cannot be written.
    """
    target = os.fspath(path)
    if os.path.splitext(target)[1].lower() not in (".html", ".htm"):
        raise InvalidInput("path", f"'{target}' is no name for an HTML file", "End it in .html")
    if "://" not in target:
        target = os.path.abspath(os.path.expanduser(target))
    try:
        with whole_file(target) as file:
            for part in report_html(results, title, batch_info or {}, read, made_at or datetime.now(UTC)):
                file.write(part.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise StorageRefused(f"'{target}' could not be written: {error}. Check the folder and its rights.") from error
    return target


def report_html(
    results: Results, title: str | None, batch_info: Mapping[str, Any], read: ReadFile | None, made_at: datetime
) -> Iterator[str]:
    """The report, part by part."""
    counted = shares(results)
    name = title or f"Batch {batch_info.get('name') or batch_info.get('batch_id') or ''}".strip()
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="generator" content="dfbatch {esc(__version__)}"><title>{esc(name, 200)}</title>'
        f"<style>{CSS}</style></head><body>"
    )
    noun = "item" if len(results) == 1 else "items"
    yield (
        '<header><div><p class="eyebrow">Verification report</p>'
        f'<h1>{esc(name, 200)}</h1><p class="soft">{len(results):,} {noun}, report made {esc(moment(made_at))} '
        f"by dfbatch {esc(__version__)}</p></div></header><main>"
    )
    yield f"<section><h2>Outcome</h2>{bar(counted, 22)}{key_html(counted)}</section>"
    yield '<p class="note">This report supports, and does not replace, an examiner.</p>'
    yield about_html(batch_info, digest(results.to_arrow()))
    yield failures_html(results)
    yield from _items(results, read)
    yield limits_html(results)
    yield (
        "</main><footer><div>Made by dfbatch "
        f"{esc(__version__)} on {esc(moment(made_at))}. The full results, with every finding, are in the ledger and in "
        "what <code>results.write()</code> saves.</div></footer></body></html>\n"
    )


def digest(table: pa.Table) -> str:
    """SHA-256 over one line per row, in the order of the results: job id, SHA-256 of the item, status, verdict.

    The four are separated by tabs, a missing one is empty, and each line ends with a line feed, so that anybody can
    compute it again from saved results.
    """
    found = hashlib.sha256()
    names = ["job_id", "sha256", "status", "verdict"]
    columns = [pc.fill_null(table.column(name), "") for name in names]
    lines = pc.binary_join_element_wise(*columns, "\t")
    for start in range(0, len(lines), 100_000):
        part = lines.slice(start, 100_000).to_pylist()
        found.update("".join(f"{line}\n" for line in part).encode())
    return found.hexdigest()


def ordered(results: Results) -> pa.Table:
    """The rows that a report lists: what needs attention first, else in the order of the batch."""
    table = results.to_arrow()
    shown = pc.coalesce(table.column("verdict"), table.column("status"))
    ranks = pc.fill_null(pc.index_in(shown, value_set=pa.array(list(RANK))), len(RANK)).to_numpy()
    return table.take(pa.array(np.argsort(ranks, kind="stable")[:MOST_ROWS]))


def _items(results: Results, read: ReadFile | None) -> Iterator[str]:
    """The table of items. Its length is bounded, and what is missing is said below it."""
    rows = ordered(results)
    yield (
        '<section><h2>Items</h2><table class="items"><caption>What needs attention stands first: failures, then '
        'manipulated and AI generated items, then inconclusive ones.</caption><thead><tr><th scope="col">Picture</th>'
        '<th scope="col">Item</th><th scope="col">Verdict</th><th scope="col">Why</th>'
        '<th scope="col">Provenance</th></tr></thead><tbody>'
    )
    pictures = Pictures(read)
    length = listed = 0
    for start in range(0, len(rows), 64):
        for row in rows.slice(start, 64).to_pylist():
            if length > MOST_CHARACTERS:
                break
            part = item_html(row, pictures.of(row))
            length += len(part)
            listed += 1
            yield part
    yield "</tbody></table>"
    left = len(results) - listed
    if left:
        noun = "item is" if left == 1 else "items are"
        yield f'<p class="note">{left:,} more {noun} not listed here; they are in the saved results.</p>'
    if pictures.left_out:
        yield f"<p><small>Pictures left out to keep the report small: {pictures.left_out:,}.</small></p>"
    yield "</section>"


class Pictures:
    """Small pictures of items while the budget lasts."""

    def __init__(self, read: ReadFile | None) -> None:
        self._read = read
        self._made = self._length = 0
        self.left_out = 0

    def of(self, row: Mapping[str, Any]) -> Thumbnail:
        """The picture of an item (a row of the results), without one if it is no image or the budget is spent."""
        if not str(row.get("media_type") or "").startswith("image/"):
            return Thumbnail(None)
        if self._made >= MOST_PICTURES or self._length >= MOST_PICTURE_CHARACTERS:
            self.left_out += 1
            return Thumbnail(None)
        made = item_thumbnail(row.get("uri"), row.get("sha256"), 192, self._read)
        if made.data_uri:
            self._made += 1
            self._length += len(made.data_uri)
        return made
