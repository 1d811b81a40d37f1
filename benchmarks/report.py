"""Tables and files of benchmark results: 80 columns to read, JSON to keep."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

WIDTH = 80


@dataclasses.dataclass(frozen=True, slots=True)
class Measurement:
    """One run: ``mode`` is "cold" or "warm", or what the benchmark calls it; ``seconds`` of wall time."""

    system: str
    mode: str
    items: int
    seconds: float

    @property
    def items_per_s(self) -> float:
        return self.items / self.seconds

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """The runs of one system in one mode. ``spread`` is (slowest - fastest) / median seconds."""

    system: str
    mode: str
    items: int
    runs: int
    median_s: float
    spread: float

    @property
    def items_per_s(self) -> float:
        return self.items / self.median_s


def summarize(rows: Iterable[Measurement]) -> list[Summary]:
    """One summary for each (system, mode, items), in the order in which they first occur."""
    groups: dict[tuple[str, str, int], list[float]] = {}
    for row in rows:
        groups.setdefault((row.system, row.mode, row.items), []).append(row.seconds)
    summaries = []
    for (system, mode, items), times in groups.items():
        median = statistics.median(times)
        summaries.append(Summary(system, mode, items, len(times), median, (max(times) - min(times)) / median))
    return summaries


def ratio(summary: Summary, base: Summary) -> float:
    """How many times as many items a second as ``base``."""
    return summary.items_per_s / base.items_per_s


def table(rows: Sequence[Measurement], base: str | None = None) -> str:
    """A table of at most 80 columns. ``base``: the system that ratios refer to, mode by mode.

    A ratio above 1 is faster than the base; "-" where the base has no such mode.
    """
    summaries = summarize(rows)
    bases = {summary.mode: summary for summary in summaries if summary.system == base}
    lines = [f"{'system':<28} {'mode':<5} {'items':>10} {'median s':>9} {'spread':>7} {'items/s':>10} {'ratio':>5}"]
    lines.append("-" * WIDTH)
    for summary in summaries:
        against = bases.get(summary.mode)
        times = "-" if against is None else _short(ratio(summary, against))
        lines.append(
            f"{summary.system[:28]:<28} {summary.mode[:5]:<5} {summary.items:>10,} {summary.median_s:>9.3f} "
            f"{summary.spread:>7.0%} {summary.items_per_s:>10,.0f} {times:>5}"
        )
    return "\n".join(lines)


def print_table(rows: Sequence[Measurement], base: str | None = None) -> None:
    print(table(rows, base))


def save(rows: Sequence[Measurement], folder: str | Path, name: str) -> Path:
    """Write ``<folder>/<name>.json``: the runs, and on what they ran."""
    path = Path(folder) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), "runs": [row.as_dict() for row in rows]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def machine() -> dict[str, Any]:
    """What one needs to know to compare: no host name, no path."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: version(package) for package in ("ray", "deltalake", "pyarrow", "numpy")},
    }


def _short(number: float) -> str:
    """Three digits, whatever the size: 0.012, 1.25, 38.0, 412."""
    return f"{number:.3g}" if number < 100 else f"{number:.0f}"
