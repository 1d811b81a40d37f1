"""Dead letters: which jobs are some, how they are purged and redriven, and how a queue counts them."""

from __future__ import annotations

import numpy as np
import pytest

from dfbatch.core import books as limits
from dfbatch.core import control, events
from dfbatch.core.batch import BatchSpec, BatchStop
from dfbatch.core.dead_letters import dead_letters, n_dead_letters, shelve
from dfbatch.core.error_class import ErrorClass
from dfbatch.core.instant import Instant
from dfbatch.core.manager import ManagerState
from dfbatch.core.policy import BatchPolicy, QueuePolicy
from dfbatch.core.snapshots import queue_stats
from dfbatch.core.states import BatchState, JobState
from dfbatch.errors import InvalidInput, QueueFull

NOW = Instant(1_780_000_000.0, 1_000.0)
A, B = "k3f2m9qa", "k3f2m9qb"


class Shop:
    """A manager state with one worker; every outcome is made durable at once unless told otherwise."""

    def __init__(self) -> None:
        self.state = ManagerState(epoch=1)
        self.now = NOW
        self.tell(events.WorkerHello("w", "1"))

    def tell(self, event):
        return self.state.handle(event, self.now)

    def submit(self, batch_id=A, n=4, **spec):
        policy = spec.pop("policy", BatchPolicy(fail_fast=False))
        wanted = BatchSpec(batch_id, n, policy=policy, submitted_at=self.now.wall, **spec)
        self.state.admit(wanted)
        self.tell(events.BatchSubmitted(wanted))
        return self.state.batches[batch_id]

    def run(self, *failing, batch_id=A, durable=True):
        """Lease all there is; the named jobs fail, the others succeed."""
        while leased := [e for e in self.tell(events.LeaseRequested("w")) if hasattr(e, "lease")]:
            lease = leased[0].lease
            errors = np.where(np.isin(lease.indices, failing), ErrorClass.PERMANENT, ErrorClass.NONE).astype(np.uint8)
            report = events.OutcomesReported(
                "w",
                lease.lease_id,
                lease.batch_id,
                lease.indices,
                leased[0].generation,
                errors,
                lease.indices.copy(),
                0.1,
            )
            self.tell(report)
            if durable:
                self.write(lease.batch_id, failed=int((errors > 0).sum()), succeeded=int((errors == 0).sum()))

    def write(self, batch_id=A, **counts):
        row = np.zeros(len(JobState), np.int64)
        for name, n in counts.items():
            row[JobState(name).code] = n
        self.tell(events.Committed(((batch_id, row),)))

    def stats(self, queue="default"):
        return next(s for s in queue_stats(self.state, self.now) if s["queue"] == queue)


@pytest.fixture
def shop():
    made = Shop()
    yield made
    made.state.validate()


def ids(*numbers):
    return np.array(numbers, np.int64)


def test_failed_jobs_are_dead_letters_once_their_rows_are_durable(shop):
    batch = shop.submit()
    shop.run(1, 3, durable=False)
    assert dead_letters(batch).tolist() == []
    shop.write(failed=2, succeeded=2)
    assert dead_letters(batch).tolist() == [1, 3]
    assert n_dead_letters(batch) == shop.stats()["dead_letters"] == 2


def test_expired_jobs_are_dead_letters_and_cancelled_ones_are_not(shop):
    expired, cancelled = shop.submit(A, 2), shop.submit(B, 2)
    shop.tell(events.BatchStopped(A, BatchStop(JobState.EXPIRED, None, "late")))
    shop.tell(events.BatchStopped(B, BatchStop(JobState.CANCELLED, BatchState.CANCELLED, "no")))
    shop.write(A, expired=2)
    shop.write(B, cancelled=2)
    assert dead_letters(expired).tolist() == [0, 1]
    assert dead_letters(cancelled).tolist() == []
    assert control.redrivable(shop.state, B).tolist() == [0, 1]


def test_a_redriven_job_is_no_dead_letter_until_it_fails_again(shop):
    batch = shop.submit()
    shop.run(1, 3)
    shop.tell(events.Redriven(A, ids(1, 3)))
    assert dead_letters(batch).tolist() == []
    assert n_dead_letters(batch) == 0
    shop.run(3)
    assert dead_letters(batch).tolist() == [3]
    assert batch.jobs.generation.tolist() == [0, 1, 0, 1]


