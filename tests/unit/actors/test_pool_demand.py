"""From the books to the workers the work is worth: by what waits, what it costs, and what may run."""

import json
from datetime import UTC, datetime

import pytest

from dfbatch.actors.batch_desk import desk_of
from dfbatch.actors.pool_demand import demands
from dfbatch.core import events
from dfbatch.core.batch import BatchSpec
from dfbatch.core.instant import Instant
from dfbatch.core.manager import ManagerState
from dfbatch.core.policy import BatchPolicy, QueuePolicy
from dfbatch.core.resource_shape import ResourceShape
from dfbatch.ledger.payload_memory import PayloadMemory

NOW = Instant(1.7e9, 1_000.0)
GPU = {"num_gpus": 1}


class Books:
    """A manager's state with batches, and their desks."""

    def __init__(self):
        self.state = ManagerState(epoch=1)
        self.desks = {}

    def submit(self, batch_id, n, *, cost_s=None, resources=None, **options):
        policy = BatchPolicy(delay_s=options.pop("delay_s", 0.0))
        shape = ResourceShape.of(resources or {}).key
        spec = BatchSpec(batch_id, n, submitted_at=NOW.wall, policy=policy, shape=shape, **options)
        self.state.handle(events.BatchSubmitted(spec), NOW)
        self.state.batch(batch_id).sizer.cost_s = cost_s
        row = {
            "batch_id": batch_id, "kind": "map", "priority": 0, "submitted_at": datetime.fromtimestamp(NOW.wall, UTC),
            "verifier_fingerprint": "f", "verifier_sha": "s", "verifier_name": "v", "inputs": None,
            "options": json.dumps({"resources": resources} if resources else {}),
        }  # fmt: skip
        self.desks[batch_id] = desk_of(row, None, PayloadMemory())

    def wanted(self, seconds=0.0):
        now = Instant(NOW.wall + seconds, NOW.mono + seconds)
        return {demand.shape.key: demand.n_wanted for demand in demands(self.state, self.desks, now)}


@pytest.fixture
def books():
    return Books()


def test_no_work_wants_nobody(books):
    assert books.wanted() == {}


@pytest.mark.parametrize(
    ("n", "cost_s", "workers"), [(10, 0.001, 1), (10_000, 0.001, 5), (3, 30.0, 3), (3, None, 1), (100, None, 13)]
)
def test_workers_are_wanted_for_seconds_of_work(books, n, cost_s, workers):
    books.submit("b", n, cost_s=cost_s)
    assert books.wanted() == {"default": workers}


def test_what_an_earlier_batch_of_the_queue_took_is_what_the_next_one_is_taken_to_take(books):
    books.submit("a", 1, cost_s=0.0001)
    books.submit("b", 1_000)
    assert books.wanted() == {"default": 1}
    books.submit("c", 1_000, queue="other")
    assert books.wanted()["default"] > 100


def test_items_that_take_long_are_dear_though_none_has_come_back(books):
    books.submit("b", 8, cost_s=None)
    books.state.handle(events.WorkerHello("w", "1"), NOW)
    books.state.handle(events.LeaseRequested("w"), NOW)
    assert books.wanted() == {"default": 1}
    assert books.wanted(seconds=1.0) == {"default": 4}
    assert books.wanted(seconds=60.0) == {"default": 8}


def test_every_shape_has_a_demand_of_its_own_and_the_urgent_come_first(books):
    books.submit("a", 100, cost_s=1.0)
    books.submit("b", 4, cost_s=9.0, resources=GPU, priority=5)
    assert list(books.wanted().items()) == [("cpu1-gpu1", 4), ("default", 50)]


def test_work_that_may_not_run_wants_nobody(books):
    books.submit("paused", 100, cost_s=1.0)
    books.state.handle(events.BatchPaused("paused"), NOW)
    books.submit("later", 100, cost_s=1.0, delay_s=60.0)
    books.submit("closed", 100, cost_s=1.0, queue="closed")
    books.state.handle(events.QueueChanged("closed", None, True), NOW)
    assert books.wanted() == {"default": 0}
    assert books.wanted(seconds=61.0) == {"default": 50}


def test_a_limit_of_the_queue_is_one_of_its_workers(books):
    books.state.handle(events.QueueChanged("narrow", QueuePolicy(concurrency=3), None), NOW)
    books.submit("b", 100, cost_s=10.0, queue="narrow")
    assert books.wanted() == {"default": 3}
