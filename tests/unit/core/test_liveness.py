"""What time alone brings about."""

from __future__ import annotations

from typing import Any

import pytest

from dfbatch.core import events
from dfbatch.core.books import LEASE_TERM_S
from dfbatch.core.effects import Note, Recall, WorkAvailable
from dfbatch.core.error_class import ErrorClass as E
from dfbatch.core.liveness import SILENT_S, STALL_S
from dfbatch.core.states import BatchState
from dfbatch.core.yielding import YIELD_AFTER_S, YIELD_PATIENCE_S

HOUR = 3_600.0

# ------------------------------------------------------------------------------------- leases


def test_a_lease_expires_and_its_jobs_go_to_others_uncharged(driver: Any) -> None:
    batch = driver.submit(3)
    granted = driver.lease_of(3)
    driver.report(granted, only=[0])
    driver.tick(LEASE_TERM_S - 0.1)
    assert granted.lease.lease_id in driver.state.leases
    effects = driver.tick(0.2)
    assert not driver.state.leases
    assert driver.of_kind(WorkAvailable, effects)
    (note,) = driver.of_kind(Note, effects)
    assert (note.kind, note.worker, note.detail["lease"]) == ("lease_expired", "w", granted.lease.lease_id)
    assert driver.lease_of(2, "v").lease.indices.tolist() == [1, 2]
    assert not batch.jobs.attempts.any()


def test_the_lease_of_a_lost_worker_waits_for_its_mark(driver: Any) -> None:
    driver.submit(3)
    driver.lease_of(3)
    driver.wait(LEASE_TERM_S - 1.0)
    driver.tell(events.WorkerLost("w", "1", "killed"))
    driver.tick(3.0)
    assert driver.state.leases, "past its deadline, but the next incarnation may say where it died"


def test_a_worker_that_vanished_is_no_idle_hand_for_ever(driver: Any) -> None:
    driver.submit(3)
    driver.hello("ghost")
    driver.lease_of(3)
    driver.tick(SILENT_S - 1.0)
    driver.tell(events.Heartbeat("w", ()))
    effects = driver.tick(1.1)
    assert [(e.kind, e.worker) for e in driver.of_kind(Note, effects)] == [("worker_silent", "ghost")]
    assert list(driver.state.workers) == ["w"]


def test_a_worker_that_was_forgotten_may_still_deliver(driver: Any) -> None:
    driver.submit(3)
    granted = driver.lease_of(3)
    driver.tick(SILENT_S)
    assert "w" not in driver.state.workers
    driver.report(granted)
    assert driver.state.batches["b"].jobs.n_terminal == 3


# ------------------------------------------------------------------------- clocks that jump


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_wall_clock_that_jumps_is_an_event(driver: Any, jump: float) -> None:
    driver.tick()
    effects = driver.tick(1.0, jump)
    assert [(e.kind, e.detail) for e in driver.of_kind(Note, effects)] == [("clock_jumped", {"seconds": jump})]
    assert not driver.of_kind(Note, driver.tick(1.0))


def test_a_clock_that_is_trimmed_gently_is_no_event(driver: Any) -> None:
    driver.tick()
    assert not driver.of_kind(Note, driver.tick(1.0, jump=4.9))


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_jump_moves_neither_retries_nor_deadlines_nor_delays(driver: Any, jump: float) -> None:
    batch = driver.submit(1, deadline_s=600.0, initial_s=30.0)
    delayed = driver.submit(1, "later", delay_s=30.0)
    driver.report(driver.lease(), E.TRANSIENT)
    driver.tick(29.0, jump)
    assert driver.states(batch) == ["retrying"]
    assert driver.ask() is None
    driver.tick(1.1)
    assert driver.states(batch) == ["queued"]
    assert driver.lease().lease.batch_id == "b"
    assert driver.lease().lease.batch_id == delayed.batch_id
    driver.tick(500.0)
    assert batch.stopping is None
    driver.tick(70.0)
    assert batch.stopping is not None


# ------------------------------------------------------------------------ retries, deadlines


def test_due_retries_are_told_to_those_who_wait_and_go_first(driver: Any) -> None:
    driver.submit(5)
    driver.report(driver.lease_of(1), E.TRANSIENT)
    assert not driver.of_kind(WorkAvailable, driver.tick(0.5))
    assert driver.of_kind(WorkAvailable, driver.tick(0.6))
    assert driver.lease_of(1).lease.indices.tolist() == [0]


