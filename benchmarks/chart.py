"""The picture of ``benchmarks.overhead``: who does how many items a second, and what one gets for it.

    python -m benchmarks.chart [--results results.json] [--out results.png]

Needs matplotlib: ``pip install -e '.[bench]'``. Every run is a dot, so that the spread can
be seen; the cold run is a hollow one; the axis is logarithmic and says so.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, Measurement

OURS = "dfbatch"
GETS = {
    "dfbatch": "per item: one durable row (fsynced Delta table), retry, priority, cancel, dead letter; survives kills",
    "Ray Data tasks": "results in memory, gone with the driver; blocks are recomputed after a crash; no state per item",
    "Ray Data actors": "results in memory, gone with the driver; no state per item; actors start anew in each run",
    "ActorPool": "an answer per call; nothing recorded, no retry, gone with the driver",
}
BAR, RIVAL, INK, FAINT = "#1b6e8c", "#9aa5ab", "#1f2a30", "#5d6b73"


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the results of benchmarks.overhead.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, help="default: results.png beside the results")
    options = parser.parse_args()
    content = json.loads(options.results.read_text(encoding="utf-8"))
    print(f"Drawn: {draw(content['overhead'], options.out or options.results.with_suffix('.png'))}")


def draw(found: dict[str, Any], path: Path) -> Path:
    """Draw the section ``overhead`` of the results. Raises ImportError without matplotlib."""
    from matplotlib.figure import Figure

    runs = [Measurement(**row) for row in found["runs"]]
    systems = in_order(runs)
    figure = Figure(figsize=(11, 1.2 + 0.72 * len(systems) + 0.9), layout=None)
    axes = figure.add_axes((0.02, 0.17, 0.95, 0.72))
    axes.set_xscale("log")
    for row, system in enumerate(systems):
        _one_system(axes, -row, system, runs)
    axes.set_ylim(-len(systems) + 0.35, 0.75)
    axes.set_xlim(500, 2e7)
    axes.set_yticks([])
    axes.grid(axis="x", which="major", color="#dde3e6", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel("items a second, end to end, logarithmic scale", color=FAINT, fontsize=9)
    title = "A function that does nothing over many items: what the machinery costs, and what it gives"
    figure.text(0.02, 0.955, title, fontsize=12.5, fontweight="bold", color=INK)
    figure.text(0.02, 0.018, caption(found["machine"]), fontsize=7.8, color=FAINT, linespacing=1.5)
    figure.savefig(path, dpi=110, facecolor="white")
    return path


def _one_system(axes: Any, y: float, system: str, runs: list[Measurement]) -> None:
    mine = [run for run in runs if run.system == system]
    warm = [run.items_per_s for run in mine if run.mode == "warm"]
    cold = [run.items_per_s for run in mine if run.mode == "cold"]
    middle = statistics.median(warm)
    color = BAR if system.startswith(OURS) else RIVAL
    axes.barh(y, middle, height=0.34, left=0, color=color, alpha=0.9)
    axes.plot(warm, [y] * len(warm), "o", ms=3.6, color=INK, zorder=3)
    axes.plot(cold, [y] * len(cold), "o", ms=4.2, mfc="white", mec=INK, zorder=3)
    label = f"{float(f'{middle:.3g}'):,.0f} a second"
    axes.text(max(*warm, *cold) * 1.08, y, label, va="center", fontsize=10, fontweight="bold", color=INK)
    told = system.replace(", blocks", ", batch_size=None").replace(", 1024", ", batch_size=1024")
    text = f"{told}, {mine[0].items:,} items"
    name = axes.text(520, y + 0.28, text, va="bottom", fontsize=9.5, fontweight="bold", color=INK)
    beside: dict[str, Any] = {"xycoords": name, "xytext": (9, 0), "textcoords": "offset points"}
    axes.annotate(gets(system), xy=(1, 0.12), va="bottom", fontsize=8.2, color=FAINT, **beside)


def in_order(runs: list[Measurement]) -> list[str]:
    """Systems with warm runs, the fastest first."""
    systems = {run.system for run in runs if run.mode == "warm"}

    def pace(system: str) -> float:
        return statistics.median(run.items_per_s for run in runs if run.system == system and run.mode == "warm")

    return sorted(systems, key=pace, reverse=True)


def gets(system: str) -> str:
    """What a system gives for its cost."""
    return next((text for name, text in GETS.items() if system.startswith(name)), "")


def caption(machine: dict[str, Any]) -> str:
    """Where and when, with what, and how to do it again."""
    where = f"{machine['cpu'] or machine['system']}, {machine['cpus']} CPUs, {machine['memory_gib']} GiB"
    versions = ", ".join(f"{name} {machine[name]}" for name in ("ray", "deltalake", "pyarrow"))
    return (
        f"{machine['at'][:10]}, {where}, load {machine['load']:.1f} at the end; Python {machine['python']}, {versions}."
        " Two workers each, a Ray of its own for each system.\n"
        "Bar: median of the warm runs (filled dots); hollow dot: first run on a fresh Ray. Items are int64 in memory."
        " To do it again: make bench (python -m benchmarks.overhead)."
    )


if __name__ == "__main__":
    main()
