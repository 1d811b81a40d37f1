"""A worker that does nothing though there is work for it is found, and one that has none is not."""

from __future__ import annotations

from typing import Any

import pytest

from dfbatch.core import events
from dfbatch.core.breaker_seen import BreakerSeen
from dfbatch.core.circuit_breaker import BreakerState
from dfbatch.core.idleness import IDLE_S, IdleWatch


@pytest.fixture
def idle(driver: Any) -> Any:
    """Names of those that have been idle for long enough after some seconds."""
    watch = IdleWatch()

    def look(seconds: float = IDLE_S + 1.0) -> list[str]:
        for _ in range(int(seconds) + 1):
            watch.look(driver.state, driver.now)
            driver.wait(seconds / (int(seconds) + 1))
        watch.look(driver.state, driver.now)
        return [w.name for w in driver.state.workers.values() if watch.is_idle_but_backlog(w, driver.now)]

    return look


def test_one_that_is_idle_for_seconds_while_work_is_queued_is_told(driver: Any, idle: Any) -> None:
    driver.hello("w")
    driver.submit(5)
    assert idle(IDLE_S / 2) == [], "it may be about to ask"
    assert idle() == ["w"]
    driver.lease_of(1)
    assert idle() == []


def test_one_without_work_of_its_own_is_not_told(driver: Any, idle: Any) -> None:
    driver.hello("of another shape", shape="gpu")
    driver.hello("of another queue", queues=("clips",))
    driver.submit(5, queue="scans")
    assert idle() == []
    driver.submit(5, "c", queue="clips")
    assert idle() == ["of another queue"]


@pytest.mark.parametrize("why", ["paused", "limited", "delayed", "refusing", "resting", "lost"])
def test_work_that_may_not_run_is_no_backlog(driver: Any, idle: Any, why: str) -> None:
    driver.hello("w")
    driver.submit(5, delay_s=600.0 if why == "delayed" else 0.0)
    if why == "paused":
        driver.limit(paused=True)
    elif why == "limited":
        driver.hello("v")
        driver.limit(concurrency=1)
        driver.lease("v")
    elif why == "refusing":
        driver.tell(events.StorageHealth("no space left"))
    elif why == "resting":
        spec = driver.state.batches["b"].spec
        seen = BreakerSeen(spec.verifier, "scorer", BreakerState.OPEN, driver.now.mono + 600.0, 1, True)
        driver.state.workers["w"].breakers = (seen,)
    elif why == "lost":
        driver.tell(events.WorkerLost("w", "1", "killed"))
    assert idle() == []
