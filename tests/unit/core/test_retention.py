"""Which batches may leave the ledger."""

from __future__ import annotations

import numpy as np
import pytest

from dfbatch.core import events
from dfbatch.core.batch import BatchSpec
from dfbatch.core.dead_letters import shelve
from dfbatch.core.instant import Instant
from dfbatch.core.manager import ManagerState
from dfbatch.core.retention import may_retire, retire
from dfbatch.core.states import JobState

NOW = Instant(1_780_000_000.0, 1_000.0)
A, B = "k3f2m9qa", "k3f2m9qb"


@pytest.fixture
def state():
    made = ManagerState(epoch=1)
    yield made
    made.validate()


def bring(state, batch_id, *states, **spec):
    ended = np.array([s.code for s in states], np.uint8)
    wanted = BatchSpec(batch_id, max(1, len(states)), submitted_at=NOW.wall, **spec)
    state.handle(events.BatchRecovered(wanted, np.arange(len(ended)), ended), NOW)


def test_an_open_batch_and_one_with_dead_letters_stay(state):
    bring(state, A)
    bring(state, B, JobState.FAILED, JobState.SUCCEEDED)
    assert not may_retire(state, A)
    assert not may_retire(state, B)
    state.handle(events.Purged(B, np.array([0])), NOW)
    assert may_retire(state, B)


def test_a_batch_that_is_not_in_memory_may_go_unless_dead_letters_or_a_redrive_hold_it(state):
    assert may_retire(state, A)
    shelve(state, A, "default", 1)
    assert not may_retire(state, A)
    shelve(state, A, "default", 0)
    state.reserve("default", A, 3)
    assert not may_retire(state, A)
    state.reserve("default", A, -3)


def test_what_is_retired_is_forgotten_but_for_its_id(state):
    bring(state, A, JobState.SUCCEEDED, key="monday")
    bring(state, B, JobState.SUCCEEDED, key="tuesday")
    retire(state, [A])
    assert list(state.batches) == list(state.finished) == [B]
    assert state.keys == {"tuesday": B}
    assert state.n_finished_jobs == 1
    assert state.is_taken(A)
    retire(state, [A])
