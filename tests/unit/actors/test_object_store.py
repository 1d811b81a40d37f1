"""Whole batches on a ledger that lies on S3, over a crash of the manager."""

from __future__ import annotations

from collections import Counter

import pytest

from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.storage import open_storage
from dfbatch.testing import InProcess

WAIT_S = 60.0
pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("brisk")]


@pytest.fixture
def ledger_path(s3):
    """The lives of this module are lived on an object store."""
    return s3.uri()


def rows_by_job(path, batch_id):
    rows = LedgerReader(open_storage(path)).read("results", batch_id=batch_id)
    return Counter(rows.column("job_index").to_pylist())


def test_a_batch_is_submitted_run_and_read_back(ledger_path, made):
    with InProcess(ledger_path, workers=1) as client:
        assert client.map(lambda x: x + 1, range(20)).results(WAIT_S).values() == list(range(1, 21))
        picture = next(made.folder.rglob("*.png")).read_bytes()
        (row,) = client.verify([picture]).results(WAIT_S)
        assert (row["status"], row["size"]) == ("succeeded", len(picture))


def test_a_manager_that_dies_is_followed_by_one_that_goes_on(life, make_gate, ledger_path):
    gate = make_gate()
    first = life(workers=1)
    batch = first.client.map(lambda x: gate(x) if x >= 5 else x, range(10))
    gate.await_items()
    first.crash()
    gate.open()
    second = life()
    assert second.client.attach(batch.id).results(WAIT_S).values() == list(range(10))
    assert rows_by_job(ledger_path, batch.id) == dict.fromkeys(range(10), 1)
    assert second.client.health()["epoch"] == 2
