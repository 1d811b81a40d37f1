"""Drain and scale under load, on real Ray: each item is run exactly once."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from dfbatch.client.client import Client

N = 2_000


def leave_trace(item: int, folder: str) -> int:
    """Works two milliseconds and notes that it ran, in one write.

    Most of the items take longer as long as there is no file `hurry`: the work is under way until then.
    """
    import os
    import time

    is_brisk = item < N // 4 or os.path.exists(os.path.join(folder, "hurry"))
    time.sleep(0.002 if is_brisk else 0.08)
    descriptor = os.open(os.path.join(folder, "trace"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{item}\n".encode())
    os.close(descriptor)
    return item


@pytest.mark.parametrize("how", ["drain", "scale"])
def test_under_load_nothing_is_lost_or_repeated(
    client: Client, tmp_path: Path, until: Callable[..., None], how: str
) -> None:
    traces = str(tmp_path)
    client.scale(2, 2)
    until(lambda: len(client.workers()) == 2)
    batch = client.map(lambda item: leave_trace(item, traces), range(N))
    until(lambda: batch.progress().done > N // 8)
    if how == "drain":
        client.drain(timeout=150)
        assert client.workers() == []
        assert batch.progress().done < N
        client.scale(0, 2)
    else:
        client.scale(0, 1)
        until(lambda: len(client.workers()) == 1)
        assert batch.progress().done < N
    (tmp_path / "hurry").touch()
    batch.wait(200)
    client.scale(0, 2)
    assert batch.counts() == {"succeeded": N}
    runs = Counter((tmp_path / "trace").read_text().split())
    assert Counter(runs.values()) == {1: N}, "items by how often they were run"


def test_a_drained_pool_stays_drained_when_its_manager_is_killed(client: Client, until: Callable[..., None]) -> None:
    """Ray starts the manager again, with the limits it was created with; it starts nobody for the work that comes."""
    client.scale(2, 2)
    until(lambda: len(client.workers()) == 2)
    client.drain(timeout=150)
    manager, epoch = client._session.call("pid"), client.health()["epoch"]
    os.kill(manager, signal.SIGKILL)
    until(lambda: client.health().get("epoch") == epoch + 1)
    batch = client.map(lambda item: item, range(10))
    until(lambda: batch.status == "stalled")
    assert "were drained" in batch.progress().reason
    assert client.workers() == []
    client.scale(0, 2)
    assert batch.wait(200).counts() == {"succeeded": 10}
