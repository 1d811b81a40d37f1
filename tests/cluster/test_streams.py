"""Sources that come from Ray itself: Datasets and queues, on as many CPUs as there are workers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import ray
from ray.util.queue import Queue

from dfbatch.client.client import Client
from dfbatch.core.states import BatchState

Until = Callable[..., None]


def test_a_dataset_is_read_while_the_workers_would_like_all_cpus(client: Client, tmp_path: Path, until: Until) -> None:
    """40 blocks, each of them a task that needs a CPU, beside work that would keep every worker busy for long."""

    gate = str(tmp_path / "gate")

    def slowly(x):  # type: ignore[no-untyped-def]
        import time

        pause = time.sleep
        pause(0.1)
        return x

    def at_gate(rows):  # type: ignore[no-untyped-def]
        import os
        import time

        while rows["id"][-1] >= 2_000 and not os.path.exists(gate):
            time.sleep(0.01)
        return slowly(rows)

    busy = client.map(slowly, range(20_000), name="busy")
    until(lambda: len(client.workers()) == 2)
    source = ray.data.range(4_000, override_num_blocks=40).map_batches(at_gate, batch_size=None)
    batch = client.map(lambda row: row["id"] + 1, source, name="dataset", priority=1)
    # While it is read, one worker has left its CPU.
    until(lambda: len([w for w in client.workers() if w["state"] == "running"]) <= 1)
    Path(gate).touch()
    assert batch.wait(250).status is BatchState.SUCCEEDED
    assert sorted(batch.results().values()) == [k + 1 for k in range(4_000)]
    assert not busy.done()
    until(lambda: len([w for w in client.workers() if w["state"] == "running"]) == 2)
    busy.cancel()
    busy.wait(200)


def test_a_queue_of_ray_is_streamed_until_none_comes_out_of_it(client: Client, until: Until) -> None:
    source = Queue(maxsize=1_000, actor_options={"num_cpus": 0})
    source.put_nowait_batch(list(range(500)))
    batch = client.map(lambda x: x * x, source)
    until(lambda: batch.counts().get("succeeded") == 500)
    assert batch.progress().total is None
    source.put_nowait_batch([500, 501, None])
    assert batch.results(timeout=200).values() == [k * k for k in range(502)]
    source.shutdown(force=True)


def test_a_queue_whose_actor_dies_ends_the_batch_with_what_came(client: Client, until: Until) -> None:
    source = Queue(actor_options={"num_cpus": 0})
    source.put_nowait_batch([1, 2, 3])
    batch = client.map(lambda x: x, source)
    until(lambda: batch.counts().get("succeeded") == 3)
    source.shutdown(force=True)
    assert batch.wait(200).status is BatchState.PARTIAL
    assert "The source raised" in (batch.progress().reason or "")
    assert batch.results().values() == [1, 2, 3]


PRODUCER = """
import os, signal, sys, time, dfbatch
client = dfbatch.connect(address=sys.argv[1], storage_path=sys.argv[2])
def endless():
    for k in range(100):
        yield k
    time.sleep(600)
batch = client.map(lambda x: x + 1, endless(), producer_silence_s=12)
while batch.progress().done < 100:
    time.sleep(0.05)
print(batch.id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

WITNESS = """
import os, sys, dfbatch
client = dfbatch.connect(address=sys.argv[1], storage_path=sys.argv[2])
os.environ["DFBATCH_PROGRESS"] = "off"
batch = client.attach(sys.argv[3]).wait(200)
print(batch.status, len(batch), sum(batch.results().values()))
print(batch.progress().reason)
client.shutdown()
"""


def test_a_producer_that_is_killed_ends_its_batch_with_what_came(
    head_node: str,
    tmp_path: Path,
    python: Callable[..., subprocess.CompletedProcess[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The manager on the cluster misses the signs of life of the process that streams."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    first = python(PRODUCER, head_node, tmp_path / "ledger")
    batch_id = first.stdout.strip()
    assert batch_id, first.stderr
    second = python(WITNESS, head_node, tmp_path / "ledger", batch_id)
    assert second.returncode == 0, second.stderr
    facts, reason = second.stdout.splitlines()
    assert facts == f"partial 100 {sum(range(1, 101))}"
    assert reason.startswith("producer_lost: nothing was heard for")
