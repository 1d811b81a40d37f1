"""Verdicts and errors of open batches are counted from what is committed, whatever the size of a batch."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from dfbatch.ledger import outcome_tallies
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.recovery import recover, recover_batches

pytestmark = pytest.mark.integration

A, B, C = "k3f2m9qa", "k3f2m9qb", "k3f2m9qc"


@pytest.fixture
def results(rows, commit):
    """Commits outcomes with a verdict, or an error where it is None."""
    number = [0]

    def write(batch_id, verdicts, *, first=0, generation=0):
        for index, verdict in enumerate(verdicts, start=first):
            number[0] += 1
            failed = {} if verdict else {"status": "failed", "error_type": "MediaTruncated"}
            table = rows.results(batch_id, [index], number[0], generation=generation, **failed)
            place = table.schema.get_field_index("verdict")
            commit(results=table.set_column(place, "verdict", pa.array([verdict], pa.string())))

    return write


@pytest.mark.parametrize("slice_rows", [1_000, 4, 1])  # all in one read; each batch in one; each in several
def test_verdicts_and_errors_of_every_open_batch_are_counted(storage, commit, rows, results, slice_rows, monkeypatch):
    monkeypatch.setattr(outcome_tallies, "SLICE_ROWS", slice_rows)
    for batch_id in (A, B, C):
        commit(**rows.submit(batch_id, 9, kind="verify"))
    results(A, ["authentic", "manipulated", None, "manipulated"])
    results(B, ["inconclusive", None])
    a, b, c = recover(LedgerReader(storage)).batches
    assert (a.verdicts, a.errors) == ({"authentic": 1, "manipulated": 2}, {"MediaTruncated": 1})
    assert (b.verdicts, b.errors) == ({"inconclusive": 1}, {"MediaTruncated": 1})
    assert (c.verdicts, c.errors) == ({}, {})


def test_errors_that_a_redrive_has_ended_are_not_counted_again(storage, commit, rows, results):
    commit(**rows.submit(A, 3, kind="verify"))
    results(A, ["authentic", None, None])
    commit(events=rows.event("redriven", 1, batch_id=A, detail=json.dumps({"ranges": [[1, 2]]})))
    (before,) = recover(LedgerReader(storage)).batches
    assert before.errors == {"MediaTruncated": 1}
    results(A, ["manipulated"], first=1, generation=1)
    (after,) = recover_batches(LedgerReader(storage), [A])
    assert (after.verdicts, after.errors) == ({"authentic": 1, "manipulated": 1}, {"MediaTruncated": 1})


def test_outcomes_of_user_code_have_errors_and_no_verdicts(storage, commit, rows):
    commit(**rows.submit(A, 3, kind="map"))
    commit(results=rows.results(A, [0], 1))
    commit(results=rows.results(A, [1, 2], 2, status="failed", error_type="ValueError"))
    (batch,) = recover(LedgerReader(storage)).batches
    assert (batch.verdicts, batch.errors) == ({}, {"ValueError": 2})
