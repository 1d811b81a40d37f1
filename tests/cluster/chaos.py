"""Work under fire on a Ray cluster of the caller's own: `chaos.py referee ADDRESS LEDGER SEED`.

Drivers, each a process of its own, submit two batches each and wait for them. Meanwhile the referee sends SIGKILL to
the manager, to workers and to drivers at moments drawn from the seed, and starts killed drivers again. Then it reads
the raw tables of the ledger and compares them with what must be there. It prints one JSON line, or fails.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

import dfbatch
from dfbatch.client.client import Client
from dfbatch.errors import DfbatchError

N_DRIVERS = 4
SIZES = {"item": 5_000, "bulk": 20_000}
FIRE_S = 30.0
"""Kills go on for so long, and until there were enough; drivers that have nothing left to do wait for that."""
LIMIT_S = 500.0
LEAST_KILLS = {"manager": 1, "worker": 4, "driver": 3}
MOST_KILLS_OF_A_DRIVER = 3
OPTIONS: dict[str, Any] = {
    "retry": dfbatch.Retry(max_attempts=50, initial_s=0.1, max_s=0.5),
    # An item may be killed by chance, over and over; here it must never be blamed for that.
    "max_worker_deaths": 100,
}


# ------------------------------------------------------------------------------------------ work


def check_item(item: int, context: Any) -> int:
    """One item a call. Some are bad for good, some the first time only."""
    import time

    from dfbatch import TransientError

    time.sleep(0.0008)
    if item % 97 == 5:
        raise ValueError(f"item {item} is bad")
    if item % 53 == 7 and context.attempt == 1:
        raise TransientError(f"item {item} is not ready")
    return 3 * item + 1


class CheckBulk:
    """Many items a call; one bad item makes the call fail, and dfbatch finds it by halving."""

    def verify_batch(self, table: Any) -> Any:
        import time

        import pyarrow.compute as pc

        time.sleep(0.0002 * len(table))
        for item in table["item"].to_pylist():
            if item % 6661 == 11:
                raise ValueError(f"item {item} is bad")
        return pc.multiply(table["item"], 5)


def expected_status(kind: str, n: int) -> npt.NDArray[np.bool_]:
    """True where a job must succeed."""
    items = np.arange(n)
    return np.asarray(items % 97 != 5 if kind == "item" else items % 6661 != 11)


def expected_value(kind: str, n: int) -> npt.NDArray[np.int64]:
    items = np.arange(n, dtype=np.int64)
    return 3 * items + 1 if kind == "item" else 5 * items


# ---------------------------------------------------------------------------------------- driver


def drive(address: str, ledger: str, name: str) -> None:
    """Submit one batch of each kind and wait. Started again after a kill, it submits under the same keys.

    It ends when there were enough kills, however quick the machine is.
    """
    client = dfbatch.connect(address=address, storage_path=ledger)
    batches = []
    for kind, verifier in (("item", check_item), ("bulk", CheckBulk)):
        print("submitting", flush=True)
        batch = client.map(verifier, range(SIZES[kind]), key=f"{name}-{kind}", name=kind, **OPTIONS)
        print(f"batch {kind} {batch.id}", flush=True)
        batches.append(batch)
    for batch in batches:
        batch.wait(LIMIT_S)
    while not os.path.exists(enough_of(ledger)):
        time.sleep(0.05)


def enough_of(ledger: str) -> str:
    """The file that says that there were enough kills."""
    return f"{ledger}-enough"


class Driver:
    """A driver process, and the ones that took its place after a kill."""

    def __init__(self, address: str, ledger: str, name: str, rng: random.Random) -> None:
        self.name = name
        self.ids: dict[str, set[str]] = {kind: set() for kind in SIZES}
        self.n_kills = 0
        self.n_submits = 0
        self._arguments = (address, ledger, name)
        self._rng = rng
        self._reader: threading.Thread | None = None
        self.start()

    def start(self) -> None:
        self.finish_reading()
        self.has_begun = False
        command = [sys.executable, "-W", "ignore", os.path.abspath(__file__), "driver", *self._arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            words = line.split()
            self.has_begun = True
            if words[0] == "batch":
                self.ids[words[1]].add(words[2])
            else:
                self.n_submits += 1
                if self.n_kills < MOST_KILLS_OF_A_DRIVER - 1 and self._rng.random() < 0.4:
                    # In the middle of a submit, if the draw is right.
                    time.sleep(self._rng.uniform(0.0, 0.12))
                    self.kill()

    def kill(self) -> bool:
        if self.n_kills >= MOST_KILLS_OF_A_DRIVER or self.process.poll() is not None:
            return False
        self.n_kills += 1
        self.process.kill()
        return True

    def finish_reading(self) -> None:
        """All that the process has printed is known; for one that has ended."""
        if self._reader is not None:
            self._reader.join()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


# --------------------------------------------------------------------------------------- referee


class Fire:
    """Kills by the draw of a seeded generator, and counts them."""

    def __init__(self, client: Client, drivers: list[Driver], rng: random.Random) -> None:
        self.kills: Counter[str] = Counter()
        self._client = client
        self._drivers = drivers
        self._rng = rng
        self._session_id = os.getsid(client._session.call("pid"))
        self._n_in_a_row = 0

    def one(self) -> None:
        """Kill somebody; nothing happens if the chosen one is not there just now."""
        kind = self._rng.choices(("worker", "driver", "manager"), (64, 26, 10))[0]
        if (short := self._short_of()) and self._rng.random() < 0.25:
            kind = self._rng.choice(short)  # while there is work, on a quick machine too
        with contextlib.suppress(DfbatchError, ProcessLookupError):
            if {"worker": self._worker, "driver": self._driver, "manager": self._manager}[kind]():
                self.kills[kind] += 1

    def is_enough(self) -> bool:
        return not self._short_of()

    def _short_of(self) -> list[str]:
        kills = {**self.kills, "driver": sum(driver.n_kills for driver in self._drivers)}
        return [kind for kind, least in LEAST_KILLS.items() if kills.get(kind, 0) < least]

    def _worker(self) -> bool:
        pids = workers_of(self._session_id)
        if pids:
            os.kill(self._rng.choice(pids), signal.SIGKILL)
        return bool(pids)

    def _driver(self) -> bool:
        """One that has submitted, mostly: its successor has to find what it began."""
        busy = [driver for driver in self._drivers if driver.has_begun]
        return self._rng.choice(busy if busy and self._rng.random() < 0.8 else self._drivers).kill()

    def _manager(self) -> bool:
        """One that recovers from a kill may be killed once more; then callers must get an answer before the next."""
        self._n_in_a_row = 0 if self._ask("describe").status == "running" else self._n_in_a_row
        if self._n_in_a_row >= 2:
            return False
        os.kill(self._ask("pid"), signal.SIGKILL)
        self._n_in_a_row += 1
        return True

    def _ask(self, method: str) -> Any:
        """One try: while the manager is away there is nothing to kill."""
        assert self._client._session.link is not None
        return self._client._session.link.call(method, timeout_s=2.0)


def workers_of(session_id: int) -> list[int]:
    """Processes of dfbatch workers of one Ray session. The manager is not asked: it may be away, too."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            title = "".join(process.cmdline()[:1])
            if title.startswith("ray::") and "orker" in title and os.getsid(process.pid) == session_id:
                found.append(process.pid)
    return sorted(found)


