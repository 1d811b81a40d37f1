"""What `dfbatch worker` goes through: `standalone_stage.py ADDRESS LEDGER FOLDER` on a Ray cluster of the caller's own.

Prints one JSON object of what was seen, for the tests to judge.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

import dfbatch
from dfbatch.client.client import Client

DFBATCH = Path(sys.executable).with_name("dfbatch")
N_LOAD = 3_000
N_QUICK = 40
GRACE_S = 90.0
ORPHANS_GRACE_S = 12.0
LIMIT_S = 150.0
_pause = time.sleep


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        _pause(0.02)
    return found


class Process:
    """``dfbatch worker`` with a health file and a port for probes."""

    def __init__(self, client: Client, folder: Path, *arguments: str) -> None:
        self.health_file = folder / "health.json"
        self.log = folder / "worker.log"
        options = ["--storage", client.storage_path, "--health-file", str(self.health_file), "--health-port", "0"]
        with self.log.open("a") as log:
            command = [str(DFBATCH), "worker", *options, "--grace-s", f"{GRACE_S:g}", *arguments]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def health(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads(self.health_file.read_text())
            return found
        assert self.process.poll() is None, self.log.read_text()
        return {"ready": False, "workers": []}

    def wait_ready(self, n_restarts: int = 0) -> dict[str, Any]:
        """What it says of itself when all of its processes are ready, after so many restarts."""

        def ready() -> dict[str, Any] | None:
            found = self.health()
            workers = found["workers"]
            restarts = sum(worker["restarts"] for worker in workers)
            return found if workers and all(w["ready"] for w in workers) and restarts >= n_restarts else None

        found: dict[str, Any] = until(ready, "readiness")
        return found

    def probe(self, path: str) -> int:
        url = next(line.split()[-3] for line in self.log.read_text().splitlines() if "Probes answer" in line)
        try:
            with urllib.request.urlopen(url.replace("/livez", path), timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def check(self) -> int:
        return subprocess.run([DFBATCH, "worker", "--check", self.health_file], check=False).returncode

    def end(self, *signals: signal.Signals) -> dict[str, Any]:
        begin = time.monotonic()
        for k, number in enumerate(signals):
            if k:
                until(lambda: "draining" in self.log.read_text(), "a drain")
            self.process.send_signal(number)
        code = self.process.wait(LIMIT_S)
        return {"code": code, "took_s": time.monotonic() - begin, "log": self.log.read_text()}


@contextlib.contextmanager
def worker(client: Client, folder: Path, *arguments: str) -> Iterator[Process]:
    folder.mkdir()
    process = Process(client, folder, *arguments)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.wait()


def traced(folder: str, gate: str = "") -> Callable[[int], int]:
    """A verifier that notes each item it has finished. Those from N_QUICK on wait at the gate, if there is one.

    Most of a load takes longer as long as there is no file `hurry` in the folder: it is under way until then.
    """
    n_brisk = N_LOAD // 3

    def run(item: int) -> int:
        import os
        import time

        is_brisk = item < n_brisk or os.path.exists(os.path.join(folder, "hurry"))
        time.sleep(0.002 if is_brisk else 0.08)
        while gate and item >= 40 and not os.path.exists(gate):
            time.sleep(0.01)
        descriptor = os.open(os.path.join(folder, "trace"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{item}\n".encode())
        os.close(descriptor)
        return item

    return run


def runs(folder: Path) -> dict[str, int]:
    """How many items there are that were finished once, twice ..."""
    per_item = Counter((folder / "trace").read_text().split())
    return {str(n): count for n, count in Counter(per_item.values()).items()}


def fatal(item: int) -> int:
    import os

    if item == 7:
        os._exit(9)
    return item


def serve(client: Client, process: Process) -> dict[str, Any]:
    """It takes work of its queues only."""
    other = client.map(lambda x: x, range(5), queue="other", priority=9)
    batch = client.map(lambda x: x + 1, range(200), queue="mine").wait(LIMIT_S)
    seen = {
        "values_right": batch.results().values() == list(range(1, 201)),
        "workers": sorted(set(batch.results()["worker_id"].to_pylist())),
        "other_counts": other.counts(),
        "shown": [[w["worker"], w["pid"], w["queues"]] for w in client.workers()],
        "health": process.wait_ready(),
        "probes": [process.probe("/livez"), process.probe("/readyz"), process.probe("/else")],
        "check": process.check(),
    }
    other.cancel()
    return seen


def crash(client: Client, process: Process) -> dict[str, Any]:
    """A process that dies is replaced under its name, and its item is charged."""
    batch = client.map(fatal, range(30), queue="mine").wait(LIMIT_S)
    health = process.wait_ready(n_restarts=2)
    return {
        "failed": [[row["job_index"], row["error_type"], row["worker_deaths"]] for row in batch.failures()],
        "counts": batch.counts(),
        "health": health,
    }


def drain(client: Client, process: Process, folder: Path) -> dict[str, Any]:
    """SIGTERM in the middle of a batch; the pool does the rest."""
    batch = client.map(traced(str(folder)), range(N_LOAD), queue="mine")
    until(lambda: batch.progress().done > N_LOAD // 5, "progress")
    end = process.end(signal.SIGTERM)
    until(lambda: client.workers() == [], "that the manager knows of it")
    left = {"workers": client.workers(), "done": batch.progress().done, "file": process.health_file.exists()}
    (folder / "hurry").touch()
    client.scale(0, 1)
    batch.wait(LIMIT_S)
    empty_pool(client)
    return {"end": end, "left": left, "runs": runs(folder), "counts": batch.counts()}


def empty_pool(client: Client) -> None:
    """Nobody is there but whom the stage starts."""
    client._session.call("scale", 0, 0)
    until(lambda: client.workers() == [], "a pool without workers")


def hurry(client: Client, process: Process, folder: Path) -> dict[str, Any]:
    """Two signals while an item takes long: what is finished is reported, the rest given back at once."""
    gate = folder / "gate"
    batch = client.map(traced(str(folder), str(gate)), range(N_QUICK + 4))
    until(lambda: (folder / "trace").exists() and sum(runs(folder).values()) == N_QUICK, "the quick items")
    end = process.end(signal.SIGINT, signal.SIGINT)
    until(lambda: batch.progress().done == N_QUICK, "the report of the quick items")
    left = {"workers": client.workers(), "counts": batch.counts()}
    gate.touch()
    client.scale(0, 1)
    batch.wait(LIMIT_S)
    return {"end": end, "left": left, "runs": runs(folder), "counts": batch.counts()}


def orphans(client: Client, process: Process, folder: Path) -> dict[str, Any]:
    """SIGKILL of the parent while one of its processes is under load and the other one at an item that takes long."""
    gate, stuck_folder = folder / "gate", folder / "stuck"
    stuck_folder.mkdir()
    stuck = client.map(traced(str(stuck_folder), str(gate)), [N_QUICK], priority=9)
    until(lambda: stuck.counts() == {"running": 1}, "the long item")
    load = client.map(traced(str(folder)), range(N_LOAD))
    until(lambda: load.progress().done > N_LOAD // 5, "progress")
    children = [psutil.Process(worker["pid"]) for worker in process.health()["workers"]]
    process.process.kill()
    process.process.wait()
    until(lambda: not any(map(is_alive, children)), "the end of its processes")
    until(lambda: client.workers() == [], "that the manager knows of it")
    left = {"done": load.progress().done, "stuck": stuck.counts()}
    until(lambda: process.check() != 0, "a probe that fails")
    gate.touch()
    (folder / "hurry").touch()
    client.scale(0, 1)
    return {
        "n_children": len(children),
        "n_told": process.log.read_text().count("is gone: draining"),
        "left": left,
        "counts": [batch.wait(LIMIT_S).counts() for batch in (load, stuck)],
        "rows": [len(client._session.reader.read("results", batch_id=batch.id)) for batch in (load, stuck)],
        "runs": [runs(folder), runs(stuck_folder)],
        "workers": sorted(set(stuck.results()["worker_id"].to_pylist())),
    }


def is_alive(process: psutil.Process) -> bool:
    """False for one that only waits to be reaped, too."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def main(address: str, ledger: str, folder: Path) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    client = dfbatch.connect(address=address, storage_path=ledger, workers=(0, 1))
    try:
        empty_pool(client)
        manager = client._session.call("pid")
        with worker(client, folder / "one", "--queues", "mine", "--concurrency", "2") as process:
            os.kill(manager, signal.SIGSTOP)  # who cannot reach the manager cannot be ready
            try:
                until(lambda: "Probes answer" in process.log.read_text(), "a port")
                seen["early"] = [process.probe("/livez"), process.probe("/readyz")]
            finally:
                os.kill(manager, signal.SIGCONT)
            seen["begin"] = process.wait_ready()
            seen["serve"] = serve(client, process)
            seen["crash"] = crash(client, process)
            seen["drain"] = drain(client, process, folder / "one")
        with worker(client, folder / "two", "--name", "steady") as process:
            process.wait_ready()
            seen["hurry"] = hurry(client, process, folder / "two")
        empty_pool(client)
        grace = f"{ORPHANS_GRACE_S:g}"
        with worker(client, folder / "three", "--concurrency", "2", "--grace-s", grace) as process:
            process.wait_ready()
            seen["orphans"] = orphans(client, process, folder / "three")
    finally:
        client.shutdown()
    return seen


if __name__ == "__main__":
    os.environ["DFBATCH_PROGRESS"] = "off"
    print(json.dumps(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])), default=str))
