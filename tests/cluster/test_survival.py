"""Killed workers and killed managers: every job ends with exactly one outcome, and what was committed is not redone."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from dfbatch.client.client import Client
from dfbatch.core.retry import Retry

N = 20_000


def leave_trace(item: int, folder: str) -> int:
    """Works half a millisecond and notes that it ran: one line, one write, so that lines of processes do not mix.

    The second half of the items takes longer as long as there is no file `hurry`: the middle of the work lasts.
    """
    import os
    import time

    is_brisk = item < N // 2 or os.path.exists(os.path.join(folder, "hurry"))
    end = time.perf_counter() + (0.0004 if is_brisk else 0.01)
    while time.perf_counter() < end:
        pass
    descriptor = os.open(os.path.join(folder, f"{os.getpid()}.trace"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{item}\n".encode())
    os.close(descriptor)
    return item * 3


def runs_of(folder: Path) -> Counter[int]:
    """How often each item was run."""
    return Counter(int(line) for trace in folder.glob("*.trace") for line in trace.read_text().split())


def test_workers_go_on_with_their_chunks_while_the_manager_is_replaced(
    client: Client, tmp_path: Path, until: Callable[..., None]
) -> None:
    """The new manager adopts them: the same processes, and nothing that they held is run again."""

    def slow(item: int) -> int:
        import os
        import time

        open(os.path.join(folder, f"{os.getpid()}.trace"), "a").close()
        time.sleep(0.01)
        while item >= 200 and not os.path.exists(gate):
            time.sleep(0.01)
        return os.getpid()

    folder, gate = str(tmp_path), str(tmp_path / "gate")
    client.scale(2, 2)
    until(lambda: len(client.workers()) == 2)
    batch = client.map(slow, range(400), name="adopted")
    until(lambda: batch.progress().done > 50 and len(list(tmp_path.glob("*.trace"))) == 2)
    manager, epoch = client._session.call("pid"), client.health()["epoch"]
    pids = {worker["pid"] for worker in client.workers()}
    os.kill(manager, signal.SIGKILL)
    until(lambda: client.health().get("epoch") == epoch + 1)
    until(lambda: {worker["pid"] for worker in client.workers()} == pids)
    Path(gate).touch()
    assert set(batch.wait(200).results().values()) == pids
    client.scale(0, 2)


def test_a_batch_survives_a_killed_worker_and_a_killed_manager(
    client: Client, tmp_path: Path, until: Callable[..., None]
) -> None:
    """20,000 jobs, SIGKILL of a worker and of the manager in the middle: one row a job, nothing committed redone."""
    traces = str(tmp_path)
    batch = client.map(lambda item: leave_trace(item, traces), range(N), name="survivor")
    until(lambda: batch.progress().done > N // 8)

    os.kill(client.workers()[0]["pid"], signal.SIGKILL)
    until(lambda: batch.progress().done > N // 3)

    session = client._session
    manager = session.call("pid")
    before = session.reader.read("results", batch_id=batch.id)
    runs_before = runs_of(tmp_path)
    os.kill(manager, signal.SIGKILL)
    assert len(before) < N, "the work was not under way"
    until(lambda: session.call("pid") != manager)
    (tmp_path / "hurry").touch()
    batch.wait(timeout=200)

    table = batch.results().to_arrow()
    assert batch.status == "succeeded"
    assert table["job_index"].to_pylist() == list(range(N))
    assert [row["value"] for row in table["output"].to_pylist()] == [3 * k for k in range(N)]
    assert len(session.reader.read("results", batch_id=batch.id)) == N, "more than one row for some job"
    assert client.health()["epoch"] >= 2
    runs = runs_of(tmp_path)
    committed = before["job_index"].to_pylist()
    assert len(committed) >= N // 8
    assert [k for k in committed if runs[k] != runs_before[k]] == [], "committed work was done again"
    kept = {row["job_index"]: row["commit_id"] for row in before.select(["job_index", "commit_id"]).to_pylist()}
    after = {row["job_index"]: row["commit_id"] for row in table.select(["job_index", "commit_id"]).to_pylist()}
    assert {k: after[k] for k in kept} == kept, "committed rows were written anew"


def test_a_worker_that_dies_is_replaced_and_its_marked_item_runs_alone(
    client: Client, tmp_path: Path, until: Callable[..., None]
) -> None:
    """An item that ends its process becomes a dead letter by itself; all others succeed, in one row each."""

    def fatal(item: int) -> int:
        import os

        if item == 77:
            os._exit(9)
        return item

    batch = client.map(fatal, range(200))
    batch.wait(timeout=300)
    table = batch.results().to_arrow()
    failed = [row for row in table.to_pylist() if row["status"] != "succeeded"]
    assert [(row["job_index"], row["error_type"]) for row in failed] == [(77, "WorkerCrash")]
    assert failed[0]["worker_deaths"] == 2
    assert len(table) == 200


def test_an_item_that_hangs_is_ended_with_its_stack_and_its_neighbours_succeed(client: Client) -> None:
    """The time limit ends native code too; only the item that hung is charged, and its row shows where it hung."""

    def hang(item: int) -> int:
        import time

        if item == 5:
            time.sleep(300)
        return item

    batch = client.map(hang, range(20), timeout_s=10.0, retry=Retry(max_attempts=1))
    batch.wait(timeout=300)
    failed = batch.failures()
    assert [(row["job_index"], row["error_type"]) for row in failed] == [(5, "ItemTimeout")]
    assert "in hang" in failed[0]["traceback"]
    assert "longer than its limit of 10 s" in failed[0]["error_message"]
    assert batch.counts() == {"succeeded": 19, "failed": 1}
