"""Results as tables of at most 80 columns. Built from Arrow: only the rows that are shown become Python objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dfbatch.cli.wording import (
    common_parent,
    file_words,
    outcome_words,
    reason_words,
    state_text,
    tally_words,
    type_words,
)
from dfbatch.client.displays.wording import shorten
from dfbatch.client.verdict_style import RANK

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

_FILE_WIDTH = 24
_SHOWN = ("job_id", "job_index", "uri", "media_type", "status", "verdict", "reasons", "error_type", "error_message")


def rows_to_show(results: pa.Table, limit: int) -> list[int]:
    """Positions of at most ``limit`` rows (0: all), in order; failures and alarming verdicts are kept first."""
    n = len(results)
    if not limit or n <= limit:
        return list(range(n))
    import numpy as np

    words = outcomes(results).combine_chunks().dictionary_encode()
    ranks = np.array([RANK.get(word, len(RANK)) for word in words.dictionary.to_pylist()])
    order = np.argsort(ranks[np.asarray(words.indices)], kind="stable")[:limit]
    return sorted(int(position) for position in order)


def python_rows(results: pa.Table, positions: list[int]) -> list[dict[str, Any]]:
    """The shown columns of some rows."""
    names = [name for name in _SHOWN if name in results.column_names]
    found: list[dict[str, Any]] = results.select(names).take(positions).to_pylist()
    return found


def results_table(rows: list[dict[str, Any]]) -> Table:
    """File, type, verdict and first reason of each row."""
    from rich.text import Text

    table = _table()
    table.add_column("file", no_wrap=True, width=_FILE_WIDTH)
    table.add_column("type", no_wrap=True, max_width=9)
    table.add_column("verdict", max_width=17)
    table.add_column("reason", ratio=1, overflow="fold")
    parent = common_parent([row["uri"] for row in rows if row.get("uri")])
    for row in rows:
        words, style = outcome_words(row)
        file = Text(file_words(row, parent, _FILE_WIDTH))
        table.add_row(file, Text(type_words(row.get("media_type"))), Text(words, style), Text(reason_words(row)))
    return table


def failures_table(rows: list[dict[str, Any]]) -> Table:
    """Job id, file and error of each failed row."""
    from rich.text import Text

    table = _table()
    table.add_column("job", no_wrap=True, max_width=17)
    table.add_column("file", no_wrap=True, width=_FILE_WIDTH)
    table.add_column("error", ratio=1, overflow="fold")
    parent = common_parent([row["uri"] for row in rows if row.get("uri")])
    for row in rows:
        file = file_words(row, parent, _FILE_WIDTH) if row.get("uri") else "-"
        table.add_row(Text(row["job_id"]), Text(file), Text(reason_words(row)))
    return table


def batches_table(rows: list[dict[str, Any]]) -> Table:
    """Id, name, state, items and submission of each batch."""
    from rich.text import Text

    table = _table()
    table.add_column("batch", no_wrap=True, min_width=8)
    table.add_column("name", no_wrap=True, overflow="ellipsis")
    table.add_column("state", no_wrap=True, min_width=12)
    table.add_column("items", justify="right", no_wrap=True, min_width=11)
    table.add_column("submitted", no_wrap=True, min_width=16)
    for row in rows:
        words, style = state_text(row["status"])
        items = "open stream" if row["n_jobs"] is None or row["n_jobs"] < 0 else f"{row['n_jobs']:,}"
        when = row["submitted_at"].astimezone().strftime("%Y-%m-%d %H:%M") if row["submitted_at"] else "-"
        name = row["name"] or (row["verifier_name"] or "-").rpartition(".")[2]
        table.add_row(Text(row["batch_id"]), Text(shorten(name, 60)), Text(words, style), Text(items), Text(when))
    return table


def outcomes(results: pa.Table) -> Any:
    """The verdict of each row, or its status where there is none, as one column of text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    verdict, status = (results[name].cast(pa.string()) for name in ("verdict", "status"))
    return pc.coalesce(verdict, status)


def tally(results: pa.Table) -> dict[str, int]:
    """How many rows have each verdict; rows without one count under their status."""
    return _counted(outcomes(results))


def summary_line(results: pa.Table) -> str:
    """``24 items: 12 no manipulation found, 4 manipulated, 3 failed``."""
    n = len(results)
    return f"{n:,} item{'' if n == 1 else 's'}: {tally_words(tally(results))}" if n else "No items."


def _counted(words: Any) -> dict[str, int]:
    return {str(entry["values"]): int(entry["counts"]) for entry in words.value_counts().to_pylist()}


def _table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
