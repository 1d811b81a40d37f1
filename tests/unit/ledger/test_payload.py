from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from dfbatch.errors import LedgerCorrupt
from dfbatch.ledger.payload import PayloadReader

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
    payload = PayloadReader(reader, A, None)
    none = pa.nulls(10, pa.string())
    payload.seed(pa.table({"uri": tables["jobs"]["uri"], "blob": none, "filename": none}), 0)
    before = payload.slice(np.array([7, 9]))
    payload.forget()
    assert payload._jobs._bytes == len(payload._jobs._cache) == 0
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
