"""How long rows are gathered before they are committed together."""

from __future__ import annotations

GATHER_S = 0.25
"""Rows nobody waits for become durable after about this long where a commit costs little."""
GATHER_MANY_S = 0.6
MANY_ROWS = 50_000
"""With more rows than this a longer pause makes fewer, larger files."""
COST_SHARE = 0.03
"""Of the time of one CPU, for commits of few rows."""
LONGEST_S = 1.0
"""Rows wait no longer for company, whatever a commit costs."""


def gather_s(n_rows: int, small_commit_s: float) -> float:
    """Seconds for which ``n_rows`` may wait for company, where a commit of few rows took ``small_commit_s`` lately.

    Commits share the CPUs with the workers, and a small one costs nearly the same for
    ten rows as for a thousand: so these are made as rarely as keeps them below
    ``COST_SHARE`` of the time of one CPU, but never further apart than ``LONGEST_S``.
    """
    if n_rows > MANY_ROWS:
        return GATHER_MANY_S
    return max(GATHER_S, min(small_commit_s / COST_SHARE, LONGEST_S))


def learned(small_commit_s: float, n_rows: int, took_s: float) -> float:
    """What is known of small commits after one of ``n_rows``: half of it is the newest, so a slow one soon fades."""
    if n_rows > MANY_ROWS:
        return small_commit_s
    return took_s if small_commit_s == 0.0 else (small_commit_s + took_s) / 2
