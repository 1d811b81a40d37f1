"""How long an urgent job waits behind a million others.

    python -m benchmarks.urgent [--quick] [--out FOLDER]

A batch of 1,000,000 jobs of 1 ms each keeps two workers busy. One urgent job after the
other is submitted, with pauses of uneven length, and its result is waited for; the
million is never finished. Once its jobs compute for 1 ms, so that workers, manager and
client contend for the CPUs, and once they wait for 1 ms.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

import numpy as np

from benchmarks.embedded import embedded, same, until, warm_up
from benchmarks.report import Findings, Goal, command, quantile

JOBS = 1_000_000
COST_S = 0.001
URGENT_JOBS = 60
BOUND_P50_S, BOUND_P99_S = 0.4, 1.5


def computing(item: Any) -> Any:
    """1 ms of the CPU."""
    end = time.thread_time() + COST_S
    while time.thread_time() < end:
        pass
    return item


def waiting(item: Any) -> Any:
    """1 ms of the clock."""
    time.sleep(COST_S)
    return item


def measure(quick: bool) -> Findings:
    n, n_urgent = (20_000, 5) if quick else (JOBS, URGENT_JOBS)
    goals = []
    for work in (computing, waiting):
        seconds = waits(work, n, n_urgent)
        note = f"{n_urgent} urgent jobs, one after the other; longest {max(seconds):.2f} s"
        name = f"urgent, behind {n:,} {work.__name__} jobs"
        goals.append(Goal(f"{name}, p50", BOUND_P50_S, statistics.median(seconds), "s", note=note))
        goals.append(Goal(f"{name}, p99", BOUND_P99_S, quantile(seconds, 0.99), "s"))
    return Findings([], goals)


def waits(work: Any, n: int, n_urgent: int) -> list[float]:
    """Seconds from submit to result of each urgent job."""
    rng = random.Random(1)
    seconds = []
    with embedded() as client:
        warm_up(client)
        crowd = client.map(work, np.arange(n))
        until(lambda: crowd.counts().get("succeeded", 0) >= 3000, 120, "a start of the crowd")
        for i in range(n_urgent):
            time.sleep(rng.uniform(0.1, 0.6))
            begin = time.perf_counter()
            if client.submit(same, i, priority=10).result() != i:
                raise RuntimeError(f"urgent job {i} gave back something else")
            seconds.append(time.perf_counter() - begin)
        if crowd.done():
            raise RuntimeError("the crowd ended before the last urgent job: nothing was measured")
        crowd.cancel()
    return seconds


def main() -> None:
    command("urgent", "How long an urgent job waits behind a million others.", measure)


if __name__ == "__main__":
    main()
