"""What a new manager hears of a batch, from its row, its outcomes and its events."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from dfbatch.actors.recovering import INTERRUPTED, encode_ranges, recovered_event, shelved_batches
from dfbatch.core.states import JobState
from dfbatch.ledger.ranges import decode_ranges
from dfbatch.ledger.recovery import ATTEMPT_COLUMNS, Recovered, RecoveredBatch
from dfbatch.ledger.schemas import ATTEMPTS

AT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
ROW = {
    "batch_id": "k3f2m9qa",
    "name": None,
    "submit_id": "s",
    "key": None,
    "queue": "scans",
    "priority": 0,
    "n_jobs": 4,
    "verifier_fingerprint": "f00d",
    "submitted_at": AT,
    "options": json.dumps({"deadline_s": 60}),
}


@pytest.fixture
def heard():
    """The event of a batch of four, all failed in generation 0, with these events."""

    def run(*events, interrupted=False):
        told = [{"kind": kind, "detail": detail, "at": AT.replace(hour=10)} for kind, detail in events]
        attempts = ATTEMPTS.arrow.empty_table().select([c for c in ATTEMPT_COLUMNS if c != "batch_id"])
        failed = np.full(4, JobState.FAILED.code, np.uint8)
        found = RecoveredBatch(ROW, np.arange(4), np.zeros(4, np.int16), failed, attempts, told, 4)
        return recovered_event(found, interrupted)

    return run


ENDED = ("batch_finished", {"status": "failed"})
REDRIVEN = ("redriven", {"ranges": [[1, 3]]})


def test_a_pause_holds_until_it_is_resumed_or_the_batch_has_ended(heard):
    pause, resume = ("paused", {"reason": "paused"}), ("resumed", {})
    assert heard(pause).paused == "paused"
    assert heard(pause, resume).paused is None
    assert heard(pause, resume, pause).paused == "paused"
    assert heard(pause, ENDED, REDRIVEN).paused is None
    assert heard(pause, ENDED, REDRIVEN, pause).paused == "paused"


def test_an_interrupted_batch_keeps_the_reason_of_its_user(heard):
    assert heard(interrupted=True).paused == INTERRUPTED
    assert heard(("paused", {"reason": "paused"}), interrupted=True).paused == "paused"


def test_redriven_jobs_are_in_their_next_generation_and_their_deadline_begins_anew(heard):
    event = heard(ENDED, REDRIVEN)
    assert event.redriven_index.tolist() == [1, 2]
    assert event.redriven_generation.tolist() == [1, 1]
    assert event.result_index.tolist() == [0, 3]
    assert event.redriven_at == AT.replace(hour=10).timestamp()


def test_purges_add_up(heard):
    assert heard(ENDED).purged_index.tolist() == []
    event = heard(ENDED, ("purged", {"ranges": [[2, 4]]}), ("purged", {"ranges": [[0, 1]]}))
    assert event.purged_index.tolist() == [0, 2, 3]


def test_ended_batches_are_shelved_with_what_is_left_of_their_dead_letters():
    counts = {"failed": 5, "expired": 2, "succeeded": 10}
    recovered = Recovered(
        finished={"k3f2m9qa": {"counts": counts}, "k3f2m9qb": {"counts": {"succeeded": 3}}, "k3f2m9qc": {}},
        queue_of={"k3f2m9qa": "scans", "k3f2m9qb": "scans", "k3f2m9qc": "other", "k3f2m9qd": "open"},
        purged={"k3f2m9qa": 3},
    )
    assert list(shelved_batches(recovered)) == [
        ("k3f2m9qa", "scans", 4),
        ("k3f2m9qb", "scans", 0),
        ("k3f2m9qc", "other", 0),
    ]


@pytest.mark.parametrize("indices", [[], [0], [0, 1, 2], [0, 2, 3, 9], list(range(100))])
def test_ranges_name_indices(indices):
    ranges = encode_ranges(np.array(indices, np.int64))
    assert decode_ranges(ranges).tolist() == indices


def test_jobs_cancelled_by_their_handles_are_told_until_they_are_redriven(heard):
    first, second = ("jobs_cancelled", {"ranges": [[0, 2]]}), ("jobs_cancelled", {"ranges": [[3, 4]]})
    assert heard(first, second).cancelled_index.tolist() == [0, 1, 3]
    assert heard(first, second, REDRIVEN).cancelled_index.tolist() == [0, 3]
    assert heard(REDRIVEN, first).cancelled_index.tolist() == [0, 1]
    assert heard().cancelled_index.tolist() == []
