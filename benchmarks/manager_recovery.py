"""How fast the work goes on after SIGKILL of the manager's process.

    python -m benchmarks.manager_recovery [--quick] [--out FOLDER]

A batch of 1,000,000 jobs is half done when the manager is killed. The first new lease is
seen from the workers: each notes when it begins a chunk. What a worker held at the kill
it finishes within a second, and nothing is leased while there is no manager; so the first
chunk that begins later than that came from the new manager. The note is taken when work
begins, a little after the lease was granted. The replay is timed by the manager itself:
opening the ledger, fencing all tables, reading what is open.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.embedded import embedded, expect_all, ledger_folder, until, warm_up
from benchmarks.report import Findings, Goal, command

JOBS = 1_000_000
COST_S = 16e-6
"""The batch then takes about 8 s on two workers: long enough to be met half done."""

HELD_S = 1.5
"""Chunks that were held at the kill have begun by then: a chunk is half a second of work, and two are held."""

BOUND_LEASE_S = 8.0
BOUND_REPLAY_S = 1.5


class Noting:
    """Takes ``COST_S`` an item and writes when each chunk begins."""

    def __init__(self, folder: str, cost_s: float) -> None:
        self._file = Path(folder) / str(os.getpid())
        self._cost_s = cost_s

    def verify_batch(self, table: pa.Table) -> Any:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{time.time()} {len(table)}\n")
        time.sleep(self._cost_s * len(table))
        return table.column("item")


def measure(quick: bool) -> Findings:
    n, cost_s = (40_000, 100e-6) if quick else (JOBS, COST_S)
    with ledger_folder() as place, embedded(place) as client:
        notes = place.parent / "notes"
        notes.mkdir()
        warm_up(client)
        batch = client.map(Noting, np.arange(n), init={"folder": str(notes), "cost_s": cost_s})
        until(lambda: batch.counts().get("succeeded", 0) >= n // 2, 120, "half of the batch")
        done = batch.counts()["succeeded"]
        pid = client._session.call("pid")
        killed_at = time.time()
        os.kill(pid, signal.SIGKILL)
        batch.wait(timeout=300)
        expect_all(batch, n)
        rows = len(batch.results())
        recovery_s = client.health()["recovery_s"]
        begun = sorted(begins(notes))
    later = [at for at in begun if at > killed_at + HELD_S]
    if rows != n or not later:
        raise RuntimeError(f"{rows:,} rows of {n:,}, {len(later)} chunks after the kill: nothing to measure")
    goals = [
        Goal("SIGKILL to the first new lease", BOUND_LEASE_S, later[0] - killed_at, "s"),
        Goal("replay", BOUND_REPLAY_S, recovery_s, "s", note=f"{done:,} of {n:,} jobs were done at the kill"),
    ]
    return Findings([], goals, {"rows_after_recovery": rows})


def begins(folder: Path) -> list[float]:
    """When chunks began, wall seconds."""
    lines = [line for file in folder.iterdir() for line in file.read_text(encoding="utf-8").splitlines()]
    return [float(line.split()[0]) for line in lines]


def main() -> None:
    command("manager_recovery", "How fast the work goes on after SIGKILL of the manager.", measure)


if __name__ == "__main__":
    main()