def referee(address: str, ledger: str, seed: int) -> dict[str, Any]:
    """Run it all; returns what was done. Raises AssertionError with what is wrong."""
    begin = time.monotonic()
    rng = random.Random(seed)
    client = dfbatch.connect(address=address, storage_path=ledger, workers=(2, 2))
    drivers = [Driver(address, ledger, f"driver-{k}", random.Random(f"{seed}-{k}")) for k in range(N_DRIVERS)]
    try:
        fire = Fire(client, drivers, rng)
        snapshots = fight(client, ledger, drivers, fire, rng, begin)
        kills = {**fire.kills, "driver": sum(driver.n_kills for driver in drivers)}
        found = judge(client, ledger, drivers, snapshots)
    finally:
        for driver in drivers:
            driver.end()
        client.shutdown()
    assert fire.is_enough(), f"too few kills to count: {kills}"
    return {"seed": seed, "kills": kills, "took_s": round(time.monotonic() - begin, 1), **found}


def fight(
    client: Client, ledger: str, drivers: list[Driver], fire: Fire, rng: random.Random, begin: float
) -> list[dict[str, Any]]:
    """Until every driver has ended by itself. Returns what was committed at some moments."""
    snapshots: list[dict[str, Any]] = []
    fire_until, next_kill = time.monotonic() + FIRE_S, 0.0
    while any(driver.process.poll() != 0 for driver in drivers):
        now = time.monotonic()
        assert now - begin < LIMIT_S, f"not done in time: {[d.process.poll() for d in drivers]}, {story(client)}"
        for driver in drivers:
            code = driver.process.poll()
            if code == -signal.SIGKILL:
                driver.start()
            elif code:
                assert driver.process.stderr is not None
                raise AssertionError(f"{driver.name} failed: {driver.process.stderr.read()}")
        if now >= next_kill and (now < fire_until or not fire.is_enough()):
            fire.one()
            next_kill = time.monotonic() + rng.expovariate(1 / 0.9)
        if fire.is_enough():
            open(enough_of(ledger), "w").close()
        if not snapshots or now - snapshots[-1]["at"] > 4.0:
            snapshots.append({"at": now, "rows": client._session.reader.read("results", columns=KEYS)})
        time.sleep(0.05)
    for driver in drivers:
        driver.finish_reading()
    return snapshots


