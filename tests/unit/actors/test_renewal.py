"""A worker that makes room for a fresh process hands on what it knows of its dependencies."""

from __future__ import annotations

import pytest

from dfbatch.actors import breaker_memory
from dfbatch.actors.breaker_memory import BreakerMemory, Kept, KeptBreaker
from dfbatch.actors.pool_members import MOST_ESTATES, Estates
from dfbatch.core.circuit_breaker import BreakerPast, BreakerState
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

WAIT_S = 60.0
OPEN = KeptBreaker("v1", "scorer", True, BreakerPast(BreakerState.OPEN, 130.0, 1, 1, "OSError: down"), {"open_s": 40.0})
FORCED = KeptBreaker("v1", "other", True, BreakerPast(BreakerState.OPEN, float("inf"), 1, 1))


class Times:
    """The clocks of a host that was started at some moment of one wall clock."""

    def __init__(self, booted_at):
        self.booted_at, self.wall = booted_at, 1_000_100.0

    def time(self):
        return self.wall

    def monotonic(self):
        return self.wall - self.booted_at


@pytest.fixture
def on_host(monkeypatch):
    def go(booted_at, wall=1_000_100.0):
        times = Times(booted_at)
        times.wall = wall
        monkeypatch.setattr(breaker_memory, "time", times)
        monkeypatch.setattr(breaker_memory, "present_boot", lambda: f"booted at {booted_at}")

    return go


@pytest.fixture
def unavailable(make_gate):
    """A verifier whose dependency is down, with a fallback; ``called.seen`` has the calls that were made."""
    called = make_gate(is_open=True)

    def down(item):
        called(item)
        raise OSError("down")

    def verify(item, ctx):
        policy = {"minimum_calls": 1, "open_s": 300.0, "open_max_s": 300.0}
        return ctx.breaker("scorer", **policy).call(down, item, fallback=-1)

    return called, verify


def test_what_is_left_goes_to_another_name_and_host_with_times_of_its_clock(tmp_path, on_host):
    on_host(booted_at=1_000_000.0)  # monotonic 100
    here = BreakerMemory(tmp_path / "w1.breakers")
    here.write(Kept((OPEN, FORCED), {"scorer": (5.0, "reset")}))
    left = here.bequeath()
    assert list(tmp_path.iterdir()) == [], "the next worker of this name would find it"
    on_host(booted_at=900_000.0, wall=1_000_110.0)  # ten seconds later, monotonic 100,110
    there = BreakerMemory(tmp_path / "w2.breakers")
    there.inherit(left)
    found = BreakerMemory(tmp_path / "w2.breakers").read()
    assert [each.past.retry_at for each in found.breakers] == [100_130.0, float("inf")]
    assert (found.breakers[0].name, found.breakers[0].hurts, found.breakers[0].policy) == ("scorer", True, OPEN.policy)
    assert found.orders == {"scorer": (5.0, "reset")}


def test_one_that_is_started_again_knows_better_than_what_was_left_to_it(tmp_path, on_host):
    on_host(booted_at=1_000_000.0)
    memory = BreakerMemory(tmp_path / "w.breakers")
    memory.inherit(Kept((OPEN,)))
    memory.write(Kept())
    BreakerMemory(tmp_path / "w.breakers").inherit(Kept((OPEN,)))
    assert BreakerMemory(tmp_path / "w.breakers").read() == Kept()


def test_nothing_is_left_where_nothing_was_wrong(tmp_path):
    assert BreakerMemory(tmp_path / "w.breakers").bequeath() is None


def test_what_is_left_goes_once_to_a_worker_of_its_shape_in_order_and_in_bounded_memory():
    estates = Estates()
    estates.leave("gpu", None)
    for k in range(MOST_ESTATES + 2):
        estates.leave("gpu", Kept(orders={"scorer": (float(k), "reset")}))
    assert estates.take("cpu") is None
    found = [estates.take("gpu") for _ in range(MOST_ESTATES)]
    assert [each.orders["scorer"][0] for each in found] == [2.0 + k for k in range(MOST_ESTATES)]
    assert estates.take("gpu") is None


def test_a_pool_renews_its_workers_and_a_breaker_that_is_open_stays_open(tmp_path, unavailable):
    called, verify = unavailable
    life = InProcess(tmp_path / "ledger", workers=1)
    with life as client:
        batch = client.map(verify, range(2_000), recycle_after_items=300).wait(WAIT_S)
        assert batch.results().values() == [-1] * 2_000
        assert len(life.pool._threads) > 2, "none was renewed"
        assert len(called.seen) == 1, "a fresh process knew nothing of it"


def test_the_next_process_of_a_name_finds_the_breakers_of_one_that_was_renewed(
    life, switch, start_worker, unavailable, tmp_path, until
):
    called, verify = unavailable
    switch.life = one = life(workers=(0, 0))
    first = start_worker(switch, "w")
    batch = one.client.map(verify, range(500), recycle_after_items=1)
    assert first.wait_left(WAIT_S)
    assert first.renewal is not None
    assert [path.name for path in tmp_path.glob("w.*")] == ["w.breakers"]
    while not batch.done():
        worker = start_worker(switch, "w")
        until(lambda worker=worker: batch.done() or worker.wait_left(0))
    assert batch.results().values() == [-1] * 500
    assert len(called.seen) == 1
