"""How soon a cancel of ten million queued jobs is acknowledged.

    python -m benchmarks.cancel [--quick] [--out FOLDER]

``batch.cancel()`` returns when the decision is durable; the rows of the cancelled jobs
follow. How long until all of them are written is told beside it, without a goal.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

from benchmarks.embedded import embedded, same, warm_up
from benchmarks.report import Findings, Goal, Measurement, command
from dfbatch.client.client import Client

JOBS = 10_000_000
ROUNDS = 5
BOUND_S = 0.2


def measure(quick: bool) -> Findings:
    n, rounds = (100_000, 1) if quick else (JOBS, ROUNDS)
    with embedded() as client:
        warm_up(client)
        client.queue("bench").pause()
        times = [one(client, n) for _ in range(rounds)]
    runs = [Measurement("submit", "warm", n, submit_s) for submit_s, _, _ in times]
    runs += [Measurement("all rows written", "warm", n, rows_s) for _, _, rows_s in times]
    cancels = [cancel_s for _, cancel_s, _ in times]
    note = f"median of {rounds}; worst {max(cancels):.2f} s, run {1 + cancels.index(max(cancels))}"
    return Findings(runs, [Goal(f"cancel of {n:,} queued jobs", BOUND_S, statistics.median(cancels), "s", note=note)])


def one(client: Client, n: int) -> tuple[float, float, float]:
    """Seconds of submit, cancel, and from there until every row is written."""
    begin = time.perf_counter()
    batch = client.map(same, np.arange(n, dtype=np.int64), queue="bench")
    submitted = time.perf_counter()
    batch.cancel()
    acknowledged = time.perf_counter()
    batch.wait(timeout=600)
    ended = time.perf_counter()
    if batch.counts() != {"cancelled": n}:
        raise RuntimeError(f"The batch ended with {batch.counts()}, not with {n:,} cancelled jobs")
    return submitted - begin, acknowledged - submitted, ended - acknowledged


def main() -> None:
    command("cancel", "How soon a cancel of ten million queued jobs is acknowledged.", measure)


if __name__ == "__main__":
    main()
