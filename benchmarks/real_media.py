"""Real pictures: dfbatch with two workers beside a bare loop in two processes, over the same detectors.

    python -m benchmarks.real_media [--quick] [--out FOLDER]

The sample pictures (untouched, forged, with credentials) are verified over and over.
The bare loop calls ``ContentAuthenticator`` on its half of the list, keeps nothing and
survives nothing; its processes have imported everything before the clock runs, as the
workers have. Both are run in turn. The CPU seconds of one run of dfbatch are printed by
who spent them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import Counter
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import psutil

from benchmarks.embedded import WORKERS, embedded
from benchmarks.report import Findings, Goal, Measurement, command
from dfbatch.client.client import Client
from dfbatch.samples import make_samples

ITEMS = 20_000
ROUNDS = 3
BOUND = 0.95
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")


def measure(quick: bool) -> Findings:
    n, rounds = (60, 1) if quick else (ITEMS, ROUNDS)
    runs: list[Measurement] = []
    with tempfile.TemporaryDirectory(prefix="dfbatch-bench-") as folder:
        make_samples(folder)
        pictures = sorted(str(path) for path in Path(folder).rglob("*") if path.suffix.lower() in PICTURES)
        items = (pictures * (n // len(pictures) + 1))[:n]
        with embedded() as client:
            client.verify(items[:200]).wait()
            for _ in range(rounds):
                runs.append(Measurement("bare loop, 2 processes", "warm", n, bare(items)))
                before = cpu_seconds(client)
                runs.append(Measurement("dfbatch, 2 workers", "warm", n, ours(client, items)))
                spent = cpu_seconds(client)
                spent.subtract(before)
    median = {name: statistics.median(r.seconds for r in runs if r.system == name) for name in {r.system for r in runs}}
    share = median["bare loop, 2 processes"] / median["dfbatch, 2 workers"]
    goal = Goal("pictures/s, share of a bare loop", BOUND, share, "", at_least=True, note=f"medians of {rounds} rounds")
    facts = {f"cpu_s_of_{who}": round(seconds, 2) for who, seconds in sorted(spent.items())}
    return Findings(runs, [goal], facts)


def ours(client: Client, items: list[str]) -> float:
    """Seconds until every outcome is durable."""
    begin = time.perf_counter()
    batch = client.verify(items).wait()
    seconds = time.perf_counter() - begin
    if sum(batch.counts().values()) != len(items):
        raise RuntimeError(f"Batch {batch.id} ended with {batch.counts()}: its time means nothing")
    return seconds


def bare(items: list[str]) -> float:
    """Seconds until both processes are through."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(WORKERS + 1)
    done = context.Barrier(WORKERS + 1)
    loops = [context.Process(target=_loop, args=(items[k::WORKERS], ready, done)) for k in range(WORKERS)]
    for loop in loops:
        loop.start()
    ready.wait(120)
    begin = time.perf_counter()
    done.wait(1800)
    seconds = time.perf_counter() - begin
    for loop in loops:
        loop.join()
    return seconds


def _loop(items: list[str], ready: Barrier, done: Barrier) -> None:
    from dfbatch.authenticity.authenticator import ContentAuthenticator
    from dfbatch.errors import ItemError

    authenticator = ContentAuthenticator()
    verify(authenticator, items[:50], ItemError)
    ready.wait(120)
    verify(authenticator, items, ItemError)
    done.wait(1800)


def verify(authenticator: Any, items: list[str], failure: type[Exception]) -> int:
    """How many reports there were; an item that cannot be read is a row for dfbatch, and nothing here."""
    reports = 0
    for item in items:
        with contextlib.suppress(failure):
            reports += authenticator(item) is not None
    return reports


def cpu_seconds(client: Client) -> Counter[str]:
    """CPU seconds since their start of this process (``client``), the workers, the manager, and all else of Ray."""
    manager = client._session.call("pid")
    workers = {pid for worker in client.workers() if (pid := worker["pid"])}
    spent: Counter[str] = Counter()
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        who = "workers" if process.pid in workers else "manager" if process.pid == manager else "ray"
        spent["client" if process.pid == os.getpid() else who] += times.user + times.system
    return spent


def main() -> None:
    command("real_media", "Real pictures: dfbatch beside a bare loop over the same detectors.", measure)


if __name__ == "__main__":
    main()