def test_what_is_purged_is_neither_counted_nor_redriven(shop):
    batch = shop.submit()
    shop.run(1, 2, 3)
    shop.tell(events.Purged(A, ids(1, 3)))
    assert dead_letters(batch).tolist() == control.redrivable(shop.state, A).tolist() == [2]
    assert shop.stats()["dead_letters"] == 1
    with pytest.raises(InvalidInput, match="purged.*new batch"):
        shop.tell(events.Redriven(A, ids(1, 2)))
    assert batch.jobs.state.tolist().count(JobState.FAILED.code) == 3


def test_a_purge_takes_dead_letters_only_and_each_once(shop):
    batch = shop.submit()
    shop.run(1)
    for _ in range(2):
        shop.tell(events.Purged(A, ids(0, 1, 2)))
    assert batch.purged.tolist() == [1]
    assert n_dead_letters(batch) == 0


def test_a_purge_of_a_batch_that_nobody_knows_changes_nothing(shop):
    assert shop.tell(events.Purged(B, ids(0))) == []


def test_a_batch_that_leaves_memory_leaves_its_count_behind(shop, monkeypatch):
    monkeypatch.setattr("dfbatch.core.ending.FINISHED_KEPT", 1)
    assert limits.FINISHED_KEPT > 1
    shop.submit(A, 3)
    shop.run(0, 2)
    shop.tell(events.Purged(A, ids(0)))
    shop.submit(B, 1)
    shop.run()
    assert A not in shop.state.batches
    assert shop.stats()["dead_letters"] == 1
    shop.tell(events.Purged(A, ids(2)))
    assert shop.stats()["dead_letters"] == 0
    assert not shop.state.shelved


def test_a_batch_that_comes_back_counts_once_and_stays_purged(shop):
    shelve(shop.state, A, "default", 2)
    assert shop.stats()["dead_letters"] == 2
    failed = np.full(3, JobState.FAILED.code, np.uint8)
    spec = BatchSpec(A, 3, submitted_at=NOW.wall)
    shop.tell(events.BatchRecovered(spec, ids(0, 1, 2), failed, purged_index=ids(1)))
    assert shop.stats()["dead_letters"] == 2
    assert dead_letters(shop.state.batches[A]).tolist() == [0, 2]


def test_a_redrive_is_refused_before_it_is_noted_exactly_where_it_would_be_later(shop):
    shop.submit(A, 4, policy=BatchPolicy(fail_fast=False))
    shop.run(0, 1, 2)
    shop.tell(events.QueueChanged("default", QueuePolicy(max_length=2)))
    with pytest.raises(QueueFull):
        control.check_redrive(shop.state, A, ids(0, 1, 2))
    with pytest.raises(InvalidInput, match="have not failed"):
        control.check_redrive(shop.state, A, ids(0, 3))
    with pytest.raises(InvalidInput, match="jobs"):
        control.check_redrive(shop.state, A, ids(4))
    control.check_redrive(shop.state, A, ids(0, 1))


def test_a_redrive_that_the_ledger_knows_is_carried_out_though_the_queue_is_full_by_now(shop):
    batch = shop.submit(A, 2)
    shop.run(0, 1)
    shop.tell(events.QueueChanged("default", QueuePolicy(max_length=1)))
    shop.tell(events.Redriven(A, ids(0, 1), noted=True))
    assert batch.jobs.generation.tolist() == [1, 1]


def test_a_redrive_that_the_ledger_knows_meets_the_stop_of_its_batch(shop):
    """The batch was stopped between the note and the event: the new generation gets the outcome of the stop."""
    batch = shop.submit(A, 4, policy=BatchPolicy(fail_fast=False))
    leased = next(e for e in shop.tell(events.LeaseRequested("w")) if hasattr(e, "lease")).lease
    one = leased.indices[:1]
    zero = np.zeros(1, np.int16)
    failed = np.array([ErrorClass.PERMANENT], np.uint8)
    shop.tell(events.OutcomesReported("w", leased.lease_id, A, one, zero, failed, ids(1), 0.1))
    shop.write(A, failed=1)
    shop.tell(events.BatchStopped(A, BatchStop(JobState.CANCELLED, BatchState.CANCELLED, "no")))
    assert batch.finished_as is None
    shop.tell(events.Redriven(A, one, noted=True))
    assert batch.jobs.generation[one[0]] == 1
    assert batch.jobs.state[one[0]] == JobState.CANCELLED.code
