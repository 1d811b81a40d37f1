"""What operators ask for: pause, resume, cancel, redrive, priorities, limits of queues."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dfbatch.core import control, events
from dfbatch.core.batch import BatchStop
from dfbatch.core.death import CONSTRUCTING
from dfbatch.core.effects import BatchEnded, BatchReopened, Note, OutcomesDecided, Recall, WorkAvailable
from dfbatch.core.error_class import ErrorClass as E
from dfbatch.core.states import BatchState
from dfbatch.errors import InvalidInput, QueueFull


def array(*indices: int) -> np.ndarray:
    return np.array(indices, np.int64)


# --------------------------------------------------------------------------- pause and resume


def test_a_paused_batch_is_called_back_and_not_leased(driver: Any) -> None:
    driver.submit(10)
    driver.submit(10, "other")
    mine, other = driver.lease(), driver.lease("v")
    effects = driver.tell(events.BatchPaused(mine.lease.batch_id))
    assert effects == [Recall("w", (mine.lease.lease_id,), "paused")]
    driver.tell(events.HandedBack("w", mine.lease.lease_id))
    assert driver.lease().lease.batch_id == other.lease.batch_id


def test_a_resumed_batch_goes_on(driver: Any) -> None:
    driver.submit(10)
    driver.tell(events.BatchPaused("b"))
    assert driver.ask() is None
    assert driver.of_kind(WorkAvailable, driver.tell(events.BatchResumed("b")))
    assert driver.ask() is not None


def test_what_still_runs_when_a_batch_is_paused_keeps_its_outcome(driver: Any) -> None:
    batch = driver.submit(1)
    granted = driver.lease()
    driver.tell(events.BatchPaused("b"))
    driver.report(granted)
    driver.commit()
    assert batch.finished_as is BatchState.SUCCEEDED
    assert batch.paused is None


def test_an_ended_batch_cannot_be_paused_and_nothing_happens_when_it_is_resumed(driver: Any) -> None:
    batch = driver.submit(1)
    driver.work_off()
    driver.commit()
    with pytest.raises(InvalidInput, match="has ended as succeeded and cannot be paused"):
        driver.tell(events.BatchPaused("b"))
    assert batch.paused is None
    driver.tell(events.BatchResumed("b"))


def test_a_paused_queue_stops_all_its_batches_and_no_others(driver: Any) -> None:
    driver.submit(10, "mine", queue="q")
    granted = driver.lease()
    driver.submit(10, "other")
    assert driver.of_kind(Recall, driver.limit("q", paused=True)) == [
        Recall("w", (granted.lease.lease_id,), "queue paused")
    ]
    driver.submit(10, "later", queue="q")
    driver.tell(events.HandedBack("w", granted.lease.lease_id))
    assert driver.lease().lease.batch_id == "other"
    assert driver.lease().lease.batch_id == "other"
    assert driver.of_kind(WorkAvailable, driver.limit("q", paused=False))
    assert [driver.lease(worker).lease.batch_id for worker in "xyz"] == ["other", "mine", "later"]


def test_suspects_of_a_paused_queue_wait_like_all_others(driver: Any) -> None:
    driver.submit(1, queue="q")
    granted = driver.lease()
    driver.kill(mark=(granted.lease.lease_id, 0))
    driver.limit("q", paused=True)
    driver.tick(60.0)
    assert driver.ask() is None
    driver.limit("q", paused=False)
    assert driver.lease().lease.solo


def test_retries_that_come_due_in_a_pause_wait_for_its_end(driver: Any) -> None:
    driver.submit(1)
    driver.report(driver.lease(), E.TRANSIENT)
    driver.tell(events.BatchPaused("b"))
    driver.tick(60.0)
    assert driver.ask() is None
    driver.tell(events.BatchResumed("b"))
    assert driver.ask() is not None


# ------------------------------------------------------------------------------------- cancel


def test_a_cancel_ends_what_waits_and_calls_back_what_runs(driver: Any, cancel: BatchStop) -> None:
    batch = driver.submit(6, fail_fast=False)
    driver.report(driver.lease_of(2), [E.NONE, E.TRANSIENT])
    granted = driver.lease_of(2)
    effects = driver.tell(events.BatchStopped("b", cancel))
    assert driver.states(batch) == ["succeeded", "cancelled", "running", "running", "cancelled", "cancelled"]
    assert driver.of_kind(Recall, effects) == [Recall("w", (granted.lease.lease_id,), cancel.reason)]
    driver.report(granted, only=[2])
    driver.tell(events.HandedBack("w", granted.lease.lease_id))
    assert driver.states(batch)[2:4] == ["succeeded", "cancelled"]
    (ended,) = driver.of_kind(BatchEnded, driver.commit())
    assert (ended.state, ended.counts) == (BatchState.CANCELLED, {"succeeded": 2, "cancelled": 4})


def test_a_second_cancel_and_a_late_one_change_nothing(driver: Any, cancel: BatchStop) -> None:
    driver.submit(2)
    driver.tell(events.BatchStopped("b", cancel))
    assert driver.tell(events.BatchStopped("b", cancel)) == []
    driver.commit()
    assert driver.tell(events.BatchStopped("b", cancel)) == []


def test_a_retry_of_a_cancelled_batch_does_not_come_back(driver: Any, cancel: BatchStop) -> None:
    batch = driver.submit(1)
    driver.report(driver.lease(), E.TRANSIENT)
    driver.tell(events.BatchStopped("b", cancel))
    driver.tick(60.0)
    assert driver.states(batch) == ["cancelled"]


def test_jobs_are_cancelled_by_their_handles(driver: Any) -> None:
    batch = driver.submit(6)
    driver.report(driver.lease_of(2), [E.NONE, E.TRANSIENT])
    driver.lease_of(1)
    effects = driver.tell(events.JobsCancelled("b", array(0, 1, 1, 2, 5), "not needed"))
    assert driver.states(batch) == ["succeeded", "cancelled", "running", "queued", "queued", "cancelled"]
    (decided,) = driver.of_kind(OutcomesDecided, effects)
    assert decided.indices.tolist() == [1, 5]
    assert decided.attempts.tolist() == [1, 0]
    assert decided.error_message == "not needed"


@pytest.mark.parametrize(
    ("what", "state"),
    [(E.NONE, "succeeded"), (E.TRANSIENT, "failed"), (E.BREAKER_OPEN, "cancelled"), (None, "cancelled")],
)
def test_a_running_job_that_was_cancelled_is_not_tried_again(driver: Any, what: E | None, state: str) -> None:
    batch = driver.submit(2, fail_fast=False)
    granted = driver.lease_of(2)
    driver.tell(events.JobsCancelled("b", array(0)))
    if what is None:
        driver.tell(events.HandedBack("w", granted.lease.lease_id))
    else:
        driver.report(granted, what)
    assert driver.states(batch)[0] == state
    assert driver.states(batch)[1] == {None: "queued", E.NONE: "succeeded"}.get(what, "retrying")
    assert not batch.cancel_asked


def test_what_was_fetched_ahead_of_cancelled_jobs_is_called_back_and_never_runs(driver: Any) -> None:
    batch = driver.submit(8)
    at_hand, ahead, other = driver.lease_of(3), driver.lease_of(3), driver.lease_of(1, "v")
    called = driver.of_kind(Recall, driver.tell(events.JobsCancelled("b", array(1, 3, 4))))
    assert called == [Recall("w", (at_hand.lease.lease_id, ahead.lease.lease_id), "jobs cancelled")]
    driver.tell(events.HandedBack("w", ahead.lease.lease_id))
    assert driver.states(batch)[3:6] == ["cancelled", "cancelled", "queued"]
    driver.report(at_hand, only=[0])
    driver.tell(events.HandedBack("w", at_hand.lease.lease_id))
    assert driver.states(batch)[:3] == ["succeeded", "cancelled", "queued"]
    assert not batch.jobs.attempts.any()
    driver.report(other)
    driver.work_off()
    (ended,) = driver.of_kind(BatchEnded, driver.commit())
    assert ended.counts == {"succeeded": 5, "cancelled": 3}


def test_a_cancel_of_what_waits_calls_nothing_back(driver: Any) -> None:
    driver.submit(4)
    driver.lease_of(2)
    assert not driver.of_kind(Recall, driver.tell(events.JobsCancelled("b", array(2, 3))))


def test_a_chunk_with_a_cancelled_job_may_still_be_asked_to_make_way(driver: Any) -> None:
    driver.submit(4)
    granted = driver.lease_of(4)
    driver.tell(events.JobsCancelled("b", array(1)))
    assert granted.lease.recalled_at is None


def test_jobs_of_a_batch_that_is_stopped_are_called_back_once(driver: Any, cancel: BatchStop) -> None:
    """A second recall would say that the item at hand is still wanted."""
    driver.submit(4)
    driver.lease_of(2)
    driver.tell(events.BatchStopped("b", cancel))
    assert not driver.of_kind(Recall, driver.tell(events.JobsCancelled("b", array(0))))


def test_jobs_that_are_not_there_cannot_be_cancelled(driver: Any) -> None:
    batch = driver.submit(3)
    for wrong in (array(0, 3), array(-1)):
        with pytest.raises(InvalidInput, match="batch b has the jobs b-0 to b-2"):
            driver.tell(events.JobsCancelled("b", wrong))
    assert driver.states(batch) == ["queued"] * 3


# ------------------------------------------------------------------------------------ redrive


def test_a_redrive_begins_the_next_generation(driver: Any) -> None:
    batch = driver.fail(3)
    effects = driver.tell(events.Redriven("b", array(0, 2)))
    assert driver.of_kind(BatchReopened, effects) == [BatchReopened("b")]
    assert batch.finished_as is None
    assert batch.jobs.generation.tolist() == [1, 0, 1]
    assert batch.jobs.attempts.tolist() == [0, 1, 0]
    driver.work_off()
    (ended,) = driver.of_kind(BatchEnded, driver.commit())
    assert (ended.state, ended.counts) == (BatchState.PARTIAL, {"succeeded": 2, "failed": 1})


def test_a_redrive_of_nothing_is_nothing(driver: Any) -> None:
    batch = driver.fail(1)
    assert driver.tell(events.Redriven("b", array())) == []
    assert batch.finished_as is BatchState.PARTIAL


def test_a_running_batch_can_be_redriven_in_part(driver: Any) -> None:
    batch = driver.submit(4, fail_fast=False)
    driver.report(driver.lease_of(1), E.PERMANENT)
    driver.commit()
    effects = driver.tell(events.Redriven("b", array(0)))
    assert not driver.of_kind(BatchReopened, effects)
    driver.work_off()
    driver.commit()
    assert batch.finished_as is BatchState.SUCCEEDED


def test_a_verifier_that_killed_its_workers_while_it_was_constructed_gets_all_its_tries_again(driver: Any) -> None:
    batch = driver.submit(4, max_worker_deaths=2)
    for _ in range(2):
        driver.kill(mark=(driver.lease().lease.lease_id, CONSTRUCTING))
    driver.commit()
    assert batch.finished_as is BatchState.FAILED
    driver.tell(events.Redriven("b", control.redrivable(driver.state, "b")))
    driver.kill(mark=(driver.lease().lease.lease_id, CONSTRUCTING))
    assert batch.stopping is None
    driver.work_off()
    driver.commit()
    assert batch.finished_as is BatchState.SUCCEEDED


def test_outcomes_that_are_not_written_yet_cannot_be_redriven(driver: Any) -> None:
    batch = driver.submit(3, fail_fast=False)
    driver.report(driver.lease_of(1), E.PERMANENT)
    driver.commit()
    driver.report(driver.lease_of(1), E.PERMANENT)
    assert control.redrivable(driver.state, "b").tolist() == [0]
    with pytest.raises(InvalidInput, match="still being written"):
        driver.tell(events.Redriven("b", array(0, 1)))
    assert driver.states(batch) == ["failed", "failed", "queued"], "nothing changed"
    driver.tell(events.Redriven("b", array(0)))
    driver.commit()
    assert control.redrivable(driver.state, "b").tolist() == [1]


@pytest.mark.parametrize("which", [[0], [1], [0, 2], [9], [-1]])
def test_only_jobs_without_success_can_be_redriven(driver: Any, which: list[int]) -> None:
    batch = driver.submit(3, fail_fast=False)
    driver.report(driver.lease_of(1))
    driver.lease_of(1)
    driver.commit()
    with pytest.raises(InvalidInput):
        driver.tell(events.Redriven("b", array(*which)))
    assert driver.states(batch) == ["succeeded", "running", "queued"]
    assert not batch.jobs.generation.any()


def test_a_batch_that_is_being_cancelled_is_not_redriven(driver: Any, cancel: BatchStop) -> None:
    driver.submit(3)
    driver.lease_of(1)
    driver.tell(events.BatchStopped("b", cancel))
    driver.commit()
    with pytest.raises(InvalidInput, match="being stopped.*Wait until it has ended"):
        driver.tell(events.Redriven("b", array(2)))


def test_a_cancelled_batch_can_be_redriven_whole(driver: Any, cancel: BatchStop) -> None:
    batch = driver.submit(3)
    driver.tell(events.BatchStopped("b", cancel))
    driver.commit()
    driver.tell(events.Redriven("b", control.redrivable(driver.state, "b")))
    driver.work_off()
    driver.commit()
    assert batch.finished_as is BatchState.SUCCEEDED


def test_a_redrive_needs_room_in_its_queue(driver: Any) -> None:
    batch = driver.fail(3)
    driver.limit(max_length=2)
    with pytest.raises(QueueFull):
        driver.tell(events.Redriven("b", array(0, 1, 2)))
    assert batch.finished_as is BatchState.PARTIAL
    driver.tell(events.Redriven("b", array(0, 1)))


def test_a_redrive_after_the_deadline_gets_a_new_one(driver: Any) -> None:
    batch = driver.submit(2, deadline_s=60.0)
    driver.tick(60.0)
    driver.commit()
    assert batch.finished_as is BatchState.EXPIRED
    driver.tell(events.Redriven("b", array(0, 1)))
    driver.tick(59.0)
    assert driver.states(batch) == ["queued"] * 2
    driver.tick(1.1)
    assert driver.states(batch) == ["expired"] * 2


def test_a_mended_verifier_gets_as_many_tries_as_the_first(driver: Any) -> None:
    batch = driver.submit(200, fail_fast_after=50)
    driver.report(driver.lease_of(50), E.PERMANENT)
    driver.commit()
    assert batch.finished_as is BatchState.FAILED
    driver.tell(events.Redriven("b", control.redrivable(driver.state, "b")))
    driver.report(driver.lease_of(10), E.PERMANENT)
    assert batch.stopping is None


def test_a_redriven_job_is_no_suspect_and_has_no_old_wait(driver: Any) -> None:
    batch = driver.submit(2)
    granted = driver.lease_of(1)
    driver.kill(mark=(granted.lease.lease_id, 0))
    driver.tell(events.JobsCancelled("b", array(0)))
    driver.commit()
    driver.tell(events.Redriven("b", array(0)))
    assert not batch.suspects
    assert not driver.lease().lease.solo


# ---------------------------------------------------------------- priority, queues, storage


def test_a_new_priority_counts_from_the_next_lease(driver: Any) -> None:
    driver.submit(100, "a")
    driver.submit(100, "c")
    assert driver.lease().lease.batch_id == "a"
    driver.tell(events.PriorityChanged("a", 3))
    assert driver.lease().lease.batch_id == "a"


def test_a_shorter_queue_refuses_new_work_and_keeps_the_old(driver: Any) -> None:
    driver.submit(10)
    driver.limit(max_length=5)
    with pytest.raises(QueueFull):
        driver.state.admit(driver.spec(1, "c"))
    driver.work_off()
    assert driver.state.batches["b"].jobs.n_open == 0


def test_storage_that_refuses_stops_leasing_but_takes_outcomes(driver: Any) -> None:
    batch = driver.submit(10)
    granted = driver.lease_of(2)
    effects = driver.tell(events.StorageHealth("disk full"))
    assert [(e.kind, e.detail) for e in driver.of_kind(Note, effects)] == [
        ("storage_refusing", {"reason": "disk full"})
    ]
    assert driver.tell(events.StorageHealth("disk full")) == [], "said once"
    assert driver.ask() is None
    driver.report(granted)
    assert batch.jobs.n_terminal == 2
    effects = driver.tell(events.StorageHealth(None))
    assert driver.of_kind(WorkAvailable, effects)
    assert driver.ask() is not None