def test_the_deadline_expires_what_waits_calls_back_what_runs_and_is_noted(driver: Any) -> None:
    batch = driver.submit(4, deadline_s=30.0)
    granted = driver.lease_of(1)
    driver.report(driver.lease_of(1), E.TRANSIENT)
    effects = driver.tick(30.0)
    assert driver.states(batch) == ["running", "expired", "expired", "expired"]
    assert driver.of_kind(Recall, effects) == [
        Recall("w", (granted.lease.lease_id,), "The deadline of the batch passed.")
    ]
    (note,) = driver.of_kind(Note, effects)
    assert (note.kind, note.detail["error_type"], note.detail["batch_state"]) == ("stopped", "DeadlinePassed", None)


def test_a_paused_batch_expires_as_well(driver: Any) -> None:
    batch = driver.submit(2, deadline_s=60.0)
    driver.tell(events.BatchPaused("b"))
    driver.tick(61.0)
    driver.commit()
    assert batch.finished_as is BatchState.EXPIRED


# -------------------------------------------------------------------------------------- stalls


def stalled(driver: Any, seconds: float = STALL_S + 0.1) -> str | None:
    driver.tick(seconds)
    return driver.state.batches["b"].stalled


def test_work_that_nobody_claims_is_stalled_after_a_while(driver: Any) -> None:
    driver.submit(5)
    assert stalled(driver, STALL_S - 0.1) is None
    assert stalled(driver, 0.2) == "no worker is there to run it"
    driver.lease()
    assert driver.state.batches["b"].stalled is None


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("storage", "storage refuses writes: disk full"),
        ("queue", "queue 'default' is paused"),
        ("rate", "queue 'default' is limited to 0.001 jobs a second"),
        ("concurrency", "queue 'default' runs at its limit of 1 jobs"),
        ("queues", "no worker serves queue 'default'"),
        ("busy", "all workers are busy with other batches"),
    ],
)
def test_a_stall_says_why(driver: Any, why: str, reason: str) -> None:
    match why:
        case "storage":
            driver.tell(events.StorageHealth("disk full"))
        case "queue":
            driver.limit(paused=True)
        case "rate":
            driver.limit(rate_per_s=0.001)
            driver.submit(1, "other")
            driver.work_off()
        case "concurrency":
            driver.limit(concurrency=1)
            driver.submit(1, "other")
            driver.lease()
        case "queues":
            driver.hello(queues=("profiles",))
        case "busy":
            driver.hello()
    driver.submit(5)
    assert stalled(driver) == reason


def test_work_whose_shape_no_node_has_is_stalled_at_once_until_one_has_it(driver: Any) -> None:
    driver.submit(3, shape="cpu1-gpu8")
    driver.submit(3, "plain")
    driver.tell(events.PoolTroubled({"cpu1-gpu8": "No node of the cluster has it."}))
    assert stalled(driver, 0.1) == "No node of the cluster has it."
    assert driver.state.batches["plain"].stalled is None
    driver.tell(events.PoolTroubled({}))
    assert stalled(driver, 0.1) is None


def test_work_that_somebody_does_is_not_stalled_by_what_is_wrong_with_the_pool(driver: Any) -> None:
    driver.submit(3)
    driver.hello()
    driver.tell(events.PoolTroubled({"default": "Workers do not start."}))
    assert stalled(driver, 0.1) is None
    driver.tell(events.WorkerLost("w", "1", "killed"))
    assert stalled(driver, 0.1) == "Workers do not start."


@pytest.mark.parametrize("why", ["paused", "delayed", "running", "done"])
def test_what_has_a_reason_to_wait_is_not_stalled(driver: Any, why: str) -> None:
    driver.submit(5, delay_s=99.0 if why == "delayed" else 0.0)
    match why:
        case "paused":
            driver.tell(events.BatchPaused("b"))
        case "running":
            driver.lease()
        case "done":
            driver.work_off()
    assert stalled(driver) is None


def test_a_batch_whose_every_item_comes_back_from_a_breaker_is_stalled(driver: Any) -> None:
    driver.submit(2)
    driver.report(driver.lease_of(2), E.BREAKER_OPEN)
    assert stalled(driver, 3.0) is None
    driver.tick(2.0)
    driver.report(driver.lease_of(2), E.BREAKER_OPEN)
    assert stalled(driver, STALL_S - 4.0) == "a dependency does not answer: its circuit breaker sends every item back"
    driver.report(driver.lease_of(2), [E.NONE, E.BREAKER_OPEN])
    assert stalled(driver, 0.1) is None


# -------------------------------------------------------------------------------- making room


def busy_with_lesser_work(driver: Any) -> list[Any]:
    driver.submit(100, "slow")
    leases = [driver.lease_of(4), driver.lease_of(4), driver.lease_of(4, "v")]
    driver.wait(YIELD_AFTER_S + 0.1)
    return leases


