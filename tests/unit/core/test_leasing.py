"""How chunks are leased, renewed and handed back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dfbatch.core import events
from dfbatch.core.batch import BatchStop
from dfbatch.core.books import LEASE_TERM_S
from dfbatch.core.chunking import ChunkSizer
from dfbatch.core.effects import Recall, WorkAvailable
from dfbatch.core.error_class import ErrorClass as E
from dfbatch.core.leasing import SUSPECT_PATIENCE_S
from dfbatch.core.order import AGEING_S
from dfbatch.core.states import WorkerState

# ---------------------------------------------------------------------------------- who gets what


def test_a_worker_gets_a_chunk_with_its_generations(driver: Any) -> None:
    driver.submit(10)
    granted = driver.lease()
    assert granted.generation.tolist() == [0] * len(granted.lease.indices)
    assert granted.lease.deadline == driver.now.mono + LEASE_TERM_S
    assert driver.state.workers["w"].state is WorkerState.RUNNING


def test_nobody_leases_what_another_has(driver: Any) -> None:
    driver.submit(7)
    seen: list[int] = []
    for worker in ("a", "b", "c", "a", "b", "c"):
        if (granted := driver.ask(worker)) is not None:
            seen += granted.lease.indices.tolist()
    assert len(seen) == len(set(seen)) > 0


def test_a_worker_holds_no_more_than_its_capacity(driver: Any) -> None:
    driver.submit(100)
    assert [driver.ask() is not None for _ in range(3)] == [True, True, False]
    driver.hello("big", capacity=4)
    assert [driver.ask("big") is not None for _ in range(5)] == [True] * 4 + [False]


def test_a_stranger_gets_nothing(driver: Any) -> None:
    driver.submit(5)
    assert driver.tell(events.LeaseRequested("nobody")) == []


def test_a_worker_gets_only_work_of_its_shape(driver: Any) -> None:
    driver.submit(5, "cpu")
    driver.submit(5, "gpu", shape="gpu")
    driver.hello("g", shape="gpu")
    assert driver.lease("g").lease.batch_id == "gpu"
    assert driver.lease("c").lease.batch_id == "cpu"


def test_a_worker_gets_only_work_of_its_queues(driver: Any) -> None:
    driver.submit(5, "mine", queue="profiles")
    driver.submit(5, "other", priority=9)
    driver.hello("w", queues=("profiles",))
    assert driver.lease().lease.batch_id == "mine"


def test_the_urgent_batch_is_leased_first_and_then_the_others_take_turns(driver: Any) -> None:
    driver.submit(1, "urgent", priority=5)
    driver.submit(100, "a")
    driver.submit(100, "b")
    driver.hello("w", capacity=9)
    assert [driver.lease().lease.batch_id for _ in range(5)] == ["urgent", "a", "b", "a", "b"]


def test_one_photo_is_leased_next_however_much_was_there_before(driver: Any) -> None:
    driver.submit(1_000_000, "all of it")
    driver.hello("w", capacity=9)
    driver.lease()
    driver.submit(1, "photo", queue="other")
    assert [driver.lease().lease.batch_id for _ in range(3)] == ["all of it", "photo", "all of it"]


def test_lesser_work_gets_nothing_while_there_is_greater_whatever_came_back_to_it(driver: Any) -> None:
    driver.submit(40, "lesser", priority=1)
    back = driver.lease_of(4)
    greater = driver.submit(500, "greater", priority=2, queue="other")
    greater.sizer = ChunkSizer(cap=5)
    driver.tell(events.HandedBack("w", back.lease.lease_id))
    leased = []
    while "lesser" not in leased:
        granted = driver.lease()
        leased.append(granted.lease.batch_id)
        driver.report(granted)
    assert leased == ["greater"] * (len(leased) - 1) + ["lesser"]
    assert greater.jobs.n_open == 0


@pytest.mark.parametrize("ahead", [1, 3])
def test_lesser_work_is_leased_once_it_has_waited_for_what_its_distance_says(driver: Any, ahead: int) -> None:
    driver.submit(100, "lesser")
    driver.submit(1_000, "greater", priority=ahead).sizer = ChunkSizer(cap=1)
    leased = []
    for _ in range(int(2.5 * ahead * AGEING_S / 10.0)):
        driver.wait(10.0)
        granted = driver.lease()
        leased.append(granted.lease.batch_id)
        driver.report(granted)
    turns = [k for k, batch_id in enumerate(leased) if batch_id == "lesser"]
    every = int(ahead * AGEING_S / 10.0)
    assert turns == [every, 2 * every + 1], "after each of its turns it is young again"


def test_a_batch_with_a_delay_waits(driver: Any) -> None:
    driver.submit(5, delay_s=30.0)
    driver.tick(29.0)
    assert driver.ask() is None
    effects = driver.tick(1.5)
    assert driver.of_kind(WorkAvailable, effects), "parked workers hear of it"
    assert driver.ask() is not None


@pytest.mark.parametrize("why", ["draining", "storage", "hold", "lost"])
def test_times_when_nothing_is_leased(driver: Any, why: str) -> None:
    driver.submit(5)
    driver.hello()
    match why:
        case "draining":
            driver.state.workers["w"].draining = True
        case "storage":
            driver.tell(events.StorageHealth("disk full"))
        case "hold":
            driver.state.hold_leases_until = driver.now.mono + 3.0
        case "lost":
            driver.tell(events.WorkerLost("w", "1", "gone"))
    assert driver.ask() is None


# ------------------------------------------------------------------------------------- limits


def test_concurrency_is_never_exceeded(driver: Any) -> None:
    driver.limit(concurrency=3)
    driver.submit(20)
    driver.submit(20, "c")
    running = []
    for worker in "abcd":
        driver.ask(worker)
        running.append(driver.state.queue("default").n_running)
    assert max(running) == 3


def test_room_under_the_limit_is_told_to_those_who_wait(driver: Any) -> None:
    driver.limit(concurrency=1)
    driver.submit(5)
    granted = driver.lease("a")
    assert driver.ask("b") is None
    assert driver.of_kind(WorkAvailable, driver.report(granted))
    assert driver.ask("b") is not None


def test_a_rate_limit_lets_a_burst_through_and_then_drips(driver: Any) -> None:
    driver.limit(rate_per_s=2.0, burst=4.0)
    driver.submit(100)
    leased = 0
    for _ in range(10):
        driver.wait(1.0)
        while (granted := driver.ask()) is not None:
            leased += len(granted.lease.indices)
            driver.report(granted)
    assert leased == 4 + 18


def test_limits_of_one_queue_leave_others_alone(driver: Any) -> None:
    driver.limit(concurrency=1)
    driver.submit(5, priority=9)
    driver.submit(5, "free", queue="other")
    assert [driver.lease("a").lease.batch_id, driver.lease("b").lease.batch_id] == ["b", "free"]


def test_suspects_keep_to_the_limits_too(driver: Any) -> None:
    driver.submit(8)
    driver.lease_of(8)
    driver.kill()
    driver.limit(concurrency=2)
    assert len(driver.lease("a").lease.indices) == 2
    assert driver.ask("b") is None


def test_a_new_rate_counts_at_once(driver: Any) -> None:
    driver.limit(rate_per_s=0.001)
    driver.submit(50)
    assert len(driver.lease().lease.indices) == 1
    assert driver.ask("v") is None
    driver.limit(rate_per_s=1_000.0)
    assert driver.ask("v") is not None


# ---------------------------------------------------------------------------- stale entries


def test_cancelled_jobs_at_the_front_do_not_hide_the_work_of_others(driver: Any) -> None:
    """A worker that holds something meets a batch whose entries are all stale, and gets the next batch's work."""
    driver.submit(4, "stale", priority=5)
    driver.submit(50, "other")
    driver.hello("w", capacity=4)
    suspect = driver.lease_of(1)
    driver.kill(mark=(suspect.lease.lease_id, 0))
    driver.hello("w", "2", capacity=4)
    assert driver.lease("w").lease.solo
    driver.lease("v")  # of the stale batch
    driver.tell(events.JobsCancelled("stale", np.arange(4)))
    assert driver.lease("v").lease.batch_id == "other"


