"""Where a whole node ran out of memory, the suspect runs with nobody else on that node."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dfbatch.core import events
from dfbatch.core.batch import BatchStop
from dfbatch.core.books import MARK_GRACE_S
from dfbatch.core.death import Death
from dfbatch.core.effects import Effect, Granted, OutcomesDecided, Recall, WorkAvailable
from dfbatch.core.solitude import LONE_TERM_S, NODE_PATIENCE_S

OF_NODE = Death(True, True, "was killed by the kernel, which had run out of memory,")
OWN_CAP = Death(True, words="needed more than it may have")
LOW = "1 worker(s) were killed due to the node running low on memory."


@pytest.fixture
def crew(driver: Any) -> Any:
    """``ann`` and ``bob`` share a node; ``cid`` has another to himself."""
    driver.hello("ann", node="n1")
    driver.hello("bob", node="n1")
    driver.hello("cid", node="n2")
    return driver


def has_node(driver: Any, granted: Granted) -> bool:
    """True if the lease has its node to itself."""
    return any(lease is granted.lease for lease in driver.state.lone.values())


def ask_in_vain(driver: Any, worker: str) -> list[Effect]:
    effects: list[Effect] = driver.tell(events.LeaseRequested(worker))
    assert driver.of_kind(Granted, effects) == []
    return effects


def run_out(driver: Any, worker: str = "ann", node: str = "n1", death: Death | None = OF_NODE) -> int:
    """The worker takes one job and its node runs out of memory at it. The job."""
    granted = driver.lease_of(1, worker)
    (job,) = granted.lease.indices.tolist()
    driver.kill(worker, mark=(granted.lease.lease_id, job), death=death, node=node)
    return int(job)


def test_a_suspect_gets_an_empty_node_to_itself(crew: Any) -> None:
    crew.submit(50)
    job = run_out(crew)
    granted = crew.lease("ann")
    assert (granted.lease.indices.tolist(), granted.lease.solo) == ([job], True)
    assert has_node(crew, granted)
    assert crew.ask("bob") is None, "the node is taken"
    assert crew.ask("ann") is None
    assert crew.ask("cid") is not None, "other nodes go on"


def test_the_node_is_free_again_when_the_suspect_answered(crew: Any) -> None:
    crew.submit(50)
    run_out(crew)
    crew.report(crew.lease("ann"))
    assert not crew.state.lone
    assert not crew.lease("bob").lease.solo
    assert not crew.lease("ann").lease.solo


def test_while_it_waits_nobody_on_that_node_gets_more_and_who_runs_is_asked_to_yield(crew: Any) -> None:
    batch = crew.submit(50)
    busy = crew.lease_of(10, "bob")
    job = run_out(crew)
    (recall,) = crew.of_kind(Recall, ask_in_vain(crew, "ann"))
    assert (recall.worker, recall.lease_ids, recall.reason) == ("bob", (busy.lease.lease_id,), "yield")
    assert ask_in_vain(crew, "bob") == [], "nothing is fetched ahead on a claimed node"
    assert ask_in_vain(crew, "ann") == [], "nobody is asked twice"
    crew.report(busy, only=busy.lease.indices[:1])
    crew.tell(events.HandedBack("bob", busy.lease.lease_id))
    granted = crew.lease("ann")
    assert granted.lease.indices.tolist() == [job]
    assert has_node(crew, granted)
    assert batch.n_running == 1


def test_any_worker_of_the_node_takes_it_up_once_the_node_is_empty(crew: Any) -> None:
    crew.submit(50)
    busy = crew.lease_of(10, "bob")
    run_out(crew)
    assert crew.ask("ann") is None
    crew.report(busy)
    assert has_node(crew, crew.lease("bob"))


def test_another_node_that_is_empty_takes_it_up_and_the_claim_is_over(crew: Any) -> None:
    crew.submit(50)
    crew.lease_of(10, "bob")
    run_out(crew)
    assert crew.ask("ann") is None
    assert has_node(crew, crew.lease("cid"))
    assert not crew.state.claims
    assert not crew.lease("ann").lease.solo


def test_other_nodes_and_ordinary_work_of_the_batch_go_on_while_it_waits(crew: Any) -> None:
    crew.hello("dot", node="n2")
    crew.submit(50)
    crew.lease_of(5, "bob")
    crew.lease_of(5, "cid")
    job = run_out(crew)
    assert crew.ask("ann") is None
    granted = crew.lease("dot").lease
    assert not granted.solo
    assert job not in granted.indices


def test_a_batch_whose_only_work_waits_for_a_node_is_passed_over(crew: Any) -> None:
    """The request ends, and batches behind it in line are served on other nodes."""
    crew.hello("dot", node="n2")
    crew.submit(50, "c")
    crew.lease_of(5, "bob")
    crew.lease_of(5, "cid")
    crew.submit(1, "b", priority=5)
    run_out(crew)
    assert crew.ask("ann") is None
    assert crew.state.claims["b"].node == "n1"
    assert crew.lease("dot").lease.batch_id == "c"
    assert crew.ask("ann") is None


def test_after_a_bound_it_runs_alone_on_its_worker_and_the_node_goes_on(crew: Any) -> None:
    crew.submit(50)
    crew.lease_of(10, "bob")
    job = run_out(crew)
    assert crew.ask("ann") is None
    crew.tick(NODE_PATIENCE_S - 0.1)
    assert crew.ask("ann") is None
    assert crew.of_kind(WorkAvailable, crew.tick(0.2)), "who waits hears of it"
    granted = crew.lease("ann")
    assert (granted.lease.indices.tolist(), granted.lease.solo) == ([job], True)
    assert not has_node(crew, granted)
    assert crew.ask("bob") is not None


def test_each_suspect_has_a_wait_of_its_own(crew: Any) -> None:
    crew.submit(50)
    crew.lease_of(10, "bob")
    granted = crew.lease_of(2, "ann")
    crew.kill("ann", death=OF_NODE, node="n1")  # no mark: the two of them are halved
    for job in granted.lease.indices.tolist():
        assert crew.ask("ann") is None, "it claims the node anew"
        crew.tick(NODE_PATIENCE_S)
        alone = crew.lease("ann")
        assert alone.lease.indices.tolist() == [job]
        crew.report(alone)


def test_where_the_node_is_not_known_it_runs_alone_on_its_worker(driver: Any) -> None:
    driver.submit(50)
    driver.hello("bob")
    driver.lease_of(10, "bob")
    driver.hello("ann")
    job = run_out(driver, node="")
    granted = driver.lease("ann")
    assert (granted.lease.indices.tolist(), granted.lease.solo) == ([job], True)
    assert not has_node(driver, granted)
    assert driver.ask("bob") is not None


def test_who_died_of_its_own_cap_needs_no_node(crew: Any) -> None:
    batch = crew.submit(50)
    crew.lease_of(10, "bob")
    run_out(crew, death=OWN_CAP)
    assert len(batch.of_node) == 0
    assert (crew.lease("ann").lease.solo, crew.ask("bob") is not None) == (True, True)


def test_a_notice_of_low_memory_counts_where_the_worker_does_not_come_back(crew: Any) -> None:
    batch = crew.submit(4)
    crew.lease_of(4, "ann")
    crew.tell(events.WorkerLost("ann", "1", LOW))
    crew.tick(MARK_GRACE_S)
    assert batch.of_node.tolist() == [0, 1, 2, 3]
    for worker, half in (("bob", [0, 1]), ("cid", [2, 3])):
        granted = crew.lease(worker)
        assert granted.lease.indices.tolist() == half
        assert has_node(crew, granted)


def test_a_job_is_charged_only_once_it_was_to_have_its_node_to_itself(crew: Any) -> None:
    """Alone on its worker it may have died of what its neighbours did."""
    batch = crew.submit(50, max_worker_deaths=1)
    job = run_out(crew, death=OWN_CAP)
    granted = crew.lease("ann")
    assert not has_node(crew, granted)
    mark = (granted.lease.lease_id, job)
    crew.kill("ann", mark=mark, death=OF_NODE, node="n1")
    assert not batch.jobs.deaths.any()
    granted = crew.lease("ann")
    assert has_node(crew, granted)
    effects = crew.kill("ann", mark=(granted.lease.lease_id, job), death=OF_NODE, node="n1")
    (decided,) = crew.of_kind(OutcomesDecided, effects)
    assert (decided.indices.tolist(), decided.error_type) == ([job], "HostOutOfMemory")
    assert crew.ask("bob") is not None


def test_an_item_that_hangs_keeps_its_node_for_a_bounded_time(crew: Any) -> None:
    crew.submit(50)
    run_out(crew)
    lone = crew.lease("ann").lease
    crew.wait(LONE_TERM_S - 1.0)
    crew.tell(events.Heartbeat("ann", (lone.lease_id,)))
    assert crew.ask("bob") is None
    crew.wait(1.0)
    assert crew.ask("bob") is not None


@pytest.mark.parametrize("how", ["pause", "cancel"])
def test_a_claim_ends_with_the_turn_of_its_batch(crew: Any, cancel: BatchStop, how: str) -> None:
    crew.submit(50, "b")
    crew.lease_of(10, "bob")
    run_out(crew)
    assert crew.ask("ann") is None
    crew.submit(5, "c")
    assert crew.ask("ann") is None, "the node is claimed"
    crew.tell(events.BatchPaused("b") if how == "pause" else events.BatchStopped("b", cancel))
    assert crew.lease("ann").lease.batch_id == "c"
    assert not crew.state.claims


def test_a_suspect_that_is_handed_back_still_needs_a_node(crew: Any) -> None:
    crew.submit(50)
    job = run_out(crew)
    crew.tell(events.HandedBack("ann", crew.lease("ann").lease.lease_id))
    assert crew.ask("bob").lease.indices.tolist() == [job]
    assert crew.ask("ann") is None


def test_a_worker_that_was_cut_off_does_not_go_on_beside_it(crew: Any) -> None:
    """Its lease had expired when the node was found empty; it is told to let go."""
    crew.submit(50)
    old = crew.lease_of(10, "bob")
    job = run_out(crew)
    crew.tick(61.0)
    assert crew.lease("ann").lease.indices.tolist() == [job]
    held = events.HeldLease(old.lease.lease_id, "b", old.lease.indices, old.generation, False)
    (verdict, *_) = crew.tell(events.WorkerHello("bob", "1", node="n1", held=(held,)))
    assert verdict.kept == frozenset()


def test_a_suspect_that_its_worker_still_holds_after_the_lease_expired_keeps_its_node(crew: Any) -> None:
    crew.submit(50)
    run_out(crew)
    granted = crew.lease("ann")
    crew.tick(61.0)
    held = events.HeldLease(granted.lease.lease_id, "b", granted.lease.indices, granted.generation, True)
    crew.tell(events.WorkerHello("ann", "2", node="n1", held=(held,)))
    assert crew.ask("bob") is None
    assert crew.ask("cid") is not None


def test_work_that_waits_for_a_kept_node_says_so(crew: Any) -> None:
    crew.submit(1, "b")
    run_out(crew)
    lone = crew.lease("ann").lease
    crew.tell(events.WorkerLeft("cid", "1"))
    other = crew.submit(5, "c")
    assert crew.ask("bob") is None
    for _ in range(4):
        crew.tick(5.0)
        crew.tell(events.Heartbeat("ann", (lone.lease_id,)))
    assert other.stalled is not None
    assert "kept free for an item" in other.stalled


def test_a_claim_ends_in_time_though_its_suspect_cannot_run(crew: Any) -> None:
    """Meanwhile its queue came to its limit, by work on another node."""
    crew.submit(50, "b")
    busy = crew.lease_of(10, "bob")
    crew.lease_of(5, "cid")
    run_out(crew)
    assert crew.ask("ann") is None
    crew.report(busy)
    crew.limit(concurrency=5)
    crew.submit(5, "c", queue="other")
    assert crew.ask("ann") is None, "the node is claimed, and empty"
    crew.tick(NODE_PATIENCE_S)
    assert crew.lease("ann").lease.batch_id == "c"


def test_workers_of_other_shapes_keep_off_the_node_too(crew: Any) -> None:
    crew.submit(50, "b")
    crew.submit(50, "g", shape="gpu")
    crew.hello("gus", node="n1", shape="gpu")
    granted = crew.lease("gus")
    run_out(crew)
    assert crew.ask("ann") is None
    crew.report(granted)
    assert crew.ask("gus") is None, "the node is claimed"
    assert has_node(crew, crew.lease("ann"))
    assert crew.ask("gus") is None, "the node is taken"


def test_a_claim_is_a_turn_of_its_batch(crew: Any) -> None:
    """One of equal priority comes next, however many suspects wait."""
    crew.submit(50, "b")
    crew.lease_of(10, "bob")
    crew.lease_of(8, "ann")
    crew.kill("ann", death=OF_NODE, node="n1")
    crew.submit(5, "c")
    assert crew.ask("ann") is None, "a half of them has claimed the node"
    crew.tick(NODE_PATIENCE_S)
    crew.report(crew.lease("ann"))
    assert crew.lease("ann").lease.batch_id == "c"


def test_the_next_manager_runs_them_alone_on_their_workers(make_driver: Any) -> None:
    driver = make_driver(epoch=2)
    alone = np.array([3])
    none, ended = np.empty(0, np.int64), np.empty(0, np.uint8)
    tried = (alone, np.array([0], np.int16), np.array([0], np.int16), np.array([True]), np.array([0.0]))
    driver.tell(events.BatchRecovered(driver.spec(5), none, ended, none, none.astype(np.int16), *tried))
    driver.hello("bob", node="n1")
    driver.hello("ann", node="n1")
    solo = driver.lease("bob")
    assert (solo.lease.indices.tolist(), solo.lease.solo) == ([3], True)
    assert not has_node(driver, solo)
    assert driver.ask("ann") is not None