def test_one_worker_is_asked_to_make_room_for_urgent_work(driver: Any) -> None:
    leases = busy_with_lesser_work(driver)
    driver.submit(1, "urgent", priority=5)
    ids = tuple(granted.lease.lease_id for granted in leases[:2])
    driver.tick()
    assert driver.of_kind(Recall) == [Recall("w", ids, "yield")], "at once, and once"
    for lease_id in ids:
        driver.tell(events.HandedBack("w", lease_id))
    assert driver.lease().lease.batch_id == "urgent"


def test_a_free_worker_that_may_not_take_the_urgent_work_does_not_keep_others_from_making_room(driver: Any) -> None:
    busy_with_lesser_work(driver)
    driver.hello("other", queues=("something else",))
    driver.submit(1, "urgent", priority=5)
    driver.tick()
    assert [recall.worker for recall in driver.of_kind(Recall)] == ["w"]


def test_nobody_makes_room_while_a_free_worker_can_take_the_urgent_work(driver: Any) -> None:
    busy_with_lesser_work(driver)
    driver.hello("free")
    driver.submit(1, "urgent", priority=5)
    assert not driver.of_kind(Recall, driver.tick())


def test_a_chunk_just_begun_is_called_back_a_moment_later(driver: Any) -> None:
    driver.submit(100, "slow")
    driver.lease_of(4)
    driver.submit(1, "urgent", priority=5)
    assert not driver.of_kind(Recall)
    assert driver.of_kind(Recall, driver.tick(YIELD_AFTER_S))


def test_the_same_chunk_is_not_called_back_again_and_again(driver: Any) -> None:
    leases = busy_with_lesser_work(driver)
    driver.submit(1, "urgent", priority=5)
    recalls = driver.of_kind(Recall)
    for _ in range(100):
        recalls += driver.of_kind(Recall, driver.tick(0.25))
        for worker in "wv":
            ids = tuple(driver.state.workers[worker].leases)
            driver.tell(events.Heartbeat(worker, ids))
    assert [e.worker for e in recalls] == ["w", "v"], "each once, the second after the patience with the first"
    assert sum(len(e.lease_ids) for e in recalls) == len(leases)


def test_the_second_is_asked_only_when_the_first_had_its_time(driver: Any) -> None:
    busy_with_lesser_work(driver)
    driver.submit(1, "urgent", priority=5)
    driver.tick()
    assert not driver.of_kind(Recall, driver.tick(YIELD_PATIENCE_S - 0.1))
    assert [e.worker for e in driver.of_kind(Recall, driver.tick(0.2))] == ["v"]


@pytest.mark.parametrize("why", ["equal", "young", "free worker", "limited", "storage", "other queue", "urgent runs"])
def test_nobody_is_disturbed_without_need(driver: Any, why: str) -> None:
    leases = busy_with_lesser_work(driver)
    if why == "limited":
        driver.limit("q", rate_per_s=0.001)
        driver.submit(1, "spender", queue="q", priority=1)
        driver.report(driver.lease("v"))
        driver.effects.clear()  # room was made for that one
        driver.wait(YIELD_PATIENCE_S)
    match why:
        case "young" | "urgent runs":
            for granted in leases:
                granted.lease.granted_at = driver.now.mono
        case "free worker":
            driver.hello("x")
        case "storage":
            driver.tell(events.StorageHealth("disk full"))
        case "other queue":
            for worker in driver.state.workers.values():
                worker.queues = ("default",)
    driver.submit(5, "urgent", priority=0 if why == "equal" else 5, queue="q")
    if why == "urgent runs":
        assert driver.lease("v").lease.batch_id == "urgent"
        driver.wait(YIELD_AFTER_S + 0.1)
    driver.tick()
    assert not driver.of_kind(Recall)


# ----------------------------------------------------------------------------------- waking


def test_parked_workers_are_woken_while_there_is_work_they_could_not_get(driver: Any) -> None:
    driver.limit(rate_per_s=1.0)
    driver.submit(10)
    while (granted := driver.ask()) is not None:
        driver.report(granted)
    assert driver.of_kind(WorkAvailable, driver.tick(1.0))
    assert driver.ask() is not None


def test_nobody_is_woken_for_nothing(driver: Any) -> None:
    driver.hello()
    assert driver.ask() is None
    driver.tell(events.Tick())
    assert driver.tick(1.0) == []
    driver.submit(1)
    driver.report(driver.lease())
    assert driver.tick(1.0) == []
