from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dfbatch.errors import LedgerCorrupt, LedgerError
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.schemas import TABLES
from dfbatch.ledger.writer import CommitGroup

pytestmark = pytest.mark.integration

A, B = "k3f2m9qa", "k3f2m9qb"


@pytest.fixture
def finish(writer, rows):
    """Commit outcomes of some jobs, with outputs if values are given."""

    def run(batch_id, index, values=None, *, table="outputs_1", generation=0, **columns):
        commit = writer.next_commit_id()
        tables = {}
        if values is not None:
            tables[table] = rows.outputs(batch_id, index, commit, values, generation=generation)
            columns["outputs"] = table
        tables["results"] = rows.results(batch_id, index, commit, generation=generation, **columns)
        writer.commit(CommitGroup(tables, commit))
        return commit

    return run


def test_rows_come_back_with_the_types_of_the_schema_sorted_by_key(reader, finish):
    finish(B, [5, 1])
    finish(A, [9, 2])
    table = reader.read("results")
    assert table.schema.equals(TABLES["results"].arrow)
    keys = list(zip(table["batch_id"].to_pylist(), table["job_index"].to_pylist(), strict=True))
    assert keys == [(A, 2), (A, 9), (B, 1), (B, 5)]
    assert table["verdict"].null_count == 4


def test_a_part_is_read_by_batch_range_columns_and_expression(reader, finish):
    finish(A, range(100))
    finish(B, range(50, 60), status="failed")
    finish(A, range(100, 110), status="failed")
    assert len(reader.read("results", batch_id=A)) == 110
    part = reader.read("results", batch_id=A, index_range=(98, 103), columns=["job_index"])
    assert part.to_pydict() == {"job_index": [98, 99, 100, 101, 102]}
    failed = reader.read("results", expression=pc.field("status") == "failed", columns=["batch_id", "job_index"])
    assert failed["batch_id"].to_pylist() == [A] * 10 + [B] * 10
    assert len(reader.read("results", batch_id="zzzzzzzz")) == 0


def test_only_files_that_may_hold_the_batch_are_opened(storage, reader, finish):
    finish(A, range(10))
    finish(B, range(10))
    (of_b,) = [f for f in reader.snapshot("results").files.values() if f.batches == (B, B)]
    storage.delete(f"results/{of_b.path}")
    assert len(reader.read("results", batch_id=A)) == 10


def test_an_unknown_table_is_an_error_that_names_it(reader):
    with pytest.raises(LedgerError, match="no table 'outputs_9'"):
        reader.read("outputs_9")


def test_outcomes_are_joined_with_what_went_in_and_what_came_out(reader, writer, commit, rows, finish):
    commit(**rows.submit(A, 6, inputs="inputs_1"))
    finish(A, [4, 1], [{"score": 0.4}, {"score": 0.1}])
    finish(A, [0], None, status="failed")
    finish(A, [3, 5], [{"score": 3}, {"score": 5}], table="outputs_2")
    found = reader.results(A).to_pylist()
    assert [row["job_index"] for row in found] == [0, 1, 3, 4, 5]
    assert [row["input"]["label"] for row in found] == [f"{A}/{i}" for i in (0, 1, 3, 4, 5)]
    assert [row["output"] for row in found] == [None, *({"score": x} for x in (0.1, 3.0, 0.4, 5.0))]


def test_a_part_of_a_batch_is_joined_as_the_whole_is(reader, commit, rows, finish):
    commit(**rows.submit(A, 30, inputs="inputs_1"))
    finish(A, range(0, 20), [{"x": i} for i in range(20)])
    finish(A, range(20, 30), [{"x": i} for i in range(20, 30)])
    whole = reader.results(A)
    assert reader.results(A, index_range=(18, 23)).equals(whole.slice(18, 5))
    assert reader.joined(reader.read("results", batch_id=A, index_range=(3, 5)), A).equals(whole.slice(3, 2))


