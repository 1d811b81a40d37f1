"""A stream whose producer is silent for too long is sealed, once, with what it has."""

from __future__ import annotations

from typing import Any

import numpy as np

from dfbatch.core import events
from dfbatch.core.effects import BatchEnded, Note, SealDue
from dfbatch.core.states import BatchState

SILENCE_S = 60.0


def test_a_silent_producer_is_missed_once(driver: Any) -> None:
    batch = driver.submit(3, sealed=False)
    assert not driver.of_kind(SealDue, driver.tick(SILENCE_S - 1))
    (due,) = driver.of_kind(SealDue, driver.tick(2))
    assert (due.batch_id, due.reason.partition(":")[0]) == ("b", "producer_lost")
    assert not driver.of_kind(SealDue, driver.tick(SILENCE_S)), "the shell is at it"
    driver.work_off()
    driver.commit()
    assert batch.finished_as is None, "not before the seal is durable"
    effects = driver.tell(events.BatchSealed("b", due.reason))
    assert [note.kind for note in driver.of_kind(Note, effects)] == ["producer_lost"]
    (ended,) = driver.of_kind(BatchEnded, effects)
    assert (ended.state, ended.reason) == (BatchState.PARTIAL, due.reason)


def test_signs_of_life_slices_and_slices_on_their_way_keep_a_stream_open(driver: Any) -> None:
    driver.submit(3, sealed=False)
    driver.wait(50)
    driver.tell(events.ProducerSeen("b"))
    assert not driver.of_kind(SealDue, driver.tick(50))
    driver.state.admit_more("b", 2)
    assert not driver.of_kind(SealDue, driver.tick(50)), "a slice is being written"
    driver.tell(events.BatchExtended("b", 2, 3))
    assert not driver.of_kind(SealDue, driver.tick(50))
    assert driver.of_kind(SealDue, driver.tick(20))


def test_a_sealed_batch_needs_no_producer(driver: Any) -> None:
    driver.submit(3)
    assert not driver.of_kind(SealDue, driver.tick(10 * SILENCE_S))


def test_a_stream_that_is_stopped_is_sealed_or_it_would_never_end(driver: Any, cancel: Any) -> None:
    batch = driver.submit(3, sealed=False)
    effects = driver.tell(events.BatchStopped("b", cancel))
    assert driver.of_kind(SealDue, effects) == [SealDue("b", None)]
    driver.tell(events.BatchSealed("b"))
    driver.commit()
    assert batch.finished_as is BatchState.CANCELLED


def test_a_deadline_seals_a_stream_too(driver: Any) -> None:
    driver.submit(3, sealed=False, deadline_s=10.0)
    assert driver.of_kind(SealDue, driver.tick(11.0)) == [SealDue("b", None)]


def test_the_time_of_the_policy_counts_and_after_a_restart_it_counts_anew(make_driver: Any) -> None:
    driver = make_driver()
    nothing = np.empty(0, np.int64)
    spec = driver.spec(3, sealed=False, producer_silence_s=5.0, submitted_at=driver.now.wall - 1_000)
    driver.tell(events.BatchRecovered(spec, nothing, nothing.astype(np.uint8)))
    assert not driver.of_kind(SealDue, driver.tick(4.0))
    assert driver.of_kind(SealDue, driver.tick(2.0))


def test_why_a_stream_was_sealed_is_known_after_a_restart(make_driver: Any) -> None:
    driver = make_driver()
    nothing = np.empty(0, np.int64)
    driver.tell(events.BatchRecovered(driver.spec(3), nothing, nothing.astype(np.uint8), lost="The disk is gone."))
    driver.work_off()
    (ended,) = driver.of_kind(BatchEnded, driver.commit())
    assert (ended.state, ended.reason) == (BatchState.PARTIAL, "The disk is gone.")
