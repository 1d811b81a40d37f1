"""How long a submit takes, large and small.

    python -m benchmarks.submit_latency [--quick] [--out FOLDER]

1. A list of 1,000,000 URIs: ``client.verify`` returns when all of them are durable. Its
   queue is paused, so that nothing but the submit is timed.
2. One job: ``client.submit(f, item).result()`` on a warm, idle client, with 1,000 live
   files in the table of results: the outcome is durable, and was read back from there.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.embedded import embedded, ledger_folder, same, warm_up
from benchmarks.report import Findings, Goal, Measurement, command, quantile
from dfbatch.ledger.lock import ManagerInfo
from dfbatch.ledger.maintenance import SMALL_ROWS
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.schemas import RESULTS
from dfbatch.ledger.storage import open_storage
from dfbatch.ledger.writer import CommitGroup, LedgerWriter

URIS = 1_000_000
LIVE_FILES = 1_000
SUBMITS = 3
SINGLE_JOBS = 100
BOUND_MANY_S = 2.0
BOUND_ONE_S = 0.060


def measure(quick: bool) -> Findings:
    n_uris, n_files, n_single = (20_000, 20, 10) if quick else (URIS, LIVE_FILES, SINGLE_JOBS)
    many, tables = submits(n_uris)
    one, live = single_jobs(n_files, n_single)
    goals = [
        Goal(
            f"submit of {n_uris:,} URIs",
            BOUND_MANY_S,
            statistics.median(m.seconds for m in many),
            "s",
            note=f"median of {len(many)}; worst {max(m.seconds for m in many):.2f} s",
        ),
        Goal(
            "one job, submit to result, p50",
            BOUND_ONE_S,
            statistics.median(one),
            "s",
            note=f"{len(one)} jobs; p99 {quantile(one, 0.99):.3f} s; {live:,} live files in 'results'",
        ),
    ]
    return Findings(many + tables, goals, {"one_job_p99_s": round(quantile(one, 0.99), 4), "live_files": live})


def submits(n: int) -> tuple[list[Measurement], list[Measurement]]:
    """Some submits of n URIs, as a list of str and as an Arrow table; on a client that is otherwise idle."""
    uris = [f"s3://media-archive/2026/photos/{i:08d}.jpg" for i in range(n)]
    runs: dict[str, list[Measurement]] = {"list of URIs": [], "table of URIs": []}
    with embedded() as client:
        client.queue("bench").pause()
        client.verify(uris[:1000], queue="bench").cancel()
        for name, source in (("list of URIs", uris), ("table of URIs", pa.table({"uri": uris}))):
            for _ in range(SUBMITS):
                begin = time.perf_counter()
                batch = client.verify(source, queue="bench")
                runs[name].append(Measurement(f"submit, {name}", "warm", n, time.perf_counter() - begin))
                batch.cancel().wait()
    return runs["list of URIs"], runs["table of URIs"]


def single_jobs(n_files: int, n_jobs: int) -> tuple[list[float], int]:
    """Seconds of each single job, and how many live files the results had at the end."""
    with ledger_folder() as place:
        fill(place, n_files)
        with embedded(place) as client:
            warm_up(client)
            seconds = []
            for i in range(n_jobs):
                time.sleep(0.05)  # the client is idle between two jobs, as a person leaves it
                begin = time.perf_counter()
                if client.submit(same, i).result() != i:
                    raise RuntimeError(f"job {i} gave back something else")
                seconds.append(time.perf_counter() - begin)
        snapshot = LedgerReader(open_storage(place)).snapshot("results")
        return seconds, len(snapshot.files) if snapshot else 0


def fill(place: Path, n_files: int) -> None:
    """An older life of the ledger: files of results that are just too large to be merged."""
    writer = LedgerWriter.open(open_storage(place))
    writer.take_over(ManagerInfo("bench", 0, "local", 1, "bench", "in_process", "bench", 0.0, ""))
    for number in range(n_files):
        commit = writer.next_commit_id()
        writer.commit(CommitGroup({"results": results(f"a{number:07d}", SMALL_ROWS, commit)}, commit))


def results(batch_id: str, n: int, commit: int) -> pa.Table:
    """Rows of succeeded jobs, as a manager would write them."""
    zeros = pa.array(np.zeros(n, np.int32))
    index = np.arange(n)
    given = {
        "batch_id": pa.DictionaryArray.from_arrays(zeros, pa.array([batch_id])),
        "status": pa.DictionaryArray.from_arrays(zeros, pa.array(["succeeded"])),
        "job_index": pa.array(index),
        "generation": pa.array(np.zeros(n, np.int16)),
        "attempts": pa.array(np.ones(n, np.int16)),
        "job_id": pa.array([f"{batch_id}-{i}" for i in range(n)]),
        "commit_id": pa.array(np.full(n, commit)),
    }
    return pa.table({f.name: given.get(f.name, pa.nulls(n, f.type)) for f in RESULTS.arrow})


def main() -> None:
    command("submit_latency", "How long a submit takes, large and small.", measure)


if __name__ == "__main__":
    main()