def test_outcomes_of_a_batch_without_input_and_output_have_no_such_columns(reader, commit, rows, finish):
    commit(**rows.submit(A, 3))
    finish(A, [2, 0])
    assert reader.results(A).column_names == TABLES["results"].arrow.names
    assert reader.results(A, columns=["job_index", "output"]).to_pydict() == {"job_index": [0, 2]}


def test_a_batch_without_outcomes_has_an_empty_table(reader, commit, rows):
    commit(**rows.submit(A, 3, inputs="inputs_1"))
    assert reader.results(A).num_rows == 0
    assert reader.results("zzzzzzzz").num_rows == 0


def test_the_newest_generation_of_each_job_counts(reader, finish):
    finish(A, range(4), [{"v": 0}] * 4, status="failed")
    finish(A, [1, 3], [{"v": 1}] * 2, generation=1, status="failed")
    finish(A, [3], [{"v": 2}], generation=2)
    latest = reader.results(A)
    assert latest["generation"].to_pylist() == [0, 1, 0, 2]
    assert [row["v"] for row in latest["output"].to_pylist()] == [0, 1, 0, 2]
    assert reader.results(A, generation=1)["job_index"].to_pylist() == [1, 3]
    assert len(reader.results(A, generation="all")) == 7


def test_an_output_without_its_outcome_is_never_seen(reader, writer, rows, finish):
    """The manager died between the two tables; the job ran again."""
    lost = writer.next_commit_id()
    writer.commit(CommitGroup({"outputs_1": rows.outputs(A, [0, 1], lost, [{"v": "lost"}] * 2)}, lost))
    finish(A, [0, 1], [{"v": "kept"}] * 2)
    assert reader.results(A)["output"].to_pylist() == [{"v": "kept"}] * 2


def test_outputs_of_other_types_are_widened_and_columns_united(reader, finish):
    finish(A, [0], [{"n": 1, "x": None}])
    finish(A, [1], pa.array([{"n": 1.5, "x": "text"}]), table="outputs_2")
    finish(A, [2], [{"n": 2, "more": [1, 2]}], table="outputs_3")
    assert reader.results(A)["output"].to_pylist() == [
        {"n": 1.0, "x": None, "more": None},
        {"n": 1.5, "x": "text", "more": None},
        {"n": 2.0, "x": None, "more": [1, 2]},
    ]


def test_outcomes_of_interleaved_chunks_are_put_in_order(reader, writer, rows, finish):
    """Two workers finish chunks of different parts of a batch at a time."""
    n, chunk = 2_000, 50
    starts = np.random.default_rng(7).permutation(np.arange(0, n, chunk))
    for pair in starts.reshape(-1, 2):
        index = np.concatenate([np.arange(s, s + chunk) for s in pair])
        finish(A, index, [{"i": int(i)} for i in index])
    found = reader.results(A)
    assert found["job_index"].to_pylist() == list(range(n))
    assert [row["i"] for row in found["output"].to_pylist()] == list(range(n))


def test_batches_tell_their_status_as_the_events_have_it(reader, commit, rows):
    for number, batch_id in enumerate("abcd"):
        commit(**rows.submit(batch_id, 1, submitted_at=number))
    commit(events=rows.event("batch_finished", 1, batch_id="a", detail='{"status": "partial"}'))
    commit(events=rows.event("batch_finished", 2, batch_id="b", detail='{"status": "failed"}'))
    commit(events=rows.event("redriven", 3, batch_id="b"))
    commit(events=rows.event("paused", 4, batch_id="c"))
    found = reader.batches()
    assert found["status"].to_pylist() == ["partial", "running", "paused", "running"]
    assert found["detail"].to_pylist() == ['{"status": "partial"}', None, None, None]