def story(client: Client) -> str:
    with contextlib.suppress(DfbatchError):
        return json.dumps([client.health(), [str(p) for p in client._session.call("active")], client.workers()])
    return "the manager does not answer"


KEYS = ["batch_id", "job_index", "generation", "status", "commit_id"]


def raw_rows(ledger: str, table: str, columns: list[str]) -> pa.Table:
    """Every row that is in the log of a table, read without dfbatch."""
    files = DeltaTable(os.path.join(ledger, table)).file_uris()
    return pa.concat_tables(pq.read_table(file, columns=columns, partitioning=None) for file in files)


def judge(client: Client, ledger: str, drivers: list[Driver], snapshots: list[dict[str, Any]]) -> dict[str, Any]:
    """One row a job, the right status and value, and what was once committed unchanged."""
    batches = raw_rows(ledger, "batches", ["batch_id", "key", "n_jobs"]).to_pylist()
    keys = Counter(row["key"] for row in batches)
    wanted = {f"{driver.name}-{kind}" for driver in drivers for kind in SIZES}
    assert keys == dict.fromkeys(wanted, 1), f"batches by key: {keys}"
    id_of = {row["key"]: row["batch_id"] for row in batches}
    for driver, kind in itertools.product(drivers, SIZES):
        assert driver.ids[kind] == {id_of[f"{driver.name}-{kind}"]}, "a resubmit gave another batch"
    rows = raw_rows(ledger, "results", KEYS).sort_by([("batch_id", "ascending"), ("job_index", "ascending")])
    assert set(rows["batch_id"].unique().to_pylist()) == set(id_of.values())
    for key, batch_id in id_of.items():
        judge_batch(client, batch_id, key.rpartition("-")[2], rows)
    kept = sum(unchanged(rows, snapshot["rows"]) for snapshot in snapshots)
    health = client.health()
    return {
        "rows": len(rows),
        "snapshots": len(snapshots),
        "kept_rows": kept,
        "submits": sum(driver.n_submits for driver in drivers),
        "epoch": health["epoch"],
        "duplicates_suppressed": health["duplicates_suppressed"],
    }


def judge_batch(client: Client, batch_id: str, kind: str, rows: pa.Table) -> None:
    n = SIZES[kind]
    mine = rows.filter(pa.compute.equal(rows["batch_id"], batch_id))
    index = mine["job_index"].to_numpy()
    counted = np.bincount(index, minlength=n)
    lost, doubled = np.flatnonzero(counted == 0), np.flatnonzero(counted > 1)
    assert len(lost) == 0, f"{batch_id} ({kind}): {len(lost)} jobs without an outcome: {lost[:20]}"
    assert len(doubled) == 0, f"{batch_id} ({kind}): {len(doubled)} jobs with several outcomes: {doubled[:20]}"
    assert len(mine) == n
    assert set(mine["generation"].unique().to_pylist()) == {0}
    good = expected_status(kind, n)
    status = np.asarray(mine["status"].to_pylist())
    wrong = np.flatnonzero(status != np.where(good, "succeeded", "failed"))
    assert len(wrong) == 0, f"{batch_id} ({kind}): wrong status of {wrong[:20]}: {status[wrong[:20]]}"
    table = client.attach(batch_id).results().to_arrow()
    values = table["output"].combine_chunks().field("value").to_pylist()
    expected = [int(v) if ok else None for v, ok in zip(expected_value(kind, n), good, strict=True)]
    assert values == expected, f"{batch_id} ({kind}): wrong values"
    # A manager that was killed right after the end of the batch finds it out once more.
    progress = client.attach(batch_id).wait(60).progress()
    assert progress.status == "partial", progress
    assert (progress.counts["succeeded"], progress.counts["failed"]) == (int(good.sum()), int((~good).sum()))


def unchanged(rows: pa.Table, before: pa.Table) -> int:
    """Every row that was there before is there now, as it was. Returns how many those are."""
    now = by_job(rows)
    then = by_job(before)
    changed = [job for job, row in then.items() if now.get(job) != row]
    assert not changed, f"committed rows were changed: {changed[:10]}"
    return len(then)


def by_job(rows: pa.Table) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """(batch, index, generation) to what else the row says."""
    columns = [rows[name].to_pylist() for name in KEYS]
    return {row[:3]: row[3:] for row in zip(*columns, strict=True)}


if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    if role == "driver":
        drive(*arguments)
    else:
        print(json.dumps(referee(arguments[0], arguments[1], int(arguments[2]))), flush=True)
