from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from dfbatch.errors import LedgerCorrupt
from dfbatch.ledger import payload as payload_module
from dfbatch.ledger.payload import PayloadReader
from dfbatch.ledger.payload_memory import PayloadMemory

pytestmark = pytest.mark.integration

A, B = "k3f2m9qa", "k3f2m9qb"


def uris(table: pa.Table) -> list[str]:
    return table["uri"].to_pylist()


def test_items_are_read_by_index_with_their_inputs(reader, commit, rows):
    commit(**rows.submit(A, 50, inputs="inputs_1"))
    commit(**rows.submit(B, 50, inputs="inputs_1"))
    index = np.array([3, 4, 5, 40])
    found = PayloadReader(reader, B, "inputs_1").slice(index)
    assert found.column_names == ["job_index", "uri", "blob", "filename", "input"]
    assert found["job_index"].to_pylist() == index.tolist()
    assert uris(found) == [f"file:///{B}/{i}.jpg" for i in index]
    assert found["input"].to_pylist() == [{"label": f"{B}/{i}"} for i in index]


def test_items_without_inputs_have_no_such_column(reader, commit, rows):
    commit(**rows.submit(A, 5))
    assert PayloadReader(reader, A, None).slice(np.arange(5)).column_names == ["job_index", "uri", "blob", "filename"]


def test_items_of_a_user_need_no_rows_but_their_inputs(reader, commit, rows):
    tables = rows.submit(B, 50, inputs="inputs_1")
    del tables["jobs"]
    commit(**tables)
    found = PayloadReader(reader, B, "inputs_1", is_media=False).slice(np.array([3, 40]))
    assert found["job_index"].to_pylist() == [3, 40]
    assert uris(found) == [None, None]
    assert found["input"].to_pylist() == [{"label": f"{B}/3"}, {"label": f"{B}/40"}]


def test_a_slice_over_several_commits_of_a_stream_is_one(reader, commit, rows):
    payload = PayloadReader(reader, A, None)
    commit(**rows.submit(A, 10))
    assert len(payload.slice(np.arange(8))) == 8
    commit(jobs=rows.submit(A, 10, first=10)["jobs"])
    assert payload.slice(np.arange(5, 15))["job_index"].to_pylist() == list(range(5, 15))


def test_rows_that_were_stored_twice_count_once(reader, commit, rows):
    """A client sent a slice of its stream again, because the manager died before it answered."""
    commit(**rows.submit(A, 10))
    commit(jobs=rows.submit(A, 10)["jobs"])
    assert PayloadReader(reader, A, None).slice(np.arange(10))["job_index"].to_pylist() == list(range(10))


def test_rows_seeded_at_submit_are_not_read_again(reader, commit, rows, storage):
    tables = rows.submit(A, 10, inputs="inputs_1")
    payload = PayloadReader(reader, A, "inputs_1")
    given = pa.table(
        {
            "filename": pa.nulls(10, pa.string()),
            "blob": pa.nulls(10, pa.string()),
            "uri": tables["jobs"]["uri"],
            "input": tables["inputs_1"]["input"],
        }
    )
    payload.seed(given, 0)
    assert uris(payload.slice(np.array([7, 9]))) == [f"file:///{A}/7.jpg", f"file:///{A}/9.jpg"]


def test_what_is_forgotten_is_read_from_the_ledger_when_it_is_asked_for_again(reader, commit, rows):
    tables = rows.submit(A, 10)
    commit(**tables)
    memory = PayloadMemory()
    payload = PayloadReader(reader, A, None, memory=memory)
    none = pa.nulls(10, pa.string())
    payload.seed(pa.table({"uri": tables["jobs"]["uri"], "blob": none, "filename": none}), 0)
    before = payload.slice(np.array([7, 9]))
    payload.forget()
    assert memory.n_bytes == len(memory) == 0
    assert uris(payload.slice(np.array([7, 9]))) == uris(before)


