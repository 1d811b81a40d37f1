"""What other ways to run a function over many items on Ray cost, with work that does nothing.

Each peer is a class with ``start()``, ``run(n) -> seconds`` and ``stop()``, on the Ray
that the process has initialised. A run maps n int64 items, waits for all results and
counts them. The first run after ``start`` on a fresh Ray is the cold one: it pays for
worker processes and imports. Later runs are warm. ``ray.init`` is never counted.

    python -m benchmarks.peers --items 100000 --warm 3

measures every peer in a process and on a Ray of its own, so that each has a true cold run.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.util import ActorPool

from benchmarks.report import Measurement, print_table, save

ACTOR_POOL_LIMIT = 5_000
"""At about a thousand items a second a longer run of ActorPool tells nothing new."""


BLOCKS_PER_CPU = 4
"""Blocks that Ray Data gets for each CPU: enough to keep all busy, few enough to be cheap."""

RUN_LIMIT_S = 240
"""A peer that takes longer than this is stuck."""


class Peer(Protocol):
    """One other system."""

    name: str

    def start(self) -> None: ...

    def run(self, n: int) -> float: ...

    def stop(self) -> None: ...


def same(batch: Any) -> Any:
    """Work that does nothing, on a batch."""
    return batch


class Same:
    """The same as a class: Ray Data runs it in actors."""

    def __call__(self, batch: Any) -> Any:
        return batch


class RayData:
    """``ray.data.from_arrow(tables).map_batches(...)``, materialised.

    ``actors``: run in an actor a CPU instead of tasks; Ray Data starts them anew for each
    run. ``batch_size`` None hands over whole blocks, which is also Ray 2.60's default.
    The items come from memory: a ``ray.data.range`` would need a CPU of its own to be
    read, and waits for ever when the actors got all of them first.
    """

    def __init__(self, actors: bool, batch_size: int | None) -> None:
        size = "blocks" if batch_size is None else f"{batch_size}"
        self.name = f"Ray Data {'actors' if actors else 'tasks'}, {size}"
        self._actors = actors
        self._batch_size = batch_size

    def start(self) -> None:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)

    def run(self, n: int) -> float:
        options: dict[str, Any] = {"batch_size": self._batch_size, "batch_format": "pyarrow"}
        if self._actors:
            options["compute"] = ray.data.ActorPoolStrategy(size=cpus())
        items = pa.table({"item": np.arange(n, dtype=np.int64)})
        rows = max(1, math.ceil(n / (BLOCKS_PER_CPU * cpus())))
        begin = time.perf_counter()
        source = ray.data.from_arrow([items.slice(start, rows) for start in range(0, n, rows)])
        done = source.map_batches(Same if self._actors else same, **options).materialize()
        seconds = time.perf_counter() - begin
        expect(self.name, n, done.count())
        return seconds

    def stop(self) -> None:
        """Ray Data leaves nothing running."""


class PerItemActors:
    """``ray.util.ActorPool``: one actor call an item, an actor a CPU, kept between runs."""

    name = "ActorPool, an item a call"

    def __init__(self) -> None:
        self._actors: list[Any] = []

    def start(self) -> None:
        """Actors are made at the first run, so that the cold one pays for them."""

    def run(self, n: int) -> float:
        begin = time.perf_counter()
        if not self._actors:
            actor = ray.remote(num_cpus=1)(Same)
            self._actors = [actor.remote() for _ in range(cpus())]
        pool = ActorPool(self._actors)
        done = sum(1 for _ in pool.map_unordered(lambda actor, item: actor.__call__.remote(item), list(range(n))))
        seconds = time.perf_counter() - begin
        expect(self.name, n, done)
        return seconds

    def stop(self) -> None:
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []


PEERS: dict[str, Callable[[], Peer]] = {
    "tasks": lambda: RayData(actors=False, batch_size=None),
    "tasks-1024": lambda: RayData(actors=False, batch_size=1024),
    "actors": lambda: RayData(actors=True, batch_size=None),
    "actors-1024": lambda: RayData(actors=True, batch_size=1024),
    "actor-pool": PerItemActors,
}


def cpus_wanted() -> int:
    """CPUs, and so workers, that every system gets: two, whatever the machine has."""
    return 2


def cpus() -> int:
    """CPUs of the Ray that this process is connected to."""
    return int(ray.cluster_resources().get("CPU", 1))


def expect(name: str, n: int, done: int) -> None:
    if done != n:
        raise RuntimeError(f"{name} gave {done:,} results for {n:,} items, so its time means nothing")


def measure(key: str, n: int, warm: int) -> list[Measurement]:
    """A cold run and ``warm`` warm ones of one peer, on the Ray of this process."""
    peer = PEERS[key]()
    items = min(n, ACTOR_POOL_LIMIT) if key == "actor-pool" else n
    peer.start()
    try:
        runs = []
        for number in range(1 + warm):
            gc.collect()
            runs.append(Measurement(peer.name, "warm" if number else "cold", items, peer.run(items)))
        return runs
    finally:
        peer.stop()


def measure_apart(key: str, n: int, warm: int, num_cpus: int) -> list[Measurement]:
    """The same in a fresh process with a fresh Ray."""
    command = [sys.executable, "-m", "benchmarks.peers", "--only", key, "--json"]
    command += ["--items", str(n), "--warm", str(warm), "--cpus", str(num_cpus)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RUN_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"The peer '{key}' was stuck and was ended after {RUN_LIMIT_S} s") from None
    if run.returncode:
        raise RuntimeError(f"The peer '{key}' failed:\n{run.stderr[-2000:]}")
    return [Measurement(**row) for row in json.loads(run.stdout.splitlines()[-1])]


def start_ray(num_cpus: int) -> None:
    """A private, quiet Ray of this process, whatever others run on this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local",
        num_cpus=num_cpus,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        object_store_memory=500_000_000,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the peers of dfbatch with work that does nothing.")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--warm", type=int, default=3, help="warm runs after the cold one")
    parser.add_argument("--cpus", type=int, default=cpus_wanted())
    parser.add_argument("--only", choices=PEERS)
    parser.add_argument("--json", action="store_true", help="print one line of JSON, in this process")
    parser.add_argument("--out", help="folder for peers.json")
    options = parser.parse_args()
    if options.json:
        start_ray(options.cpus)
        rows = [row for key in [options.only] if key for row in measure(key, options.items, options.warm)]
        ray.shutdown()
        print(json.dumps([row.as_dict() for row in rows]))
        return
    keys = [options.only] if options.only else list(PEERS)
    rows = [row for key in keys for row in measure_apart(key, options.items, options.warm, options.cpus)]
    print_table(rows)
    if options.out:
        print(f"Saved {save(rows, options.out, 'peers')}")


if __name__ == "__main__":
    main()
