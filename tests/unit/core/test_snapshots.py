"""What observers are shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dfbatch.core import events, snapshots
from dfbatch.core.batch import BatchStop
from dfbatch.core.error_class import ErrorClass as E
from dfbatch.core.states import BatchState
from dfbatch.errors import UnknownId


def seen(driver: Any, batch_id: str = "b") -> Any:
    found = snapshots.progress(driver.state, batch_id, driver.now)
    assert sum(found.counts.values()) == len(driver.state.batches[batch_id].jobs)
    return found


def test_the_life_of_a_batch_as_a_person_sees_it(driver: Any) -> None:
    driver.submit(4, name="monday")
    first = seen(driver)
    assert (first.status, first.counts, first.total, first.name) == (BatchState.QUEUED, {"queued": 4}, 4, "monday")
    granted = driver.lease_of(3)
    assert seen(driver).counts == {"queued": 1, "running": 3}
    assert seen(driver).status is BatchState.RUNNING
    assert seen(driver).workers == 1
    driver.report(granted, [E.NONE, E.PERMANENT, E.TRANSIENT])
    assert seen(driver).counts == {"queued": 1, "running": 2, "retrying": 1}, "not durable is not done"
    driver.commit()
    assert seen(driver).counts == {"queued": 1, "retrying": 1, "succeeded": 1, "failed": 1}
    assert seen(driver).done == 2
    driver.tick(5.0)
    driver.work_off()
    driver.commit()
    last = seen(driver)
    assert (last.status, last.counts) == (BatchState.PARTIAL, {"succeeded": 3, "failed": 1})
    assert (last.fraction, last.rate_per_s, last.eta_s, last.workers) == (1.0, 0.0, None, 0)


def test_a_rate_gives_an_estimate(driver: Any) -> None:
    driver.submit(100)
    driver.wait(2.0)
    driver.report(driver.lease_of(20))
    driver.commit()
    found = seen(driver)
    assert found.rate_per_s == pytest.approx(10.0)
    assert found.eta_s == pytest.approx(8.0)
    assert found.elapsed_s == pytest.approx(2.0)


@pytest.mark.parametrize("whole_queue", [False, True])
def test_what_is_paused_says_so(driver: Any, whole_queue: bool) -> None:
    driver.submit(4)
    driver.lease_of(1)
    if whole_queue:
        driver.limit(paused=True)
    else:
        driver.tell(events.BatchPaused("b", "interrupted"))
        assert seen(driver).reason == "interrupted"
    assert seen(driver).status is BatchState.PAUSED
    assert seen(driver).counts == {"paused": 3, "running": 1}


def test_what_is_being_cancelled_says_so(driver: Any, cancel: BatchStop) -> None:
    driver.submit(4)
    driver.lease_of(1)
    driver.tell(events.BatchStopped("b", cancel))
    found = seen(driver)
    assert (found.status, found.reason) == (BatchState.CANCELLING, cancel.reason)
    assert found.counts == {"cancelling": 4}
    driver.commit()
    assert seen(driver).counts == {"cancelled": 3, "cancelling": 1}


def test_a_delayed_batch_is_scheduled(driver: Any) -> None:
    driver.submit(2, delay_s=9.0)
    assert seen(driver).counts == {"scheduled": 2}
    driver.tick(9.1)
    assert seen(driver).counts == {"queued": 2}


def test_a_stream_has_no_total_yet(driver: Any) -> None:
    driver.submit(2, sealed=False)
    found = seen(driver)
    assert (found.status, found.total, found.fraction, found.eta_s) == (BatchState.SUBMITTING, None, None, None)


def test_a_stalled_batch_says_why(driver: Any) -> None:
    driver.submit(2)
    driver.tick(20.0)
    assert (seen(driver).status, seen(driver).reason) == (BatchState.STALLED, "no worker is there to run it")


def test_a_redriven_batch_runs_again(driver: Any) -> None:
    driver.fail(3)
    assert seen(driver).status is BatchState.PARTIAL
    driver.tell(events.Redriven("b", np.array([0])))
    found = seen(driver)
    assert (found.status, found.counts) == (BatchState.RUNNING, {"queued": 1, "failed": 2})


def test_looking_changes_nothing(driver: Any) -> None:
    batch = driver.submit(3)
    before = (batch.jobs.state.tolist(), len(batch.ready.entries()), batch.last_claim)
    seen(driver)
    assert before == (batch.jobs.state.tolist(), len(batch.ready.entries()), batch.last_claim)


def test_an_unknown_batch_is_named(driver: Any) -> None:
    with pytest.raises(UnknownId, match="'nope'"):
        snapshots.progress(driver.state, "nope", driver.now)
