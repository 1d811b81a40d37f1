"""``dfbatch metrics``: what the manager of a ledger sampled of itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfbatch.cli.options import JsonOption, LimitOption, StorageOption
from dfbatch.errors import InvalidInput

if TYPE_CHECKING:
    from rich.table import Table

_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="How long ago the first sample may be: 90s, 15m, 2h, 1d.")
]
QueueOption = Annotated[str | None, typer.Option("--queue", metavar="NAME", help="Of this queue only.")]


def metrics(
    storage: StorageOption = None,
    since: SinceOption = None,
    queue: QueueOption = None,
    limit: LimitOption = 20,
    json_: JsonOption = False,
) -> None:
    """Show the newest samples: jobs, rates and latencies of each queue, as they were saved in the ledger."""
    from dfbatch.cli.reading import open_reader
    from dfbatch.cli.screen import print_json, stdout
    from dfbatch.client.metrics import saved_samples, since_when

    begin = since_when(None if since is None else seconds_of(since), datetime.now(UTC))
    reader, root = open_reader(storage)
    rows: list[dict[str, Any]] = saved_samples(reader, begin).to_pylist()
    rows = [row for row in rows if queue is None or row["queue"] == queue]
    shown = rows[-limit:] if limit else rows
    if json_:
        print_json({"storage": root, "metrics": shown})
        return
    console = stdout()
    if not rows:
        console.print(f"No samples in {root} that match. They are taken while work is done, and saved twice a minute.")
        return
    console.print(_table(shown))
    if len(shown) < len(rows):
        console.print(f"... and {len(rows) - len(shown):,} older ones; --limit 0 shows all.", style="dim")


def seconds_of(text: str) -> float:
    """The seconds of ``90``, ``90s``, ``15m``, ``2h`` or ``1d``. Raises InvalidInput."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        return float(number) * _UNITS[unit]
    except ValueError:
        raise InvalidInput("--since", f"{text!r} is no time", "Give 90s, 15m, 2h or 1d") from None


def _table(rows: list[dict[str, Any]]) -> Table:
    """At most 80 columns wide; instants in the time of this machine."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    in_a_day = rows[-1]["at"] - rows[0]["at"] < timedelta(days=1)
    table.add_column("time", no_wrap=True)
    table.add_column("queue", no_wrap=True, overflow="ellipsis", max_width=12)
    for name in ("waiting", "running", "done/s", "failed", "run p95", "wait p95", "workers"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))  # a figure is never cut
    for row in rows:
        waiting = row["queued"] + row["scheduled"] + row["retrying"] + row["paused"]
        workers = row["workers_idle"] + row["workers_running"] + row["workers_breaker_open"]
        figures = map(_figure, (waiting, row["running"], row["finished_per_s"], row["failed"]))
        latencies = (_short(row["run_p95_s"]), _short(row["wait_p95_s"]))
        style = "yellow" if row["breakers_open"] else ""
        when = row["at"].astimezone().strftime("%H:%M:%S" if in_a_day else "%m-%d %H:%M")
        table.add_row(when, Text(row["queue"]), *figures, *latencies, f"{workers:,}", style=style)
    return table


def _figure(value: float) -> str:
    """Seven characters at most."""
    if isinstance(value, float) and value < 1_000:
        return f"{value:.1f}"
    for unit, size in (("", 1), ("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)):
        if value < 100_000 * size:
            return f"{value / size:,.0f}{unit}"
    return "many"


def _short(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 1.0:
        return f"{seconds * 1_000:.{0 if seconds > 0.0995 else 1}f} ms"
    return f"{seconds:.1f} s" if seconds < 1_000 else f"{seconds / 60:,.0f} min"
