"""A worker whose dependency rests gets none of that work; when all rest, the batch says why it stands."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from dfbatch.core import events
from dfbatch.core.breaker_seen import CONSTRUCTION, OWN, BreakerSeen
from dfbatch.core.circuit_breaker import BreakerState
from dfbatch.core.effects import WorkAvailable
from dfbatch.core.error_class import ErrorClass as E
from dfbatch.core.resting import state_of
from dfbatch.core.snapshots import progress
from dfbatch.core.states import BatchState, WorkerState

OPEN, HALF_OPEN, CLOSED = BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED


@pytest.fixture
def tell(driver: Any) -> Any:
    """A worker tells of one breaker of the verifier 'v1' (or of none at all)."""

    def say(
        state: BreakerState | None, worker: str = "w", *, name: str = "scorer", rest_s: float = 5.0, **options: Any
    ) -> list[Any]:
        if worker not in driver.state.workers:
            driver.hello(worker)
        retry_at = driver.now.mono + (rest_s if state is OPEN else 0.0)
        given = {"probes": 3, "blocks": True, "last_error": "OSError: down", **options}
        seen = () if state is None else (BreakerSeen("v1", name, state, retry_at, **given),)
        return list(driver.tell(events.BreakersSeen(worker, seen)))

    return say


@pytest.fixture
def batch(driver: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A hundred jobs of the verifier 'v1'."""
    return with_verifier(driver, "b", "v1")


def with_verifier(driver: Any, batch_id: str, verifier: str, n: int = 100) -> Any:
    spec = driver.spec(n, batch_id)
    object.__setattr__(spec, "verifier", verifier)
    driver.state.admit(spec)
    driver.tell(events.BatchSubmitted(spec))
    return driver.state.batches[batch_id]


def test_nothing_is_leased_while_the_breaker_is_open(driver: Any, batch: Any, tell: Any) -> None:
    tell(OPEN, rest_s=5.0)
    driver.wait(4.9)
    assert driver.ask("w") is None
    assert driver.lease("other").lease.worker == "other", "the breaker is the worker's own"


def test_when_it_has_rested_as_many_jobs_are_leased_as_may_probe(driver: Any, batch: Any, tell: Any) -> None:
    tell(OPEN, rest_s=5.0)
    driver.wait(5.0)
    assert len(driver.lease("w").lease.indices) == 3
    assert driver.ask("w") is None, "nothing is fetched ahead of the probes' outcome"


def test_work_goes_on_when_it_closes(driver: Any, batch: Any, tell: Any) -> None:
    tell(OPEN)
    effects = tell(CLOSED)
    assert driver.of_kind(WorkAvailable, effects), "a parked worker must hear of it"
    assert len(driver.lease("w").lease.indices) > 3


def test_work_of_other_verifiers_is_not_concerned(driver: Any, batch: Any, tell: Any) -> None:
    tell(OPEN)
    with_verifier(driver, "c", "v2")
    assert driver.lease("w").lease.batch_id == "c"
    driver.wait(5.0)
    assert driver.lease("w").lease.batch_id == "b", "what else it holds does not keep it from probing"


def test_a_breaker_whose_refusals_a_fallback_catches_stops_nothing(driver: Any, batch: Any, tell: Any) -> None:
    tell(OPEN, blocks=False)
    assert len(driver.lease("w").lease.indices) > 3
    assert state_of(driver.state.workers["w"]) is WorkerState.RUNNING


def test_a_forced_breaker_gets_no_probes(driver: Any, batch: Any, tell: Any) -> None:
    tell(OPEN, rest_s=inf)
    driver.wait(1e6)
    assert driver.ask("w") is None


def test_a_waiting_worker_is_woken_when_its_breaker_has_rested(driver: Any, batch: Any, tell: Any) -> None:
    tell(OPEN, rest_s=5.0)
    assert driver.ask("w") is None
    assert driver.of_kind(WorkAvailable, driver.tick(5.1))
    assert driver.ask("w") is not None


