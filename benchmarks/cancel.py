"""How soon a cancel of ten million queued jobs is acknowledged.

    python -m benchmarks.cancel [--quick] [--out FOLDER]

``batch.cancel()`` returns when the decision is durable; the rows of the cancelled jobs
follow. How long until all of them are written is told beside it, without a goal.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.embedded import embedded, same, warm_up
from benchmarks.report import Findings, Goal, Measurement, command

JOBS = 10_000_000
BOUND_S = 0.2


def measure(quick: bool) -> Findings:
    n = 100_000 if quick else JOBS
    with embedded() as client:
        warm_up(client)
        client.queue("bench").pause()
        begin = time.perf_counter()
        batch = client.map(same, np.arange(n, dtype=np.int64), queue="bench")
        submitted = time.perf_counter()
        batch.cancel()
        acknowledged = time.perf_counter()
        batch.wait(timeout=600)
        ended = time.perf_counter()
        counts = batch.counts()
    if counts != {"cancelled": n}:
        raise RuntimeError(f"The batch ended with {counts}, not with {n:,} cancelled jobs")
    runs = [
        Measurement("submit", "warm", n, submitted - begin),
        Measurement("all rows written", "warm", n, ended - submitted),
    ]
    return Findings(runs, [Goal(f"cancel of {n:,} queued jobs", BOUND_S, acknowledged - submitted, "s")])


def main() -> None:
    command("cancel", "How soon a cancel of ten million queued jobs is acknowledged.", measure)


if __name__ == "__main__":
    main()
