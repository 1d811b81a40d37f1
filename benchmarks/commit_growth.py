"""Whether a commit gets slower as the ledger grows.

    python -m benchmarks.commit_growth [--quick] [--out FOLDER]

20,000 commits of 200 outcomes each, straight through the LedgerWriter on the local disk,
each fsynced; in between the upkeep (merging, checkpoints, sweeping) that the manager's
committer does when it is idle. The time of a commit and that of its upkeep are kept apart.
"""

from __future__ import annotations

import gc
import random
import time

from benchmarks.embedded import ledger_folder
from benchmarks.report import Findings, Goal, Measurement, command, quantile
from benchmarks.submit_latency import results
from dfbatch.core.ids import new_batch_id
from dfbatch.ledger.lock import ManagerInfo
from dfbatch.ledger.storage import open_storage
from dfbatch.ledger.writer import CommitGroup, LedgerWriter

COMMITS = 20_000
ROWS = 200
BATCH_COMMITS = 50
"""So many commits belong to one batch."""

BOUND_RATIO = 1.5


def measure(quick: bool) -> Findings:
    n = 400 if quick else COMMITS
    commits, upkeep = commit_many(n)
    tenth = n // 10
    early, late = commits[:tenth], commits[-tenth:]
    first, last = quantile(early, 0.99), quantile(late, 0.99)
    medians = f"median {_ms(quantile(early, 0.5))}, then {_ms(quantile(late, 0.5))} ms"
    note = f"p99 {_ms(first)}, then {_ms(last)} ms; {medians}"
    runs = [Measurement("commit", "all", n, sum(commits)), Measurement("upkeep", "all", n, sum(upkeep))]
    facts = {
        "p99_by_tenth_ms": [round(1e3 * quantile(commits[k * tenth : (k + 1) * tenth], 0.99), 2) for k in range(10)],
        "longest_upkeep_after_a_commit_s": round(max(upkeep), 3),
    }
    goals = [Goal("p99 of the last tenth to the first", BOUND_RATIO, last / first, "x", note=note)]
    return Findings(runs, goals, facts)


def commit_many(n: int) -> tuple[list[float], list[float]]:
    """Seconds of each commit, and of the upkeep after it."""
    rng = random.Random(1)
    commits, upkeep = [], []
    with ledger_folder() as place:
        writer = LedgerWriter.open(open_storage(place))
        writer.take_over(ManagerInfo("bench", 0, "local", 1, "bench", "in_process", "bench", 0.0, ""))
        batch_id = ""
        for number in range(n):
            if number % BATCH_COMMITS == 0:
                batch_id = new_batch_id(time.time() + 60 * number, rng)
                gc.collect()
            commit = writer.next_commit_id()
            group = CommitGroup({"results": results(batch_id, ROWS, commit)}, commit)
            begin = time.perf_counter()
            writer.commit(group)
            done = time.perf_counter()
            while writer.maintain(time.time()):
                pass
            commits.append(done - begin)
            upkeep.append(time.perf_counter() - done)
    return commits, upkeep


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}"


def main() -> None:
    command("commit_growth", "Whether a commit gets slower as the ledger grows.", measure)


if __name__ == "__main__":
    main()
