"""How soon the jobs of a worker run again after SIGKILL, or SIGSTOP, of its process.

    python -m benchmarks.worker_replacement [--quick] [--out FOLDER]

Two workers are in the middle of a batch of items of 20 ms each; every item notes when it
begins, and where. The process of one worker gets the signal. Its jobs run again when the
item that it was at begins anew; it is replaced when a process begins an item that was not
there before. A stopped process (SIGSTOP) says nothing and lives: its jobs are given to
others when its lease ends, and once it goes on (SIGCONT) its late outcome is refused. That
takes a minute, so that it is left out with ``--quick``.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.embedded import embedded, expect_all, ledger_folder, until, warm_up
from benchmarks.report import Findings, Goal, command
from dfbatch.client.batch import Batch
from dfbatch.client.client import Client
from dfbatch.core.books import LEASE_TERM_S

COST_S = 0.02
JOBS_KILL = 1_500
JOBS_STOP = 9_000
"""The batch must not end while the stopped worker is waited for: a minute and a half on one worker, and more."""

BOUND_KILL_S = 5.0
TICK_S = 1.0
"""The end of a lease is noticed, and its jobs begin elsewhere, a little after it."""


class Begin(NamedTuple):
    """An item begins; ``at`` is in wall seconds."""

    at: float
    pid: int
    item: int


class Noting:
    """Takes ``COST_S`` an item, and writes before each one that it begins."""

    def __init__(self, folder: str) -> None:
        self._file = (Path(folder) / str(os.getpid())).open("a", encoding="utf-8", buffering=1)

    def __call__(self, item: int) -> int:
        self._file.write(f"{time.time()} {os.getpid()} {item}\n")
        time.sleep(COST_S)
        return item


def measure(quick: bool) -> Findings:
    with ledger_folder() as place, embedded(place) as client:
        warm_up(client)
        goals = _kill(client, place.parent / "kill", 400 if quick else JOBS_KILL)
        if not quick:
            goals += _stop(client, place.parent / "stop", JOBS_STOP)
        suppressed = client.health()["duplicates_suppressed"]
    return Findings([], goals, {"late outcomes refused": suppressed})


def _kill(client: Client, notes: Path, n: int) -> list[Goal]:
    batch, pid = _under_load(client, notes, n)
    killed_at = time.time()
    os.kill(pid, signal.SIGKILL)
    batch.wait(timeout=300)
    expect_all(batch, n)
    seen = begins(notes)
    again_s, replaced_s = times_after(seen, pid, killed_at)
    return [
        Goal("SIGKILL to its job running again", BOUND_KILL_S, again_s, "s", note=f"{n:,} items of {COST_S:g} s"),
        Goal("SIGKILL to a new process at work", BOUND_KILL_S, replaced_s, "s"),
    ]


def _stop(client: Client, notes: Path, n: int) -> list[Goal]:
    batch, pid = _under_load(client, notes, n)
    stopped_at = time.time()
    os.kill(pid, signal.SIGSTOP)
    try:
        held = last_of(begins(notes), pid)
        until(lambda: _again(begins(notes), pid, held, stopped_at) is not None, 2 * LEASE_TERM_S, "the lease to end")
    finally:
        os.kill(pid, signal.SIGCONT)
    batch.wait(timeout=600)
    expect_all(batch, n)
    again_s = (_again(begins(notes), pid, held, stopped_at) or float("nan")) - stopped_at
    note = f"the lease term is {LEASE_TERM_S:g} s"
    return [Goal("SIGSTOP to its job running elsewhere", LEASE_TERM_S + TICK_S, again_s, "s", note=note)]


def _under_load(client: Client, notes: Path, n: int) -> tuple[Batch, int]:
    """A batch in the middle, on two workers, and the process of one of them."""
    notes.mkdir()
    batch = client.map(Noting, np.arange(n), init={"folder": str(notes)})
    until(lambda: len({begin.pid for begin in begins(notes)}) > 1, 60, "two workers at work")
    until(lambda: batch.counts().get("succeeded", 0) >= n // 10, 120, "a tenth of the batch")
    running = [worker["pid"] for worker in client.workers() if worker["leases"]]
    return batch, int(running[0])


def begins(folder: Path) -> list[Begin]:
    """In the order of time. A line that is being written is left out."""
    lines = [line for file in folder.iterdir() for line in file.read_text(encoding="utf-8").split("\n")[:-1]]
    return sorted(Begin(float(at), int(pid), int(item)) for at, pid, item in map(str.split, lines))


def last_of(seen: Iterable[Begin], pid: int) -> int:
    """The item that a process was at when it was last heard of."""
    return [begin.item for begin in seen if begin.pid == pid][-1]


def _again(seen: Iterable[Begin], pid: int, item: int, since: float) -> float | None:
    """When another process began the item."""
    return next((b.at for b in seen if b.item == item and b.pid != pid and b.at > since), None)


def times_after(seen: list[Begin], pid: int, killed_at: float) -> tuple[float, float]:
    """Seconds until the item of the dead process began again, and until a process began that was not there before."""
    again = _again(seen, pid, last_of(seen, pid), killed_at)
    before = {begin.pid for begin in seen if begin.at <= killed_at}
    new = next((begin.at for begin in seen if begin.pid not in before), None)
    if again is None or new is None:
        raise RuntimeError("The batch ended before the worker was replaced: nothing to measure")
    return again - killed_at, new - killed_at


def main() -> None:
    command("worker_replacement", "How soon the jobs of a killed or stopped worker run again.", measure)


if __name__ == "__main__":
    main()
