"""Dead letters and stories as the ledger tells them, without a manager."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from dfbatch.ledger.dead_letters import (
    KEY_COLUMNS,
    batches_with_failures,
    common_rows,
    dead_letter_rows,
    read_batches,
    split_by_batch,
)
from dfbatch.ledger.stories import stories, story

pytestmark = pytest.mark.integration

A, B = "k3f2m9qa", "k3f2m9qb"
AT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def keys(table):
    return list(zip(*(table.column(name).to_pylist() for name in KEY_COLUMNS), strict=True))


def told(rows, kind, seq, batch_id, ranges):
    return rows.event(kind, seq, batch_id=batch_id, detail=json.dumps({"ranges": ranges}))


def test_failed_and_expired_rows_are_dead_letters(reader, commit, rows):
    commit(results=rows.results(A, [0, 1], 1, status="failed"))
    commit(results=rows.results(A, [2], 1, status="expired"))
    commit(results=rows.results(A, [3], 1, status="cancelled"))
    commit(results=rows.results(A, [4], 1))
    assert keys(dead_letter_rows(reader, [A], KEY_COLUMNS)) == [(A, 0, 0), (A, 1, 0), (A, 2, 0)]
    assert dead_letter_rows(reader, [A]).num_rows == 3
    assert dead_letter_rows(reader, [B]).num_rows == dead_letter_rows(reader, []).num_rows == 0


def test_each_redrive_makes_the_rows_before_it_past(reader, commit, rows):
    commit(results=rows.results(A, range(4), 1, status="failed"))
    commit(events=told(rows, "redriven", 1, A, [[0, 2]]))
    assert keys(dead_letter_rows(reader, [A])) == [(A, 2, 0), (A, 3, 0)]
    commit(results=rows.results(A, [0], 2, generation=1, status="failed"))
    assert keys(dead_letter_rows(reader, [A])) == [(A, 0, 1), (A, 2, 0), (A, 3, 0)]
    commit(events=told(rows, "redriven", 2, A, [[0, 1], [3, 4]]))
    commit(results=rows.results(A, [0, 3], 3, generation=1))
    assert keys(dead_letter_rows(reader, [A])) == [(A, 2, 0)]


def test_what_was_purged_stays_purged_and_only_that(reader, commit, rows):
    commit(results=rows.results(A, range(4), 1, status="failed"))
    commit(results=rows.results(B, range(4), 1, status="failed"))
    commit(events=told(rows, "purged", 1, A, [[1, 3]]))
    assert keys(dead_letter_rows(reader, [A, B])) == [(A, 0, 0), (A, 3, 0), *((B, k, 0) for k in range(4))]
    assert len(reader.read("results", batch_id=A)) == 4


def test_many_batches_are_read_as_few_are(reader, commit, rows):
    ids = [f"k3f2m9r{c}" for c in "abcdefghjkmnp"]
    for batch_id in ids:
        commit(results=rows.results(batch_id, [0, 1], 1, status="failed"))
    found = keys(dead_letter_rows(reader, ids, KEY_COLUMNS))
    assert found == [(batch_id, k, 0) for batch_id in ids for k in (0, 1)]
    assert keys(dead_letter_rows(reader, ids[2:4])) == [key for key in found if key[0] in ids[2:4]]
    assert list(split_by_batch(read_batches(reader, "results", ids, None))) == ids


def test_batches_that_ended_well_are_not_looked_at(reader, commit, rows):
    for batch_id, queue in ((A, "scans"), (B, "scans"), ("k3f2m9qc", "others"), ("k3f2m9qd", "scans")):
        commit(**rows.submit(batch_id, 1, queue=queue))
    commit(events=rows.event("batch_finished", 1, batch_id=A, detail='{"counts": {"succeeded": 1}}'))
    commit(events=rows.event("batch_finished", 2, batch_id=B, detail='{"counts": {"failed": 1}}'))
    assert batches_with_failures(reader, "scans") == [B, "k3f2m9qd"]
    assert batches_with_failures(reader, "scams") == []


def test_keys_meet_by_index_and_generation():
    one = pa.table({"job_index": [0, 1, 2], "generation": [0, 1, 0]})
    other = pa.table({"job_index": [1, 2, 7], "generation": [1, 1, 0]})
    assert common_rows(one, other).to_pylist() == [{"job_index": 1, "generation": 1}]
    assert len(common_rows(one, other.slice(0, 0))) == 0


def attempt(index, number, second, **more):
    times = {"started_at": AT + timedelta(seconds=second), "finished_at": AT + timedelta(seconds=second + 1)}
    plain = {"job_index": index, "attempt": number, "charged": True, "suspect": False, "retry_at": None}
    return plain | times | more


def test_a_story_tells_tries_returns_deaths_and_the_end_of_each_generation(reader, commit, rows):
    soon = AT + timedelta(seconds=5)
    tries = [
        attempt(0, 1, 0, retry_at=soon, error_type="TransientError", worker_id="w-1"),
        attempt(0, 1, 6, retry_at=soon, charged=False, error_type="BreakerOpen"),
        attempt(0, 1, 8, charged=False, suspect=True, error_type="WorkerCrash"),
        attempt(0, 2, 10, error_type="ValueError", worker_id="w-2"),
        attempt(1, 1, 0, error_type="ValueError"),
    ]
    commit(attempts=rows.attempts(A, tries))
    commit(results=rows.results(A, [0], 1, status="failed", error_type="ValueError"))
    commit(results=rows.results(A, [0], 2, generation=1, status="succeeded"))
    commit(results=rows.results(A, [2], 2, status="expired", error_type="DeadlinePassed"))
    outcomes = [(c["generation"], c["attempt"], c["outcome"]) for c in story(reader, A, 0)]
    assert outcomes == [
        (0, 1, "retried"),
        (0, 1, "returned"),
        (0, 1, "suspected"),
        (0, 2, "failed"),
        (1, None, "succeeded"),
    ]
    first = story(reader, A, 0)[0]
    assert (first["worker_id"], first["error_type"], first["started_at"]) == ("w-1", "TransientError", AT)
    assert first["retry_at"] == soon
    assert [c["outcome"] for c in story(reader, A, 2)] == ["expired"]
    assert story(reader, A, 9) == []


def test_stories_come_in_the_order_of_the_keys(reader, commit, rows):
    commit(attempts=rows.attempts(A, [attempt(k, 1, k, error_message=f"a{k}") for k in range(3)]))
    commit(attempts=rows.attempts(B, [attempt(1, 1, 1, error_message="b1")]))
    wanted = pa.table({"batch_id": [B, A, A, B], "job_index": [1, 2, 0, 5]})
    messages = [[c["error_message"] for c in told] for told in stories(reader, wanted).to_pylist()]
    assert messages == [["b1"], ["a2"], ["a0"], []]
