"""Chunks that take too long are cut short when somebody else could use the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dfbatch.core import events
from dfbatch.core.breaker_seen import BreakerSeen
from dfbatch.core.chunking import TARGET_S
from dfbatch.core.circuit_breaker import BreakerState
from dfbatch.core.effects import Recall
from dfbatch.core.leasing import LONG_S
from dfbatch.core.sharing import OVERLONG_S


def recalled(driver: Any, seconds: float = 0.0) -> list[tuple[str, tuple[int, ...]]]:
    return [(e.worker, e.lease_ids) for e in driver.of_kind(Recall, driver.tick(seconds))]


def hand_back(driver: Any, worker: str) -> None:
    for lease_id in list(driver.state.workers[worker].leases):
        driver.tell(events.HandedBack(worker, lease_id))


def test_what_was_fetched_ahead_goes_to_a_worker_that_has_nothing(driver: Any) -> None:
    driver.submit(2)
    first, ahead = driver.lease_of(1), driver.lease_of(1)
    assert driver.ask("free") is None
    assert recalled(driver, LONG_S - 0.1) == []
    assert recalled(driver, 0.2) == [("w", (ahead.lease.lease_id,))]
    driver.tell(events.HandedBack("w", ahead.lease.lease_id))
    assert driver.ask("w") is None, "it is still at its first chunk"
    assert driver.lease("free").lease.indices.tolist() == ahead.lease.indices.tolist()
    assert first.lease.lease_id in driver.state.leases


def test_the_rest_of_a_long_chunk_is_shared(driver: Any) -> None:
    """Cheap items first, slow ones after: the worker goes on with the one at hand and the rest is cut anew."""
    batch = driver.submit(100)
    granted = driver.lease_of(100)
    assert driver.ask("free") is None
    driver.wait(LONG_S)
    driver.report(granted, only=range(10), busy_s=10 * TARGET_S)
    assert recalled(driver) == [("w", (granted.lease.lease_id,))]
    driver.report(granted, only=[10], busy_s=TARGET_S)
    driver.tell(events.HandedBack("w", granted.lease.lease_id))
    assert batch.n_waiting == 89
    assert driver.ask("free") is not None


def test_nobody_is_asked_twice_for_one_chunk(driver: Any) -> None:
    driver.submit(100)
    driver.lease_of(100)
    driver.ask("free")
    recalls = []
    for _ in range(50):
        recalls += recalled(driver, 0.25)
        driver.tell(events.Heartbeat("w", tuple(driver.state.workers["w"].leases)))
    assert len(recalls) == 1


@pytest.mark.parametrize(
    "why", ["last item", "suspects", "limited", "paused", "storage", "work is there", "nobody asks"]
)
def test_a_chunk_is_left_alone_where_sharing_would_not_help(driver: Any, why: str) -> None:
    batch = driver.submit(10, queue="q")
    if why == "suspects":
        driver.lease_of(10)
        driver.kill()
        assert driver.lease("w").lease.solo
        assert driver.lease("v").lease.solo
    elif why == "last item":
        driver.report(granted := driver.lease_of(10), only=range(9))
        assert granted.lease.n_open == 1
    else:
        driver.lease_of(10)
    if why != "nobody asks":
        driver.ask("free")
    match why:
        case "limited":
            driver.limit("q", concurrency=10)
        case "paused":
            batch.paused = "paused"
        case "storage":
            driver.tell(events.StorageHealth("disk full"))
        case "work is there":
            driver.submit(5, "other")
    assert recalled(driver, LONG_S + 0.1) == []
    batch.paused = None


def test_one_photo_does_not_wait_for_a_chunk_of_slow_items_of_a_batch_of_its_own_priority(driver: Any) -> None:
    driver.submit(1_000, "many")
    held = [driver.lease_of(100), driver.lease_of(100, "v")]
    driver.wait(1.0)
    photo = driver.submit(1, "photo")
    assert recalled(driver, OVERLONG_S - 0.1) == []
    assert recalled(driver, 0.2) == [("v", (held[1].lease.lease_id,))] or [("w", (held[0].lease.lease_id,))]
    worker = "w" if held[0].lease.recalled_at is not None else "v"
    driver.state.batches["many"].sizer.observe(1, 10.0)
    hand_back(driver, worker)
    got = []
    while not got or got[-1] != "photo":
        granted = driver.lease(worker)
        got.append(granted.lease.batch_id)
        driver.report(granted, busy_s=10.0 * len(granted.lease.indices))
        assert len(got) <= 2, "after at most one more chunk of the other"
    assert not photo.n_waiting


def test_lesser_batches_do_not_cut_short_greater_ones(driver: Any) -> None:
    driver.submit(1_000, "urgent", priority=3)
    driver.lease_of(100)
    driver.submit(1, "photo")
    assert recalled(driver, OVERLONG_S + 0.1) == []


def test_urgent_work_is_made_room_for_although_another_urgent_batch_runs(driver: Any) -> None:
    driver.submit(100, "slow")
    driver.lease_of(4, "a")
    driver.submit(1, "first", priority=5)
    driver.lease_of(1, "b")
    driver.wait(0.4)
    driver.submit(1, "second", priority=5)
    assert [recall.worker for recall in driver.of_kind(Recall)] == ["a"]


def test_slow_items_are_not_fetched_ahead(driver: Any) -> None:
    batch = driver.submit(10)
    batch.sizer.observe(1, TARGET_S)
    assert driver.ask() is not None
    assert driver.ask() is None
    assert driver.ask("free") is not None


# ------------------------------------------------------------------------------- free workers are not alike


def hello_in_vain(driver: Any, why: str) -> None:
    """A free worker, 'other', that may have nothing of queue 'q' or of the verifier 'v1'."""
    driver.hello("other", queues=None if why == "rests" else ("elsewhere",))
    if why == "rests":
        seen = BreakerSeen("v1", "scorer", BreakerState.OPEN, driver.now.mono + 600.0, 1, True)
        driver.tell(events.BreakersSeen("other", (seen,)))
    assert driver.ask("other") is None
    if why == "has work of its own":
        driver.submit(5, "of its own", queue="elsewhere")


@pytest.fixture(params=["serves another queue", "has work of its own", "rests"])
def why(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def submit_to_q(driver: Any, n: int, batch_id: str = "b") -> Any:
    batch = driver.submit(n, batch_id, queue="q")
    batch.spec = replace(batch.spec, verifier="v1")
    return batch


def test_a_free_worker_that_may_not_take_it_keeps_no_other_one_from_it(driver: Any, why: str) -> None:
    submit_to_q(driver, 2)
    driver.lease_of(1)
    ahead = driver.lease_of(1)
    hello_in_vain(driver, why)
    driver.hello("free", queues=("q",))
    assert driver.ask("free") is None
    assert recalled(driver, LONG_S + 0.1) == [("w", (ahead.lease.lease_id,))]
    hand_back(driver, "w")
    assert driver.ask("free") is not None


def test_nothing_is_called_back_for_a_free_worker_that_may_not_take_it(driver: Any, why: str) -> None:
    """Two workers are free and one of them may take something: one chunk is enough."""
    submit_to_q(driver, 4)
    for worker in ("w", "w", "v", "v"):
        driver.lease_of(1, worker)
    hello_in_vain(driver, why)
    assert recalled(driver, LONG_S + 0.1) == []
    driver.hello("free", queues=("q",))
    assert driver.ask("free") is None
    assert len(recalled(driver)) == 1


def test_a_batch_that_waits_is_made_room_for_although_a_worker_is_free_that_may_not_take_it(
    driver: Any, why: str
) -> None:
    submit_to_q(driver, 1_000, "many")
    held = driver.lease_of(100)
    hello_in_vain(driver, why)
    submit_to_q(driver, 1, "photo")
    assert recalled(driver, OVERLONG_S + 0.1) == [("w", (held.lease.lease_id,))]
