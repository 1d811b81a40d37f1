"""The heart as a whole: every event has its rule, and a refused event changes nothing."""

from __future__ import annotations

import copy
from typing import Any, get_args

import numpy as np
import pytest

from dfbatch.core import events, manager
from dfbatch.core.books import LEASE_TERM_S
from dfbatch.core.effects import BatchEnded, Effect, Granted, OutcomesTaken
from dfbatch.core.error_class import ErrorClass as E
from dfbatch.core.states import BatchState
from dfbatch.errors import DfbatchError


def array(*indices: int) -> np.ndarray:
    return np.array(indices, np.int64)


def test_every_event_has_its_rule() -> None:
    assert set(manager._RULES) == set(get_args(events.Event))


def test_a_thousand_jobs_on_three_workers_end_once_each(driver: Any) -> None:
    """The life of a chunk, from the submit to the last row."""
    driver.submit(1_000)
    for k in range(10_000):
        granted = driver.ask("abc"[k % 3])
        if granted is not None:
            driver.report(granted)
        elif not driver.state.leases:
            break
        driver.wait(0.1)
    driver.commit()
    indices = np.concatenate([e.indices for e in driver.of_kind(OutcomesTaken)])
    assert sorted(indices.tolist()) == list(range(1_000))
    assert [e.counts for e in driver.of_kind(BatchEnded)] == [{"succeeded": 1_000}]


def test_lease_ids_of_two_managers_never_meet(make_driver: Any) -> None:
    ids = []
    for epoch in (1, 2):
        driver = make_driver(epoch)
        driver.submit(10)
        ids += [driver.lease().lease.lease_id, driver.lease().lease.lease_id]
    assert len(set(ids)) == 4
    assert ids == sorted(ids)


REFUSED = [
    events.BatchPaused("ended"),
    events.BatchExtended("ended", 1),
    events.BatchExtended("open", -1),
    events.JobsCancelled("open", array(0, 99)),
    events.Redriven("open", array(0)),
    events.Redriven("ended", array(0, 99)),
    events.Redriven("ended", array(0)),  # the queue is too short for it
    events.PriorityChanged("nope", 1),
    events.BatchResumed("nope"),
]


@pytest.mark.parametrize("event", REFUSED, ids=lambda event: f"{type(event).__name__}-{event.batch_id}")
def test_a_refused_event_changes_nothing(driver: Any, event: events.Event) -> None:
    driver.fail(2, "ended")
    driver.submit(3, "open", sealed=False)
    driver.lease_of(1)
    driver.limit(max_length=3)
    before = picture(driver)
    with pytest.raises(DfbatchError):
        driver.tell(event)
    assert picture(driver) == before


def picture(driver: Any) -> Any:
    """Everything that counts, as plain values."""
    state = driver.state
    return copy.deepcopy(
        (
            {
                name: (
                    {c: getattr(b.jobs, c).tolist() for c in ("state", "attempts", "generation", "lease", "deaths")},
                    b.durable.tolist(),
                    b.ready.entries().tolist(),
                    (b.paused, b.priority, b.finished_as, b.stopping, b.sealed, b.expires_at),
                )
                for name, b in state.batches.items()
            },
            {q.name: (q.n_open, q.n_reserved, q.n_running, q.paused) for q in state.queues.values()},
            list(state.leases),
            list(state.finished),
        )
    )


def test_a_restart_in_the_middle_loses_and_repeats_nothing(make_driver: Any) -> None:
    """Three of ten are durable, three were reported but not committed, two still run, two wait."""
    first = make_driver(1)
    spec = first.submit(10).spec
    durable = first.lease_of(3)
    first.report(durable)
    first.commit()
    reported = first.lease_of(3)
    first.report(reported)
    running = first.lease_of(2, "v")

    second = make_driver(2)
    second.tell(events.BatchRecovered(spec, durable.lease.indices, np.full(3, 6, np.uint8)))
    second.state.hold_leases_until = second.now.mono + 2.0
    second.report(reported)  # kept by its worker until it is durable
    second.hello("w")
    still = events.HeldLease(running.lease.lease_id, "b", running.lease.indices, running.generation)
    second.hello("v", held=(still,))
    assert second.ask() is None, "nothing new before all had time to say hello"
    second.wait(2.1)
    assert second.lease_of(2).lease.indices.tolist() == [8, 9]
    second.report(Granted(running.lease, running.generation))
    second.tick(LEASE_TERM_S)
    second.work_off()
    (ended,) = second.of_kind(BatchEnded, second.commit())
    assert (ended.state, ended.counts) == (BatchState.SUCCEEDED, {"succeeded": 10})
    results = [i for e in second.of_kind(OutcomesTaken) for i in e.indices.tolist()]
    assert sorted(results) == [3, 4, 5, 6, 7, 8, 9], "what was durable is not worked again"


def test_the_rules_are_the_same_for_the_same_seed(make_driver: Any) -> None:
    stories: list[list[Effect]] = []
    for _ in range(2):
        driver = make_driver()
        driver.submit(20, jitter=0.5)
        driver.work_off(E.TRANSIENT)
        stories.append([e.retry_at.tolist() for e in driver.of_kind(OutcomesTaken)])
    assert stories[0] == stories[1]
