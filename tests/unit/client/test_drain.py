"""``client.drain()`` and ``client.scale()``: nothing is lost or repeated."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import dfbatch
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

N = 400


def test_drained_workers_finish_the_item_at_hand_and_others_do_the_rest(tmp_path: Path, make_gate) -> None:
    gate = make_gate()
    with InProcess(tmp_path / "ledger", workers=2) as client:
        batch = client.map(gate, range(N))
        gate.await_items(2)
        with pytest.raises(dfbatch.TimeoutError, match="2 workers are not drained after 0 s"):
            client.drain(timeout=0)
        gate.open()
        client.drain(timeout=60)
        assert client.workers() == []
        assert 2 <= len(gate.seen) < N
        client.scale(0, 1)
        assert batch.results(60).values() == list(range(N))
        assert sorted(gate.seen) == list(range(N)), "some items were run twice"


def test_a_drained_pool_starts_nobody_until_it_is_scaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Semaphore(0)
    process = InProcess(tmp_path / "ledger", workers=2)
    reconcile = process.pool.reconcile
    with process as client:
        client.map(lambda x: x, [1]).wait(60)
        client.drain(timeout=60)
        batch = client.map(lambda x: x, [1, 2])
        monkeypatch.setattr(process.pool, "reconcile", lambda demands: (reconcile(demands), looked.release()))
        assert all(looked.acquire(timeout=60) for _ in range(10)), "the pool does not look at the work"
        assert (client.workers(), batch.counts()) == ([], {"queued": 2})
        client.scale(0, 2)
        assert batch.results(60).values() == [1, 2]


def test_a_drain_of_nobody_returns_at_once(tmp_path: Path) -> None:
    with InProcess(tmp_path / "ledger", workers=(0, 1)) as client:
        client.drain(timeout=0)
        assert client.workers() == []
