from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from dfbatch.core.states import JobState
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.recovery import recover
from dfbatch.ledger.writer import CommitGroup, LedgerWriter

pytestmark = pytest.mark.integration

A, B, C = "k3f2m9qa", "k3f2m9qb", "k3f2m9qc"


def test_an_empty_ledger_has_nothing_to_recover(storage, writer):
    found = recover(LedgerReader(storage))
    assert (found.batches, found.finished, found.submit_ids, found.keys, found.queue_events) == ([], {}, {}, {}, [])


def test_open_batches_come_back_with_their_outcomes(storage, commit, rows):
    commit(**rows.submit(A, 5, submit_id="s1", key="mine", queue="verification"))
    commit(**rows.submit(B, 3, submit_id="s2"))
    commit(results=rows.results(A, [4, 0], 1))
    commit(results=rows.results(B, [1], 2, status="failed"))
    commit(results=rows.results(A, [2], 3, status="expired"))
    found = recover(LedgerReader(storage))
    assert found.submit_ids == {"s1": A, "s2": B}
    assert found.keys == {"mine": A}
    a, b = found.batches
    assert (a.row["batch_id"], a.row["queue"], a.job_count) == (A, "verification", 5)
    assert a.result_index.tolist() == [0, 2, 4]
    assert [JobState.of(code) for code in a.result_status] == ["succeeded", "expired", "succeeded"]
    assert [array.dtype for array in (a.result_index, a.result_generation, a.result_status)] == [
        np.int64, np.int16, np.uint8,
    ]  # fmt: skip
    assert b.result_index.tolist() == [1]
    assert len(a.attempts) == 0


def test_generations_come_back_in_order(storage, commit, rows):
    commit(**rows.submit(A, 2))
    commit(results=rows.results(A, [1], 2, generation=1, status="failed"))
    commit(results=rows.results(A, [0, 1], 1, status="failed"))
    (batch,) = recover(LedgerReader(storage)).batches
    assert list(zip(batch.result_index.tolist(), batch.result_generation.tolist(), strict=True)) == [
        (0, 0), (1, 0), (1, 1),
    ]  # fmt: skip


def test_finished_batches_are_only_named_unless_they_were_redriven(storage, commit, rows):
    for batch_id in (A, B):
        commit(**rows.submit(batch_id, 1, submit_id=batch_id))
        commit(results=rows.results(batch_id, [0], 1, status="failed"))
        commit(events=rows.event("batch_finished", 1, batch_id=batch_id, detail='{"status": "failed", "failed": 1}'))
    commit(events=rows.event("redriven", 2, batch_id=B, detail='{"indices": [[0, 1]]}'))
    found = recover(LedgerReader(storage))
    assert found.finished == {A: {"status": "failed", "failed": 1}}
    assert [batch.row["batch_id"] for batch in found.batches] == [B]
    assert [event["kind"] for event in found.batches[0].events] == ["batch_finished", "redriven"]
    assert found.batches[0].events[1]["detail"] == {"indices": [[0, 1]]}
    assert found.submit_ids == {A: A, B: B}


def test_what_is_only_told_to_people_is_not_read_back(storage, commit, rows):
    """Logs and breakers make many rows over the years."""
    commit(**rows.submit(A, 1))
    for seq, kind in enumerate(("job_log", "breaker", "paused", "lease_expired"), 1):
        commit(events=rows.event(kind, seq, batch_id=A))
    for seq, kind in enumerate(("breaker", "queue_changed", "breaker_order", "worker_silent"), 5):
        commit(events=rows.event(kind, seq))
    found = recover(LedgerReader(storage))
    assert [event["kind"] for event in found.batches[0].events] == ["paused"]
    assert [event["kind"] for event in found.queue_events] == ["queue_changed", "breaker_order"]


def test_the_newest_try_of_each_job_comes_back(storage, commit, rows):
    at = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
    commit(**rows.submit(A, 3))
    commit(attempts=rows.attempts(A, [{"job_index": 1, "attempt": 2, "retry_at": at, "worker_deaths": 1}]))
    commit(attempts=rows.attempts(A, [{"job_index": 1, "attempt": 1, "retry_at": at}, {"job_index": 0, "attempt": 1}]))
    commit(attempts=rows.attempts(A, [{"job_index": 0, "generation": 1, "attempt": 1, "suspect": True}]))
    (batch,) = recover(LedgerReader(storage)).batches
    newest = batch.attempts.select(["job_index", "generation", "attempt", "worker_deaths", "suspect", "retry_at"])
    assert newest.to_pylist() == [
        {"job_index": 0, "generation": 1, "attempt": 1, "worker_deaths": None, "suspect": True, "retry_at": None},
        {"job_index": 1, "generation": 0, "attempt": 2, "worker_deaths": 1, "suspect": None, "retry_at": at},
    ]


def test_jobs_of_a_stream_that_is_not_sealed_are_counted_up_to_the_first_gap(storage, commit, rows):
    first = rows.submit(A, 4)
    first["batches"] = first["batches"].set_column(1, "n_jobs", [[-1]])
    commit(**first)
    commit(jobs=rows.submit(A, 3, first=4)["jobs"])
    commit(jobs=rows.submit(A, 3, first=9)["jobs"])
    (batch,) = recover(LedgerReader(storage)).batches
    assert batch.job_count == 7


def test_the_newest_row_of_a_batch_counts(storage, commit, rows):
    first = rows.submit(A, 4)
    first["batches"] = first["batches"].set_column(1, "n_jobs", [[-1]])
    commit(**first)
    commit(batches=rows.submit(A, 4)["batches"])
    (batch,) = recover(LedgerReader(storage)).batches
    assert batch.row["n_jobs"] == 4


def test_events_of_queues_come_back_in_order_across_epochs(storage, clock, rows):
    for epoch in (1, 2):
        writer = LedgerWriter.open(storage, clock=clock)
        writer.take_over(rows.info)
        for seq in (2, 1):
            writer.commit(CommitGroup({"events": rows.event("queue_policy", seq, epoch=epoch, detail='{"n": 1}')}))
    found = recover(LedgerReader(storage)).queue_events
    assert [(event["epoch"], event["seq"]) for event in found] == [(1, 1), (1, 2), (2, 1), (2, 2)]


@pytest.mark.parametrize("last", ["inputs_1", "jobs"])
def test_a_submit_that_never_reached_the_batches_does_not_exist(storage, commit, rows, last):
    """The manager died between the tables of one group."""
    tables = rows.submit(A, 3, inputs="inputs_1")
    order = ["inputs_1", "jobs", "batches"]
    commit(**{name: tables[name] for name in order[: order.index(last) + 1]})
    commit(**rows.submit(B, 2, inputs="inputs_1"))
    reader = LedgerReader(storage)
    assert [batch.row["batch_id"] for batch in recover(reader).batches] == [B]
    assert reader.batches()["batch_id"].to_pylist() == [B]


def test_tries_whose_outcome_was_not_committed_are_kept(storage, commit, rows):
    commit(**rows.submit(A, 1))
    commit(attempts=rows.attempts(A, [{"job_index": 0, "attempt": 3}]))
    (batch,) = recover(LedgerReader(storage)).batches
    assert batch.result_index.tolist() == []
    assert batch.attempts["attempt"].to_pylist() == [3]


def test_events_of_an_unknown_batch_do_not_make_it_exist(storage, commit, rows):
    commit(events=rows.event("batch_finished", 1, batch_id=C, detail='{"status": "succeeded"}'))
    found = recover(LedgerReader(storage))
    assert (found.finished, found.batches) == ({}, [])
