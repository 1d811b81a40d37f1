"""Tables and files of benchmark results: 80 columns to read, JSON to keep, and goals that are met or not."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

WIDTH = 80
RESULTS = Path(__file__).parent / "results.json"
"""The committed results: one section for each benchmark, with the machine and the date of its run."""


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


@dataclasses.dataclass(frozen=True, slots=True)
class Goal:
    """A bound that was set before anything was measured. ``at_least``: greater is better.

    ``note`` says what one must know to read the number, such as how many runs it comes from.
    """

    name: str
    bound: float
    measured: float
    unit: str
    at_least: bool = False
    note: str = ""

    @property
    def met(self) -> bool:
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    def as_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "met": self.met}


@dataclasses.dataclass(slots=True)
class Findings:
    """What one benchmark found: runs, goals, and further facts as plain JSON."""

    runs: list[Measurement] = dataclasses.field(default_factory=list)
    goals: list[Goal] = dataclasses.field(default_factory=list)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "machine": machine(),
            "goals": [goal.as_dict() for goal in self.goals],
            "runs": [row.as_dict() for row in self.runs],
            "facts": self.facts,
        }


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least the share ``q`` of all values does not exceed; never an interpolated one."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(q * 1000) * len(ordered) // 1000) - 1))]


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
        times = "-" if against is None else short(ratio(summary, against))
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


def goals_table(goals: Sequence[Goal]) -> str:
    """Goal, measured, met or NOT MET: a line each, notes below their line."""
    lines = [f"{'goal':<40} {'bound':>19} {'measured':>10} {'':>8}", "-" * WIDTH]
    for goal in goals:
        bound = f"{'>=' if goal.at_least else '<='} {short(goal.bound)} {goal.unit}".strip()
        verdict = "met" if goal.met else "NOT MET"
        lines.append(f"{goal.name[:40]:<40} {bound:>19} {short(goal.measured):>10} {verdict:>8}")
        if goal.note:
            lines.append(f"    {goal.note}")
    return "\n".join(lines)


def record(section: str, findings: Findings, path: Path = RESULTS) -> Path:
    """Put the findings under ``section`` of a JSON file, beside what other benchmarks wrote there."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    content[section] = findings.as_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path


def command(section: str, about: str, measure: Callable[[bool], Findings]) -> Path | None:
    """The command line of a benchmark: ``measure(quick)``, print, save; returns the file that was written, if any.

    A full run is saved beside the others in ``results.json``; a quick one, which says
    nothing about speed, only if ``--out`` names a folder.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it runs; they mean nothing")
    parser.add_argument("--out", type=Path, help="folder for results.json (default: benchmarks/, nothing if --quick)")
    options = parser.parse_args()
    findings = measure(options.quick)
    if findings.runs:
        print_table(findings.runs)
        print()
    if options.quick:
        print("A quick run: it shows that the benchmark works, and says nothing about the goals.")
    print(goals_table(findings.goals))
    for name, value in findings.facts.items():
        print(f"{name}: {value}")
    print(f"Load average when it ended: {os.getloadavg()[0]:.2f}, CPUs: {os.cpu_count()}")
    if options.quick and not options.out:
        return None
    path = record(section, findings, (options.out / RESULTS.name) if options.out else RESULTS)
    print(f"Saved in {path}")
    return path


def machine() -> dict[str, Any]:
    """What one needs to know to compare: no host name, no path."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_name(),
        "cpus": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: version(package) for package in ("ray", "deltalake", "pyarrow", "numpy")},
    }


def _cpu_name() -> str:
    """What the processor calls itself; empty where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def short(number: float) -> str:
    """Three digits, whatever the size: 0.012, 1.25, 38, 412, 312,000."""
    return f"{number:.3g}" if number < 100 else f"{number:,.0f}"