# ---------------------------------------------------------------------------------- suspects


def suspect_of(driver: Any, n: int = 4) -> int:
    """A batch of ``n`` jobs whose job 0 killed a worker."""
    driver.submit(n)
    granted = driver.lease_of(n)
    driver.kill(mark=(granted.lease.lease_id, 0))
    return 0


def test_a_suspect_runs_alone(driver: Any) -> None:
    suspect_of(driver)
    granted = driver.lease()
    assert granted.lease.solo
    assert granted.lease.indices.tolist() == [0]
    assert driver.ask() is None, "nothing is fetched ahead beside a suspect"


def test_a_suspect_is_not_leased_to_a_worker_that_holds_something(driver: Any) -> None:
    suspect_of(driver, 9)
    first = driver.lease("v")
    assert first.lease.solo
    assert not driver.lease_of(2).lease.solo
    driver.tell(events.HandedBack("v", first.lease.lease_id))
    assert not driver.lease_of(2).lease.solo, "w holds a chunk, so it gets more of the ordinary jobs"


def test_a_suspect_that_waits_is_not_forgotten_by_busy_workers(driver: Any) -> None:
    """Workers fetch ahead, so none would ever be free: after a while one gets nothing more until it is."""
    driver.submit(1_000)
    holding = driver.lease_of(4)
    driver.lease_of(4, "v")
    driver.kill("v", mark=(holding.lease.lease_id + 1, 4))
    assert driver.state.batches["b"].suspects
    ahead = driver.lease()
    assert not ahead.lease.solo
    driver.report(holding)
    driver.wait(SUSPECT_PATIENCE_S + 0.1)
    assert driver.ask() is None, "it works off what it holds"
    driver.report(ahead)
    assert driver.lease().lease.indices.tolist() == [4]