def test_a_follower_sees_each_commit_once_and_no_merge(reader, writer, clock, finish, commit, rows):
    version, tables = reader.tail("results", -1)
    assert tables == []
    seen = []
    for number in range(70):
        finish(A, [number])
        version, tables = reader.tail("results", version, columns=["job_index"])
        seen += [index for table in tables for index in table["job_index"].to_pylist()]
        while writer.maintain(clock.now().wall):
            pass
    assert len(reader.snapshot("results").files) < 10
    assert seen == list(range(70))
    assert reader.tail("results", version) == (reader.snapshot("results").version, [])


def test_a_follower_of_one_batch_sees_nothing_of_others(reader, finish):
    finish(A, [0])
    finish(B, [0])
    _, tables = reader.tail("results", -1, batch_id=B)
    assert [table["batch_id"].to_pylist() for table in tables] == [[B]]


def test_a_follower_that_was_away_too_long_gets_all_rows(storage, reader, finish):
    for number in range(3):
        finish(A, [number])
    reader.snapshot("results")  # has been replayed, as from a checkpoint
    storage.delete("results/_delta_log/00000000000000000003.json")
    _, tables = reader.tail("results", 1, columns=["job_index"])
    assert [table["job_index"].to_pylist() for table in tables] == [[0, 1, 2]]


def test_files_of_a_batch_are_listed_with_their_rows(reader, finish, commit, rows):
    commit(**rows.submit(A, 3))
    finish(A, [0, 1])
    finish(B, [0])
    found = reader.files(A)
    assert [(file["table"], file["batch_rows"]) for file in found] == [("batches", 1), ("jobs", 3), ("results", 2)]


def test_a_reader_that_holds_an_old_list_of_files_lists_again(storage, writer, clock, finish, rows, commit):
    """A merge took the files away while it read."""
    for number in range(9):
        finish(A, [number])
    reader = LedgerReader(storage)
    old = dict(reader.snapshot("results").files)
    commit(events=rows.event("batch_finished", 1, batch_id=A))
    while writer.maintain(clock.now().wall):
        pass
    for path in old:
        storage.delete(f"results/{path}")
    listed = iter([old])
    fresh = reader.snapshot

    def stale(name):
        found = fresh(name)
        found.files = next(listed, found.files)
        return found

    reader.snapshot = stale
    assert len(reader.read("results", batch_id=A)) == 9


@pytest.mark.parametrize(
    "damage", [b"", b"{", b'{"add":{"path"', b"[]\n", b"\x00" * 40, b'{"add":3}\n', b'{"txn":{}}\n']
)
def test_a_damaged_log_entry_is_named_and_what_came_before_it_is_read(storage, reader, finish, damage):
    finish(A, [0])
    finish(A, [1])
    last = f"results/_delta_log/{reader.snapshot('results').version:020d}.json"
    storage.replace(last, damage)
    with pytest.raises(LedgerCorrupt, match=last):
        LedgerReader(storage).read("results")
    intact = LedgerReader(storage, intact_only=True)
    assert intact.results(A)["job_index"].to_pylist() == [0]
    assert last in intact.damage["results"]


def test_a_missing_log_entry_is_named(storage, finish):
    finish(A, [0])
    finish(A, [1])
    storage.delete("results/_delta_log/00000000000000000002.json")
    with pytest.raises(LedgerCorrupt, match=r"00000000000000000002\.json is missing"):
        LedgerReader(storage).read("results")


@pytest.mark.parametrize("damage", [None, b"", b"PAR1 no parquet", b"\x00" * 5000])
def test_a_damaged_data_file_is_named_and_the_others_are_read(storage, reader, finish, damage):
    finish(A, [0])
    finish(A, [1])
    path = next(f"results/{f.path}" for f in reader.snapshot("results").files.values() if f.indices == (1, 1))
    storage.delete(path) if damage is None else storage.replace(path, damage)
    with pytest.raises(LedgerCorrupt, match=path.partition("/")[2]):
        LedgerReader(storage).read("results")
    intact = LedgerReader(storage, intact_only=True)
    assert intact.results(A)["job_index"].to_pylist() == [0]
    assert path in intact.damage