def test_suspects_are_probes_too(driver: Any, batch: Any, tell: Any) -> None:
    granted = driver.lease_of(8, "w")
    driver.kill("w")
    assert batch.suspects
    tell(HALF_OPEN, probes=1)
    assert len(driver.lease("w").lease.indices) == 1
    assert granted.lease.lease_id not in driver.state.leases


# -------------------------------------------------------------------------------- what is seen


def test_a_batch_whose_every_worker_rests_is_stalled_and_says_why(driver: Any, batch: Any, tell: Any) -> None:
    tell(OPEN, "w")
    driver.hello("v")
    driver.tick()
    assert progress(driver.state, "b", driver.now).status is not BatchState.STALLED, "one worker can get on with it"
    tell(OPEN, "v")
    driver.tick()
    shown = progress(driver.state, "b", driver.now)
    assert shown.status is BatchState.STALLED
    assert "'scorer'" in (shown.reason or "")
    assert "all 2 workers" in (shown.reason or "")
    assert "OSError: down" in (shown.reason or "")


def test_it_is_stalled_too_when_all_its_jobs_wait_for_their_next_try(driver: Any, tell: Any) -> None:
    with_verifier(driver, "b", "v1", n=2)
    driver.report(driver.lease("w"), E.BREAKER_OPEN)
    tell(OPEN)
    driver.tick()
    assert progress(driver.state, "b", driver.now).status is BatchState.STALLED


def test_it_recovers_by_itself(driver: Any, batch: Any, tell: Any) -> None:
    tell(OPEN)
    driver.tick()
    tell(CLOSED)
    driver.tick()
    assert batch.stalled is None


def test_a_worker_shows_that_its_work_rests_only_while_it_has_nothing_else_to_do(
    driver: Any, batch: Any, tell: Any
) -> None:
    tell(OPEN)
    worker = driver.state.workers["w"]
    assert state_of(worker) is WorkerState.BREAKER_OPEN
    with_verifier(driver, "c", "v2")
    driver.lease("w")
    assert state_of(worker) is WorkerState.RUNNING


@pytest.mark.parametrize(("name", "words"), [(CONSTRUCTION, "cannot be constructed"), (OWN, "out of memory or time")])
def test_the_verifiers_own_breakers_have_words_of_their_own(
    driver: Any, batch: Any, tell: Any, name: str, words: str
) -> None:
    driver.report(driver.lease_of(2, "w"))
    tell(OPEN, name=name)
    driver.tick()
    assert words in batch.stalled


def test_a_verifier_that_was_never_constructed_anywhere_is_not_waited_for(driver: Any, batch: Any, tell: Any) -> None:
    tell(OPEN, name=CONSTRUCTION)
    granted = driver.lease("w")
    driver.report(granted, E.VERIFIER_UNUSABLE)
    assert batch.stopping is not None, "it stops fast instead"


# --------------------------------------------------------------------------- long outages


def test_a_long_outage_burns_no_returns_of_jobs_that_nobody_ran(driver: Any, batch: Any, tell: Any) -> None:
    """An hour without the dependency, one worker, rests of 60 s: every probe fails, and nothing is lost."""
    for _ in range(60):
        tell(OPEN, rest_s=60.0)
        for _ in range(4):
            driver.tick(15.0)
        while (granted := driver.ask("w")) is not None:
            assert len(granted.lease.indices) <= 3
            driver.report(granted, E.BREAKER_OPEN)
            tell(OPEN, rest_s=60.0)
    assert batch.jobs.n_terminal == 0
    assert not batch.jobs.attempts.any()
    assert batch.jobs.returns.max() <= 3, "others took their turn as probes"
    tell(CLOSED)
    driver.tick(61.0)
    driver.work_off(worker="w")
    assert set(driver.states(batch)) == {"succeeded"}


def test_a_job_that_went_back_too_often_is_a_dead_letter(driver: Any) -> None:
    batch = driver.submit(1, max_returns=2)
    for _ in range(3):
        driver.tick(61.0)
        driver.report(driver.lease(), E.BREAKER_OPEN)
    assert driver.states(batch) == ["failed"]
    assert not batch.jobs.attempts.any()


def test_news_of_a_worker_that_nobody_knows_change_nothing(driver: Any) -> None:
    assert driver.tell(events.BreakersSeen("ghost", ())) == []