def test_work_of_higher_priority_does_not_wait_for_suspects(driver: Any) -> None:
    suspect_of(driver, 1)
    driver.submit(100, "urgent", priority=9)
    driver.wait(SUSPECT_PATIENCE_S + 0.1)
    assert [driver.lease().lease.batch_id, driver.lease().lease.batch_id] == ["urgent", "urgent"]


def test_a_suspect_that_is_handed_back_stays_a_suspect(driver: Any) -> None:
    suspect_of(driver)
    granted = driver.lease()
    driver.tell(events.HandedBack("w", granted.lease.lease_id))
    again = driver.lease()
    assert again.lease.solo
    assert again.lease.indices.tolist() == [0]


def test_a_suspect_never_runs_in_company_by_an_old_entry(driver: Any) -> None:
    """A late report and a retry leave two entries of one job in line; then it kills a worker."""
    driver.submit(3)
    granted = driver.lease_of(1)
    driver.tick(LEASE_TERM_S)
    driver.report(granted, E.TRANSIENT)
    driver.tick(5.0)
    second = driver.lease_of(1, "v")
    assert second.lease.indices.tolist() == [0]
    driver.kill("v", mark=(second.lease.lease_id, 0))
    assert driver.state.batches["b"].ready.entries().tolist() == [0, 1, 2]
    driver.hello("u")
    driver.state.workers["u"].capacity = 3
    assert driver.lease("u").lease.solo
    assert driver.lease("w").lease.indices.tolist() == [1]


# --------------------------------------------------------------------- hand back, heartbeat


def test_what_is_handed_back_is_leased_first_and_uncharged(driver: Any) -> None:
    batch = driver.submit(10)
    granted = driver.lease_of(4)
    driver.report(granted, only=[0])
    effects = driver.tell(events.HandedBack("w", granted.lease.lease_id))
    assert driver.of_kind(WorkAvailable, effects)
    assert driver.lease("v").lease.indices.tolist() == [1, 2, 3, 4]
    assert not batch.jobs.attempts.any()


def test_nobody_hands_back_what_is_not_its_own(driver: Any) -> None:
    driver.submit(10)
    granted = driver.lease()
    driver.hello("thief")
    assert driver.tell(events.HandedBack("thief", granted.lease.lease_id)) == []
    assert driver.tell(events.HandedBack("w", 99)) == []
    assert granted.lease.lease_id in driver.state.leases


def test_a_heartbeat_renews_leases(driver: Any) -> None:
    driver.submit(10)
    granted = driver.lease()
    for _ in range(5):
        driver.tick(LEASE_TERM_S - 1.0)
        assert driver.tell(events.Heartbeat("w", (granted.lease.lease_id,))) == []
    assert granted.lease.lease_id in driver.state.leases


def test_a_heartbeat_says_which_leases_are_lost(driver: Any) -> None:
    driver.submit(10)
    granted = driver.lease()
    driver.tick(LEASE_TERM_S)
    assert driver.tell(events.Heartbeat("w", (granted.lease.lease_id,))) == [
        Recall("w", (granted.lease.lease_id,), "no longer yours")
    ]


def test_a_heartbeat_calls_back_what_was_cancelled(driver: Any, cancel: BatchStop) -> None:
    driver.submit(10)
    granted = driver.lease()
    driver.tell(events.BatchStopped("b", cancel))
    (recall,) = driver.tell(events.Heartbeat("w", (granted.lease.lease_id,)))
    assert recall.lease_ids == (granted.lease.lease_id,)


def test_a_heartbeat_of_a_stranger_is_not_answered(driver: Any) -> None:
    assert driver.tell(events.Heartbeat("nobody", (1,))) == []


def test_a_worker_that_drains_gets_nothing_more_and_keeps_what_it_holds(driver: Any) -> None:
    driver.submit(100)
    granted = driver.lease_of(4)
    driver.tell(events.Heartbeat("w", (granted.lease.lease_id,), draining=True))
    worker = driver.state.workers["w"]
    assert (worker.state, list(worker.leases)) == (WorkerState.DRAINING, [granted.lease.lease_id])
    assert driver.ask("w") is None
    driver.report(granted)
    assert worker.state is WorkerState.DRAINING
    driver.hello("w", incarnation="next")
    assert driver.ask("w") is not None
