from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.errors import LedgerCorrupt
from dfbatch.ledger import delta_log
from dfbatch.ledger.delta_log import DataFile, Entry

pytestmark = pytest.mark.integration

FILE = DataFile("0000010000000001-ab.parquet", 100, 7, 1_780_000_000_000, ("k3f2m9qa", "k3f2m9qc"), (3, 9))


def entry_bytes(*files: DataFile) -> bytes:
    commit = [delta_log.commit_info("WRITE", "token", 5), delta_log.transaction(delta_log.commit_id(2, 3), 5)]
    removed = [{"remove": delta_log.removal("old.parquet", 4)}]
    return delta_log.encode([*commit, *removed, *({"add": file.add()} for file in files)])


def test_an_entry_reads_back_as_it_was_written():
    found = delta_log.parse(entry_bytes(FILE), "x.json")
    assert found == Entry([FILE], [("old.parquet", 4)], 2 << 40 | 3, "token")
    assert delta_log.epoch_of(found.commit) == 2


@given(
    st.builds(
        DataFile,
        st.from_regex(r"[0-9a-f]{16}-[0-9a-f]{8}\.parquet", fullmatch=True),
        st.integers(0, 2**50),
        st.integers(0, 2**40),
        st.integers(0, 2**45),
        st.none() | st.tuples(st.text(max_size=9), st.text(max_size=9)),
        st.none() | st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)),
        st.booleans(),
    )
)
def test_any_file_survives_its_add_action(file):
    assert DataFile.of_add(json.loads(json.dumps(file.add()))) == file


def test_an_entry_that_is_cut_short_anywhere_is_refused():
    """Also between two lines, where what is left is good JSON."""
    whole = entry_bytes(FILE, FILE)
    for cut in range(len(whole) - 1):
        with pytest.raises(LedgerCorrupt, match=r"log entry x\.json is damaged"):
            delta_log.parse(whole[:cut], "x.json")
    assert delta_log.parse(whole[:-1], "x.json") == delta_log.parse(whole, "x.json")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"{",
        b"[]",
        b"3",
        b"null\n",
        b'"text"\n',
        b'{"add":null}\n',
        b'{"add":{}}\n',
        b'{"remove":[]}\n',
        b"\xff\xfe",
    ],
)
def test_nonsense_is_refused(data):
    with pytest.raises(LedgerCorrupt):
        delta_log.parse(data, "x.json")


def test_actions_of_other_writers_are_passed_over():
    foreign = [{"txn": {"appId": "other", "version": 9}}, {"cdc": {}}, {"commitInfo": {}}, {"add": FILE.add()}]
    assert delta_log.parse(delta_log.encode(foreign), "x") == Entry([FILE])


def test_paths_of_other_writers_are_decoded():
    add = FILE.add() | {"path": "a%20b.parquet", "stats": None}
    assert DataFile.of_add(add).path == "a b.parquet"
    assert DataFile.of_add(add).may_hold("anything", (0, 1))


@pytest.mark.parametrize(
    ("batch_id", "index_range", "may"),
    [
        (None, None, True),
        ("k3f2m9qa", None, True),
        ("k3f2m9qb", None, True),  # between the bounds
        ("k3f2m9qd", None, False),
        ("k3f2m9q", None, False),
        ("k3f2m9qa", (9, 10), True),
        ("k3f2m9qa", (0, 3), False),  # half-open
        (None, (10, 99), False),
    ],
)
def test_statistics_rule_files_out(batch_id, index_range, may):
    assert FILE.may_hold(batch_id, index_range) is may


def test_columns_of_naive_times_need_a_newer_protocol():
    (protocol, _) = delta_log.creation("id", '{"type":"timestamp_ntz"}', {}, 0)
    assert protocol["protocol"]["readerFeatures"] == ["timestampNtz"]
