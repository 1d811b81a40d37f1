"""How batches come in: admitted, submitted, streamed, sealed, recovered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dfbatch.core import books, events
from dfbatch.core.batch import BatchStop
from dfbatch.core.effects import BatchEnded, Note, OutcomesDecided
from dfbatch.core.error_class import ErrorClass as E
from dfbatch.core.manager import ManagerState
from dfbatch.core.states import BatchState, JobState
from dfbatch.errors import InvalidInput, KeyConflict, QueueFull, UnknownId


def array(*indices: int) -> np.ndarray:
    return np.array(indices, np.int64)


# ------------------------------------------------------------------------------- at the door


def test_a_repeated_submit_finds_its_batch(driver: Any) -> None:
    driver.submit(3, "first", submit_id="s1")
    assert driver.state.admit(driver.spec(3, "second", submit_id="s1")).existing == "first"


def test_the_same_key_with_the_same_work_is_the_same_batch(driver: Any) -> None:
    driver.submit(3, "first", key="monday", content="abc")
    again = driver.spec(3, "second", key="monday", content="abc")
    assert driver.state.admit(again, {"first": "abc"}).existing == "first"


def test_the_same_key_with_other_work_is_refused_and_says_where_the_old_is(driver: Any) -> None:
    driver.submit(3, "first", key="monday", content="abc")
    with pytest.raises(KeyConflict, match="dfbatch.attach\\('first'\\)"):
        driver.state.admit(driver.spec(3, "second", key="monday", content="xyz"), {"first": "abc"})


def test_a_full_queue_accepts_nothing_of_a_submit(driver: Any) -> None:
    driver.limit(max_length=10)
    driver.submit(8)
    before = driver.state.queue("default").n_reserved
    with pytest.raises(QueueFull, match="holds 8 of at most 10 jobs, so 3 more"):
        driver.state.admit(driver.spec(3, "c", submit_id="s"))
    assert driver.state.queue("default").n_reserved == before
    assert driver.state.admit(driver.spec(2, "c", submit_id="s")).existing is None


def test_what_is_admitted_takes_its_place_at_once(driver: Any) -> None:
    driver.limit(max_length=10)
    driver.state.admit(driver.spec(8, "a"))
    with pytest.raises(QueueFull):
        driver.state.admit(driver.spec(3, "c"))


def test_ended_jobs_leave_room(driver: Any) -> None:
    driver.limit(max_length=5)
    driver.submit(5)
    driver.work_off()
    assert driver.state.admit(driver.spec(5, "c")).existing is None


def test_an_empty_batch_fits_into_a_full_queue(driver: Any) -> None:
    driver.limit(max_length=1)
    driver.submit(1)
    assert driver.submit(0, "empty").finished_as is BatchState.SUCCEEDED


def test_a_withdrawn_submit_leaves_nothing_behind(driver: Any) -> None:
    driver.limit(max_length=10)
    spec = driver.spec(10, "a", submit_id="s", key="k")
    driver.state.admit(spec)
    driver.state.withdraw(spec)
    assert driver.state.admit(driver.spec(10, "c", submit_id="s", key="k")).existing is None


def test_no_id_is_given_twice(driver: Any) -> None:
    """Ids of a minute have three random letters only: the shell draws again."""
    driver.state.admit(driver.spec(1, "a"))
    assert driver.state.is_taken("a")
    with pytest.raises(InvalidInput, match="a belongs to another batch"):
        driver.state.admit(driver.spec(1, "a"))


def test_only_recent_submits_are_recognised(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "SUBMIT_IDS_KEPT", 2)
    for k in range(4):
        driver.submit(0, f"b{k}", submit_id=f"s{k}", key=f"k{k}")
    assert list(driver.state.submit_ids) == ["s2", "s3"]
    assert len(driver.state.keys) == 4, "keys are for ever"


def test_a_batch_that_is_announced_twice_is_there_once(driver: Any) -> None:
    batch = driver.submit(3)
    driver.lease()
    assert driver.tell(events.BatchSubmitted(batch.spec)) == []
    assert driver.state.batches["b"] is batch


# --------------------------------------------------------------------------------- streams


def test_an_empty_stream_ends_when_it_is_sealed(driver: Any) -> None:
    batch = driver.submit(0, sealed=False)
    assert batch.finished_as is None
    (ended,) = driver.of_kind(BatchEnded, driver.tell(events.BatchSealed("b")))
    assert (ended.state, ended.counts) == (BatchState.SUCCEEDED, {})
    assert driver.tell(events.BatchSealed("b")) == [], "sealed twice"


def test_a_stream_runs_while_it_grows_and_ends_when_sealed(driver: Any) -> None:
    batch = driver.submit(2, sealed=False)
    driver.work_off()
    driver.commit()
    driver.tell(events.BatchExtended("b", 3, first=2))
    driver.work_off()
    assert not driver.of_kind(BatchEnded, driver.commit())
    driver.tell(events.BatchSealed("b"))
    assert batch.finished_as is BatchState.SUCCEEDED
    assert len(batch.jobs) == 5


def test_a_slice_that_is_said_twice_counts_once(driver: Any) -> None:
    batch = driver.submit(2, sealed=False)
    driver.tell(events.BatchExtended("b", 3, first=2))
    assert driver.tell(events.BatchExtended("b", 3, first=2)) == []
    assert len(batch.jobs) == 5


def test_a_sealed_batch_takes_no_more(driver: Any) -> None:
    batch = driver.submit(2)
    for refused in (lambda: driver.tell(events.BatchExtended("b", 1)), lambda: driver.state.admit_more("b", 1)):
        with pytest.raises(InvalidInput, match="sealed and takes no more jobs"):
            refused()
    assert len(batch.jobs) == 2


def test_a_slice_of_less_than_nothing_is_refused(driver: Any) -> None:
    driver.submit(2, sealed=False)
    with pytest.raises(InvalidInput, match="-1"):
        driver.tell(events.BatchExtended("b", -1))


def test_a_stream_respects_the_length_of_its_queue(driver: Any) -> None:
    driver.limit(max_length=5)
    driver.submit(2, sealed=False)
    driver.state.admit_more("b", 3)
    with pytest.raises(QueueFull):
        driver.state.admit_more("b", 1)
    driver.state.withdraw_more("b", 1)
    driver.state.admit_more("b", 1)
    driver.tell(events.BatchExtended("b", 3))
    assert driver.state.queue("default").n_reserved == 0


def test_sealing_gives_back_what_was_reserved_and_never_came(driver: Any) -> None:
    driver.submit(1, sealed=False)
    driver.state.admit_more("b", 9)
    driver.tell(events.BatchSealed("b", "the producer was silent"))
    assert driver.state.queue("default").n_reserved == 0
    assert [note.kind for note in driver.of_kind(Note)] == ["producer_lost"]


def test_jobs_that_come_after_a_cancel_are_cancelled_too(driver: Any, cancel: BatchStop) -> None:
    batch = driver.submit(2, sealed=False)
    driver.tell(events.BatchStopped("b", cancel))
    (decided,) = driver.of_kind(OutcomesDecided, driver.tell(events.BatchExtended("b", 2)))
    assert decided.indices.tolist() == [2, 3]
    driver.tell(events.BatchSealed("b"))
    driver.commit()
    assert batch.finished_as is BatchState.CANCELLED


def test_a_paused_stream_grows_without_running(driver: Any) -> None:
    driver.submit(0, sealed=False)
    driver.tell(events.BatchPaused("b"))
    driver.tell(events.BatchExtended("b", 4))
    assert driver.ask() is None
    driver.tell(events.BatchResumed("b"))
    assert driver.ask() is not None


# -------------------------------------------------------------------------------- recovery


def recovered(driver: Any, n: int = 6, **columns: Any) -> events.BatchRecovered:
    options = columns.pop("options", {})
    given: dict[str, Any] = {"result_index": array(), "result_status": np.empty(0, np.uint8), **columns}
    return events.BatchRecovered(driver.spec(n, **options), **given)


def tried(*rows: tuple[int, int, int, bool, float]) -> dict[str, np.ndarray]:
    """Rows of (index, attempts, deaths, suspect, retry_at)."""
    index, attempts, deaths, suspect, due = zip(*rows, strict=True)
    return {
        "tried_index": array(*index),
        "tried_attempts": np.array(attempts, np.int16),
        "tried_deaths": np.array(deaths, np.int16),
        "tried_suspect": np.array(suspect, np.bool_),
        "retry_at": np.array(due, np.float64),
    }


def test_what_is_durable_is_not_done_again(driver: Any) -> None:
    codes = np.array([JobState.SUCCEEDED.code, JobState.FAILED.code], np.uint8)
    driver.tell(recovered(driver, result_index=array(1, 4), result_status=codes))
    batch = driver.state.batches["b"]
    assert driver.states(batch) == ["queued", "succeeded", "queued", "queued", "failed", "queued"]
    driver.work_off()
    (ended,) = driver.of_kind(BatchEnded, driver.commit())
    assert ended.counts == {"succeeded": 5, "failed": 1}


def test_a_batch_that_had_all_its_outcomes_ends_at_once(driver: Any) -> None:
    codes = np.full(2, JobState.SUCCEEDED.code, np.uint8)
    effects = driver.tell(recovered(driver, 2, result_index=array(0, 1), result_status=codes))
    assert [e.state for e in driver.of_kind(BatchEnded, effects)] == [BatchState.SUCCEEDED]


def test_tries_and_deaths_are_remembered(driver: Any) -> None:
    driver.tell(recovered(driver, **tried((2, 1, 0, False, driver.now.wall + 9.0), (3, 1, 1, True, 0.0))))
    jobs = driver.state.batches["b"].jobs
    assert jobs.attempts.tolist() == [0, 0, 1, 1, 0, 0]
    assert jobs.deaths.tolist() == [0, 0, 0, 1, 0, 0]
    assert jobs.state[2] == JobState.RETRYING.code


def test_a_retry_waits_on_after_the_restart(driver: Any) -> None:
    driver.tell(recovered(driver, 1, **tried((0, 1, 0, False, driver.now.wall + 9.0))))
    driver.tick(8.5)
    assert driver.ask() is None
    driver.tick(1.0)
    assert driver.ask() is not None


def test_no_retry_waits_longer_than_any_policy_says(driver: Any) -> None:
    """The wall clock may have been put back by a year while no manager was there."""
    driver.tell(recovered(driver, 1, **tried((0, 1, 0, False, driver.now.wall + 3e7))))
    driver.tick(67.0)
    assert driver.ask() is not None


@pytest.mark.parametrize("none", [0.0, float("nan")])
def test_a_last_try_whose_outcome_was_lost_is_made_again(driver: Any, none: float) -> None:
    """Its row in ``attempts`` became durable, the one in ``results`` did not."""
    driver.tell(recovered(driver, 1, **tried((0, 3, 0, False, none)), options={"max_attempts": 3}))
    batch = driver.state.batches["b"]
    assert batch.jobs.attempts[0] == 2
    driver.work_off(E.TRANSIENT)
    assert driver.states(batch) == ["failed"]


def test_suspects_run_alone_after_a_restart(driver: Any) -> None:
    driver.tell(recovered(driver, 4, **tried((1, 0, 0, True, 0.0), (3, 0, 0, True, 0.0))))
    leases = []
    while (granted := driver.ask()) is not None:
        leases.append((granted.lease.solo, granted.lease.indices.tolist()))
        driver.report(granted)
    assert leases[:2] == [(True, [1]), (True, [3])]
    assert all(not solo for solo, _ in leases[2:])


def test_very_many_suspects_run_in_groups(driver: Any) -> None:
    driver.tell(recovered(driver, 1_000, **tried(*((i, 0, 0, True, 0.0) for i in range(1_000)))))
    assert len(driver.state.batches["b"].suspects) == 64


def test_a_cancelled_batch_stays_cancelled(driver: Any, cancel: BatchStop) -> None:
    codes = np.array([JobState.CANCELLED.code], np.uint8)
    effects = driver.tell(recovered(driver, 4, result_index=array(0), result_status=codes, stop=cancel))
    (decided,) = driver.of_kind(OutcomesDecided, effects)
    assert decided.indices.tolist() == [1, 2, 3]
    assert driver.ask() is None
    (ended,) = driver.of_kind(BatchEnded, driver.commit())
    assert ended.state is BatchState.CANCELLED


def test_pause_and_priority_are_remembered(driver: Any) -> None:
    driver.tell(recovered(driver, paused="interrupted", priority=7))
    batch = driver.state.batches["b"]
    assert (batch.paused, batch.priority) == ("interrupted", 7)
    assert driver.ask() is None


def test_generations_are_remembered(driver: Any) -> None:
    driver.tell(recovered(driver, 3, redriven_index=array(1), redriven_generation=np.array([2], np.int16)))
    assert driver.lease_of(3).generation.tolist() == [0, 2, 0]


def test_the_deadline_counts_from_the_last_redrive(driver: Any) -> None:
    old = driver.now.wall - 500.0
    driver.tell(recovered(driver, options={"deadline_s": 60.0, "submitted_at": old}, redriven_at=driver.now.wall - 20))
    assert driver.state.batches["b"].expires_at == driver.now.mono + 40.0


def test_a_batch_is_recovered_once(driver: Any) -> None:
    event = recovered(driver)
    driver.tell(event)
    assert driver.tell(event) == []
    assert driver.state.queue("default").n_open == 6


def test_repeats_of_submits_before_the_restart_are_recognised(driver: Any) -> None:
    driver.tell(recovered(driver, options={"submit_id": "s", "key": "k"}))
    assert driver.state.admit(driver.spec(6, "c", submit_id="s")).existing == "b"
    assert driver.state.admit(driver.spec(6, "c", key="k")).existing == "b"


def test_an_unknown_batch_is_named(state: ManagerState, driver: Any) -> None:
    for event in (events.BatchExtended("nope", 1), events.BatchSealed("nope"), events.BatchPaused("nope")):
        with pytest.raises(UnknownId, match="There is no batch 'nope' here"):
            driver.tell(event)
    with pytest.raises(UnknownId):
        state.admit_more("nope", 1)


def test_a_recovered_batch_cancels_what_was_cancelled_and_has_no_outcome_yet(driver: Any) -> None:
    spec = driver.spec(4)
    succeeded = np.array([JobState.SUCCEEDED.code], np.uint8)
    effects = driver.tell(events.BatchRecovered(spec, array(0), succeeded, cancelled_index=array(0, 2)))
    (decided,) = driver.of_kind(OutcomesDecided, effects)
    assert (decided.indices.tolist(), decided.state) == ([2], JobState.CANCELLED)
    batch = driver.state.batches["b"]
    assert [JobState.of(int(code)).value for code in batch.jobs.state] == ["succeeded", "queued", "cancelled", "queued"]
    driver.work_off()
    driver.commit()
    assert batch.finished_as is BatchState.PARTIAL
    assert batch.jobs.count(JobState.CANCELLED) == 1