def test_seeds_are_forgotten_when_memory_is_short_and_read_from_the_ledger(reader, commit, rows):
    tables = rows.submit(A, 100)
    commit(**tables)
    payload = PayloadReader(reader, A, None, max_bytes=1)
    none = pa.nulls(50, pa.string())
    for first in (0, 50):
        seed = {"uri": tables["jobs"]["uri"].slice(first, 50), "blob": none, "filename": none}
        payload.seed(pa.table(seed), first)
    for index in (np.arange(40, 60), np.arange(0, 10), np.arange(90, 100)):
        assert payload.slice(index)["job_index"].to_pylist() == index.tolist()


def test_hundreds_of_open_batches_keep_no_more_in_memory_than_one_manager_may(reader, commit, rows):
    """What was kept of those not used lately is read from the ledger again, and each gets its own."""
    ids = [f"k3f2m9{first}{second}" for first in "abcdefghjk" for second in "23456789mn"]
    for batch_id in ids:
        commit(**rows.submit(batch_id, 20, inputs="inputs_1"))
    one = PayloadMemory()
    alone = PayloadReader(reader, ids[0], "inputs_1", memory=one)
    alone.slice(np.arange(20))
    memory = PayloadMemory(max_bytes=10 * one.n_bytes)
    readers = [PayloadReader(reader, batch_id, "inputs_1", memory=memory) for batch_id in ids]
    for index in (np.arange(0, 10), np.arange(10, 20)):
        for batch_id, payload in zip(ids, readers, strict=True):
            found = payload.slice(index)
            assert uris(found) == [f"file:///{batch_id}/{i}.jpg" for i in index]
            assert found["input"].to_pylist() == [{"label": f"{batch_id}/{i}"} for i in index]
            assert memory.n_bytes <= 10 * one.n_bytes
    assert len(memory) == 20, "two tables of the ten used last"
    for payload in readers:
        payload.forget()
    assert memory.n_bytes == len(memory) == 0


def test_batches_that_share_a_row_group_keep_each_only_its_own_rows(reader, commit, rows):
    """A merge puts many small batches into one group; kept as slices, each would hold the whole of it."""
    commit(jobs=pa.concat_tables([rows.submit(A, 1_000)["jobs"], rows.submit(B, 20)["jobs"]]))
    payload = PayloadReader(reader, B, None)
    assert len(payload.slice(np.arange(20))) == 20
    (table,) = map(payload._jobs._shelf.get, payload._jobs._shelf.kept())
    assert table.get_total_buffer_size() < 2 * table.nbytes


def test_a_batch_with_giant_items_is_not_read_anew_for_every_lease(reader, commit, rows, monkeypatch):
    commit(**rows.submit(A, 50, inputs="inputs_1"))
    payload = PayloadReader(reader, A, "inputs_1", memory=PayloadMemory(max_bytes=1))
    payload.slice(np.arange(10))
    monkeypatch.setattr(payload_module.pq, "ParquetFile", None)
    assert len(payload.slice(np.arange(10, 50))) == 40


def test_a_merge_under_the_reader_changes_nothing(reader, writer, clock, commit, rows, storage):
    commit(**rows.submit(A, 1))
    payload = PayloadReader(reader, A, None, max_bytes=1)
    for first in range(1, 70):
        commit(jobs=rows.submit(A, 1, first=first)["jobs"])
    assert len(payload.slice(np.arange(70))) == 70
    before = set(reader.snapshot("jobs").files)
    while writer.maintain(clock.now().wall):
        pass
    for path in before - set(reader.snapshot("jobs").files):
        storage.delete(f"jobs/{path}")
    assert payload.slice(np.arange(70))["job_index"].to_pylist() == list(range(70))


@pytest.mark.parametrize("index", [[5], [0, 5], [10_000]])
def test_a_job_that_is_not_there_is_an_error_that_names_the_batch(reader, commit, rows, index):
    commit(**rows.submit(A, 5))
    with pytest.raises(LedgerCorrupt, match=f"of batch {A}"):
        PayloadReader(reader, A, None).slice(np.array(index))
