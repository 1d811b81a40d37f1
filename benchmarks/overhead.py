"""What dfbatch costs an item when the work itself costs nothing, beside the other ways that Ray offers.

    python -m benchmarks.overhead [--quick] [--out FOLDER]

dfbatch: submit to ``batch.wait()`` on an embedded client with two workers; at the end
every outcome is a row in a Delta table that was fsynced. The peers keep no state per
item and make nothing durable. Each system has a process and a Ray of its own, and its
cold run first; three warm runs follow, of which the median counts.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks import chart, peers
from benchmarks.embedded import Echo, embedded, expect_all, same
from benchmarks.report import Findings, Goal, Measurement, Summary, command, ratio, summarize

ITEMS = 1_000_000
FUNCTION_ITEMS = 200_000
WARM_RUNS = 3
QUICK_DIVISOR = 50
RUN_LIMIT_S = 300
VECTORISED, FUNCTION = "dfbatch, vectorised", "dfbatch, function per item"


def own_runs(name: str, verifier: Any, n: int) -> list[Measurement]:
    """A cold run and the warm ones of dfbatch, in this process."""
    items = np.arange(n, dtype=np.int64)
    runs = []
    with embedded(workers=peers.cpus_wanted()) as client:
        for number in range(1 + WARM_RUNS):
            gc.collect()
            begin = time.perf_counter()
            batch = client.map(verifier, items).wait()
            seconds = time.perf_counter() - begin
            expect_all(batch, n)
            runs.append(Measurement(name, "warm" if number else "cold", n, seconds))
    return runs


def own_runs_apart(kind: str, n: int) -> list[Measurement]:
    """The same in a process of its own, as the peers have it."""
    call = [sys.executable, "-m", "benchmarks.overhead", "--only", kind, str(n)]
    run = subprocess.run(call, capture_output=True, text=True, check=False, timeout=RUN_LIMIT_S)
    if run.returncode:
        raise RuntimeError(f"The run '{kind}' failed:\n{run.stderr[-2000:]}")
    return [Measurement(**row) for row in json.loads(run.stdout.splitlines()[-1])]


def measure(quick: bool) -> Findings:
    divisor = QUICK_DIVISOR if quick else 1
    n, n_function = ITEMS // divisor, FUNCTION_ITEMS // divisor
    runs = own_runs_apart("vectorised", n) + own_runs_apart("function", n_function)
    for key in peers.PEERS:
        runs += peers.measure_apart(key, n, WARM_RUNS, peers.cpus_wanted())
    return judged(runs)


def judged(runs: list[Measurement]) -> Findings:
    """Goals and ratios of the warm runs."""
    found = {(s.system, s.mode): s for s in summarize(runs)}
    vectorised, function = found[VECTORISED, "warm"], found[FUNCTION, "warm"]
    warm = {key: found[peers.PEERS[key]().name, "warm"] for key in peers.PEERS}
    tasks = max(warm["tasks"], warm["tasks-1024"], key=lambda s: s.items_per_s)
    actors = max(warm["actors"], warm["actors-1024"], key=lambda s: s.items_per_s)
    note = f"median of {vectorised.runs} warm runs of {vectorised.items:,} jobs, spread {vectorised.spread:.0%}"
    function_note = f"median of {function.runs} warm runs of {function.items:,} jobs, spread {function.spread:.0%}"
    goals = [
        Goal("vectorised verifier", 300_000, vectorised.items_per_s, "jobs/s", True, note),
        Goal("function per item", 100_000, function.items_per_s, "jobs/s", True, function_note),
        Goal("vectorised to Ray Data actors, warm", 1.2, ratio(vectorised, actors), "x", True, faster(actors)),
        Goal("function to ActorPool, warm", 50, ratio(function, warm["actor-pool"]), "x", True),
    ]
    facts = {
        "ratio_to_warm_ray_data_tasks": round(ratio(vectorised, tasks), 3),
        "ratio_to_warm_ray_data_tasks_note": "below 1: bare Ray Data tasks, which keep no state per item and make "
        "nothing durable, are faster",
    }
    return Findings(runs, goals, facts)


def faster(chosen: Summary) -> str:
    return f"against the faster of both batch sizes: {chosen.system}"


def main() -> None:
    if sys.argv[1:2] == ["--only"]:
        kind, n = sys.argv[2], int(sys.argv[3])
        name, verifier = (VECTORISED, Echo) if kind == "vectorised" else (FUNCTION, same)
        print(json.dumps([row.as_dict() for row in own_runs(name, verifier, n)]))
        return
    path = command("overhead", "What dfbatch costs an item, beside Ray Data and ActorPool.", measure)
    if path is not None and find_spec("matplotlib") is None:
        print(
            "No picture was drawn, for want of matplotlib: pip install -e '.[bench]', then python -m benchmarks.chart"
        )
    elif path is not None:
        content = json.loads(path.read_text(encoding="utf-8"))
        print(f"Drawn in {chart.draw(content['overhead'], path.with_suffix('.png'))}")


if __name__ == "__main__":
    main()
