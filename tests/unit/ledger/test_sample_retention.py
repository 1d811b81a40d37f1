"""Old samples leave the ledger, whole files at a time."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dfbatch.errors import LedgerFenced
from dfbatch.ledger import sample_retention
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.sample_retention import KEPT_S
from dfbatch.ledger.writer import CommitGroup, LedgerWriter

pytestmark = pytest.mark.integration


@pytest.fixture
def writer(storage, clock, rows):
    found = LedgerWriter.open(storage, clock=clock)
    found.take_over(rows.info)
    return found


@pytest.fixture
def kept(storage, clock, writer):
    """Numbers of the samples that are there after all upkeep."""

    def settle():
        while writer.maintain(clock.now().wall):
            pass
        return sorted(LedgerReader(storage).read("metrics").column("queued").to_pylist())

    return settle


def save(writer, *numbers):
    writer.commit(CommitGroup({"metrics": pa.table({"queued": pa.array(numbers, pa.int64())})}))


def test_samples_are_kept_for_a_week(writer, clock, kept):
    save(writer, 1, 2)
    clock.advance(KEPT_S - 10.0)
    save(writer, 3)
    assert kept() == [1, 2, 3]
    clock.advance(20.0)
    assert kept() == [3]
    clock.advance(KEPT_S)
    assert kept() == []


def test_there_are_never_many_more_rows_than_allowed_and_the_newest_stay(writer, kept, monkeypatch):
    monkeypatch.setattr(sample_retention, "MOST_ROWS", 5)
    for k in range(6):
        save(writer, 10 * k, 10 * k + 1)
    assert kept() == [40, 41, 50, 51]
    save(writer, *range(100, 120))
    assert kept() == list(range(100, 120)), "one file alone stays, however long"


def test_many_small_files_of_samples_are_merged_and_still_go_by_age(writer, clock, storage, kept):
    for k in range(70):
        save(writer, k)
    assert kept() == list(range(70))
    assert len(LedgerReader(storage).snapshot("metrics").files) < 10
    clock.advance(KEPT_S + 1.0)
    assert kept() == []


def test_a_manager_that_was_replaced_removes_nothing(writer, clock, storage, rows):
    save(writer, 1)
    LedgerWriter.open(storage, clock=clock).take_over(rows.info)
    clock.advance(KEPT_S + 1.0)
    with pytest.raises(LedgerFenced):
        writer.maintain(clock.now().wall)
    assert len(LedgerReader(storage).read("metrics")) == 1
