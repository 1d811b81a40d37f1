"""What the manager's rules cost by themselves: no Ray, no ledger, no payload.

    python -m benchmarks.core_profile [N ...]      1,000,000 and 10,000,000 jobs by default

For each N: bytes a queued job, seconds and events to run all jobs through two
workers with warm chunks, jobs a second, and the seconds in which N queued jobs are cancelled.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from dataclasses import dataclass

import numpy as np

from dfbatch.core import events
from dfbatch.core.batch import BatchSpec, BatchStop
from dfbatch.core.effects import BatchEnded, Granted, OutcomesDecided, OutcomesTaken
from dfbatch.core.instant import Instant
from dfbatch.core.manager import ManagerState
from dfbatch.core.states import BatchState, JobState

CANCEL = BatchStop(JobState.CANCELLED, BatchState.CANCELLED, "Cancelled.")
START = Instant(1.7e9, 0.0)
ITEM_S = 2e-6
"""What an item is said to cost, so that chunks reach their greatest size."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Figures of one run."""

    n: int
    bytes_queued: int
    column_bytes: int
    run_s: float
    n_events: int
    slowest_event_s: float
    cancel_s: float
    cancel_peak_bytes: int


def submitted(n: int) -> ManagerState:
    state = ManagerState()
    spec = BatchSpec("profiled", n, submitted_at=START.wall)
    state.admit(spec)
    state.handle(events.BatchSubmitted(spec), START)
    return state


def memory_queued(n: int) -> tuple[int, int]:
    """Bytes that ``n`` queued jobs take, as Python counts them, and the part of it that is columns."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    state = submitted(n)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return after - before, state.batches["profiled"].jobs.nbytes


class Run:
    """Two workers that never fail, and a committer that is always at once."""

    def __init__(self, n: int) -> None:
        self.state = submitted(n)
        self.now = START
        self.n_events = 0
        self.slowest_s = 0.0
        self.ended = False

    def tell(self, event: events.Event) -> list[object]:
        begin = time.perf_counter()
        effects = self.state.handle(event, self.now)
        self.slowest_s = max(self.slowest_s, time.perf_counter() - begin)
        self.n_events += 1
        self.ended = self.ended or any(isinstance(e, BatchEnded) for e in effects)
        return list(effects)

    def go(self) -> float:
        begin = time.perf_counter()
        workers = ("ann", "bob")
        for name in workers:
            self.tell(events.WorkerHello(name, "1"))
        while not self.ended:
            for name in workers:
                for effect in self.tell(events.LeaseRequested(name)):
                    if isinstance(effect, Granted):
                        self.answer(name, effect)
            self.now = self.now.later(0.05)
            self.tell(events.Tick())
        return time.perf_counter() - begin

    def answer(self, worker: str, granted: Granted) -> None:
        lease, n = granted.lease, len(granted.lease.indices)
        codes = np.zeros(n, np.uint8)
        report = events.OutcomesReported(
            worker, lease.lease_id, lease.batch_id, lease.indices, granted.generation, codes, codes, n * ITEM_S
        )
        for effect in self.tell(report):
            if isinstance(effect, OutcomesTaken):
                counts = np.bincount(effect.state, minlength=len(JobState))
                self.tell(events.Committed(((effect.batch_id, counts),)))


def cancelled(n: int) -> tuple[float, int]:
    """Seconds from the cancel of ``n`` queued jobs to the end of the batch, and the most bytes it took besides."""
    state = submitted(n)
    tracemalloc.start()
    begin = time.perf_counter()
    rows = 0
    for effect in state.handle(events.BatchStopped("profiled", CANCEL), START):
        if isinstance(effect, OutcomesDecided):
            rows += len(effect.indices)
            counts = np.zeros(len(JobState), np.int64)
            counts[effect.state.code] = len(effect.indices)
            state.handle(events.Committed((("profiled", counts),)), START)
    seconds = time.perf_counter() - begin
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if rows != n or state.batches["profiled"].finished_as is not BatchState.CANCELLED:
        raise RuntimeError(f"{rows:,} of {n:,} jobs were cancelled")
    return seconds, peak


def profile(n: int) -> Profile:
    """Measure ``n`` jobs."""
    queued, columns = memory_queued(n)
    run = Run(n)
    run_s = run.go()
    n_events, slowest = run.n_events, run.slowest_s
    del run
    cancel_s, peak = cancelled(n)
    return Profile(n, queued, columns, run_s, n_events, slowest, cancel_s, peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", nargs="*", type=int, default=[1_000_000, 10_000_000])
    head = ("jobs", "B/job", "run s", "events", "events/s", "jobs/s", "slowest ms", "cancel s", "cancel MB")
    print(" ".join(f"{name:>12}" for name in head))
    for n in parser.parse_args().n:
        p = profile(n)
        figures = (
            f"{p.n:,}",
            f"{p.bytes_queued / p.n:.1f}",
            f"{p.run_s:.2f}",
            f"{p.n_events:,}",
            f"{p.n_events / p.run_s:,.0f}",
            f"{p.n / p.run_s:,.0f}",
            f"{p.slowest_event_s * 1e3:.1f}",
            f"{p.cancel_s:.2f}",
            f"{p.cancel_peak_bytes / 1e6:.0f}",
        )
        print(" ".join(f"{figure:>12}" for figure in figures))


if __name__ == "__main__":
    main()
