"""How long rows are gathered before they are committed together."""

from __future__ import annotations

GATHER_S = 0.25
"""Rows nobody waits for become durable after about this long where a commit costs little."""
GATHER_MANY_S = 0.6
MANY_ROWS = 50_000
"""With more rows than this a longer pause makes fewer, larger files."""
COST_SHARE = 0.03
LONGEST_S = 1.0


def gather_s(n_rows: int, commit_s: float) -> float:
    """Seconds for which ``n_rows`` may wait for company, where a commit took ``commit_s`` lately.

    Commits share the CPUs with the workers, and cost nearly the same for few rows as
    for many: so they are made as rarely as keeps them below ``COST_SHARE`` of the
    time of one CPU, but never further apart than ``LONGEST_S`` for that.
    """
    least = GATHER_MANY_S if n_rows > MANY_ROWS else GATHER_S
    return max(least, min(commit_s / COST_SHARE, LONGEST_S))


def smoothed_commit_s(before: float, took_s: float) -> float:
    """Half what the last commit took, half what was known: one slow disk access changes little."""
    return took_s if before == 0.0 else (before + took_s) / 2
