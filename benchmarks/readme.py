"""Writes the table of goals in the README from ``results.json``, so that both say the same.

python -m benchmarks.readme
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, Goal, short

README = RESULTS.parents[1] / "README.md"
BEGIN = "<!-- benchmarks: written by python -m benchmarks.readme -->"
END = "<!-- end of benchmarks -->"


def main() -> None:
    content = json.loads(RESULTS.read_text(encoding="utf-8"))
    README.write_text(with_table(README.read_text(encoding="utf-8"), table(content)), encoding="utf-8")
    print(f"Written to {README.name}")


def with_table(text: str, new: str) -> str:
    """The text with what stands between the two marks replaced. Raises ValueError if a mark is missing."""
    head, tail = text.index(BEGIN) + len(BEGIN), text.index(END)
    return f"{text[:head]}\n{new}\n{text[tail:]}"


def table(content: dict[str, Any]) -> str:
    """One line for each goal, met or not, and one for each machine and date."""
    lines = ["| what | goal | measured | |", "|---|---|---|---|"]
    for name in sorted(content, key=lambda key: (key != "overhead", key)):
        for row in content[name]["goals"]:
            goal = Goal(**{key: value for key, value in row.items() if key != "met"})
            bound = f"{'at least' if goal.at_least else 'at most'} {short(goal.bound)} {goal.unit}"
            verdict = "met" if goal.met else "**not met**"
            lines.append(f"| {goal.name} | {bound} | {short(goal.measured)} {goal.unit} | {verdict} |")
    ratio = content.get("overhead", {}).get("facts", {}).get("ratio_to_warm_ray_data_tasks")
    if ratio is not None:
        lines.append(f"| vectorised to Ray Data tasks, warm | none: they keep no state | {short(ratio)} x | |")
    machines = dict.fromkeys(where(section["machine"]) for section in content.values())
    return "\n".join([*lines, "", "Measured on: " + "; ".join(machines) + ". " + load(content)])


def where(machine: dict[str, Any]) -> str:
    return f"{machine['at'][:10]}, {machine['cpu']}, {machine['cpus']} CPUs, {machine['memory_gib']} GiB"


def load(content: dict[str, Any]) -> str:
    """How busy the machine was: numbers taken on a busy one are worse than they could be."""
    loads = [section["machine"]["load"] for section in content.values()]
    return f"Load average at the end of a benchmark: {min(loads):.1f} to {max(loads):.1f}."


def has_table(path: Path, content: dict[str, Any]) -> bool:
    """True if the README shows what the results say."""
    return table(content) in path.read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
