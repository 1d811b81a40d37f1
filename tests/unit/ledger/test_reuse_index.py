"""The file of verified contents: exact, bounded, rebuilt from the results, harmless when damaged."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.reuse_index import (
    MOST_FILES,
    ORIGIN,
    ReuseIndex,
    decoded,
    empty_index,
    hex_of_keys,
    index_path,
    keys_of_hex,
    load_index,
    store_index,
)
from dfbatch.ledger.reuse_rows import origin_rows, rows_from
from dfbatch.ledger.reuse_update import update_index

pytestmark = pytest.mark.integration

WHO = "0123456789abcdef"
BATCHES = ("aaaaaaaa", "bbbbbbbb", "cccccccc")


def sha(content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()


def origins_of(entries: list[tuple[str, int, int]]) -> Any:
    return np.array([(batch.encode(), index, generation) for batch, index, generation in entries], ORIGIN)


def added(index: ReuseIndex, entries: list[tuple[int, tuple[str, int, int]]], most: int = 1000) -> ReuseIndex:
    keys = keys_of_hex([sha(content) for content, _ in entries])
    return index.merged(keys, origins_of([origin for _, origin in entries]), 1, 1, most)


def found_in(index: ReuseIndex, contents: list[int]) -> dict[int, tuple[str, int, int]]:
    places, origins = index.find(keys_of_hex([sha(content) for content in contents]))
    rows = [(o["batch_id"].decode(), int(o["job_index"]), int(o["generation"])) for o in origins]
    return {contents[place]: row for place, row in zip(places.tolist(), rows, strict=True)}


origin = st.tuples(st.sampled_from(BATCHES), st.integers(0, 2**40), st.integers(0, 9))
entries = st.lists(st.tuples(st.integers(0, 30), origin), max_size=25)


@given(st.lists(entries, max_size=5))
def test_what_was_put_in_is_found_and_nothing_else(rounds: list[Any]) -> None:
    """A later merge wins; within one, the newest batch."""
    index, model = empty_index(), dict[int, tuple[str, int, int]]()
    for some in rounds:
        index = decoded(added(index, some).encoded())
        model |= dict(sorted(some, key=lambda entry: entry[1][0]))
    assert found_in(index, list(range(40))) == model
    assert len(index) == len(model)
    text = [row.tobytes() for row in index.keys]
    assert text == sorted(text)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 10**6)), max_size=80), st.integers(1, 20))
def test_the_oldest_batches_are_dropped_first(some: list[tuple[int, int]], most: int) -> None:
    named = {content: f"{batch:08d}" for content, batch in some}
    index = added(empty_index(), [(content, (batch, 0, 0)) for content, batch in named.items()], most)
    assert len(index) == min(most, len(named))
    kept = sorted(row[0] for row in found_in(index, list(named)).values())
    assert kept == sorted(named.values())[-len(index) :] or not kept


@given(st.integers(0, 2**20), st.binary(max_size=300))
def test_a_file_of_anything_is_an_empty_index(seed: int, data: bytes) -> None:
    assert len(decoded(data)) == 0
    whole = added(empty_index(), [(k, ("aaaaaaaa", k, 0)) for k in range(5)]).encoded()
    assert len(decoded(whole[: seed % len(whole)])) == 0
    assert len(decoded(whole + data[:1])) in (0, 5)


def test_no_key_is_never_found() -> None:
    keys = keys_of_hex(["", "x" * 64, "ab" * 31 + " f", sha(1)])
    assert [text is None for text in hex_of_keys(keys)] == [True, True, True, False]
    index = empty_index().merged(keys, origins_of([("aaaaaaaa", k, 0) for k in range(4)]), 1, 1)
    assert len(index) == 1
    assert index.find(keys)[0].tolist() == [3]


def test_a_missing_or_damaged_file_means_no_reuse(storage: Any) -> None:
    assert len(load_index(storage, WHO)) == 0
    store_index(storage, WHO, added(empty_index(), [(1, ("aaaaaaaa", 1, 0))]))
    assert found_in(load_index(storage, WHO), [1]) == {1: ("aaaaaaaa", 1, 0)}
    path = Path(storage.root) / index_path(WHO)
    for damage in (b"", b"x", path.read_bytes()[:-1]):
        path.write_bytes(damage)
        assert len(load_index(storage, WHO)) == 0


def test_files_of_old_verifiers_are_cleared_away(storage: Any) -> None:
    for k in range(MOST_FILES + 3):
        store_index(storage, f"{k:016x}", empty_index())
        os.utime(Path(storage.root) / index_path(f"{k:016x}"), (k, k))
    store_index(storage, WHO, empty_index())
    left = {info.path for info in storage.list("reuse")}
    assert len(left) == MOST_FILES
    assert index_path(WHO) in left
    assert index_path(f"{0:016x}") not in left


# -------------------------------------------------------------------------- from and to the results


@pytest.fixture
def verified(rows: Any, commit: Callable[..., int]) -> Callable[..., None]:
    """Makes outcomes of a batch durable: one job per content."""

    def run(batch_id: str, contents: list[object], *, first: int = 0, who: str = WHO, **columns: Any) -> None:
        if not first:
            commit(**rows.submit(batch_id, len(contents), verifier_fingerprint=who))
        index = range(first, first + len(contents))
        table = rows.results(batch_id, index, 1, verifier_fingerprint=who, **columns)
        commit(results=table.append_column("sha256", pa.array([sha(content) for content in contents])))

    return run


def test_an_update_reads_what_is_new(verified: Any, reader: LedgerReader, storage: Any) -> None:
    verified("aaaaaaaa", [1, 2])
    assert found_in(update_index(reader, WHO), [1, 2, 3]) == {1: ("aaaaaaaa", 0, 0), 2: ("aaaaaaaa", 1, 0)}
    verified("bbbbbbbb", [2, 3])
    later = update_index(reader, WHO)
    assert found_in(later, [1, 2, 3]) == {
        1: ("aaaaaaaa", 0, 0),
        2: ("bbbbbbbb", 0, 0),
        3: ("bbbbbbbb", 1, 0),
    }
    assert load_index(storage, WHO).encoded() == later.encoded()


def test_failures_and_other_verifiers_do_not_count(verified: Any, reader: LedgerReader) -> None:
    verified("aaaaaaaa", [1], status="failed")
    verified("bbbbbbbb", [2], who="f" * 16)
    verified("cccccccc", [3])
    assert found_in(update_index(reader, WHO), [1, 2, 3]) == {3: ("cccccccc", 0, 0)}


def test_a_lost_file_is_rebuilt_from_the_results(verified: Any, reader: LedgerReader, storage: Any) -> None:
    for k, batch_id in enumerate(BATCHES):
        verified(batch_id, [k, k + 1, k + 2])
        before = update_index(reader, WHO)
    storage.delete(index_path(WHO))
    again = update_index(reader, WHO)
    assert again.encoded() == before.encoded()
    assert len(again) == 5


def test_more_than_fits_keeps_the_newest(verified: Any, reader: LedgerReader) -> None:
    for k, batch_id in enumerate(BATCHES):
        verified(batch_id, [10 * k, 10 * k + 1])
    assert sorted(found_in(update_index(reader, WHO, most=2), list(range(30)))) == [20, 21]


def test_an_index_of_another_ledger_is_rebuilt(verified: Any, reader: LedgerReader, storage: Any) -> None:
    verified("aaaaaaaa", [1])
    store_index(storage, WHO, empty_index().merged(keys_of_hex([sha(9)]), origins_of([("zzzzzzzz", 1, 0)]), 999, 5))
    assert found_in(update_index(reader, WHO), [1, 9]) == {1: ("aaaaaaaa", 0, 0)}


def test_rows_are_checked_against_the_content(verified: Any, reader: LedgerReader) -> None:
    """A wrong index cannot make a wrong outcome."""
    verified("aaaaaaaa", [1, 2])
    wrong = [("aaaaaaaa", 1, 0), ("aaaaaaaa", 1, 7), ("nobatch0", 1, 0), ("aaaaaaaa", 2**60, 0), ("aaaaaaaa", 1, 0)]
    keys = keys_of_hex([sha(content) for content in (1, 2, 2, 2, 2)])
    found = list(origin_rows(reader, keys, origins_of(wrong), WHO, None))
    assert [places.tolist() for places, _ in found] == [[4]]
    assert found[0][1].column("reused_from").to_pylist() == ["aaaaaaaa-1"]


def test_rows_of_another_model_or_verifier_are_not_taken(verified: Any, reader: LedgerReader) -> None:
    verified("aaaaaaaa", [1], model_fingerprint="small")
    key, at = keys_of_hex([sha(1)]), origins_of([("aaaaaaaa", 0, 0)])
    asked = [(WHO, "small"), (WHO, "large"), (WHO, None), ("f" * 16, "small")]
    assert [len(list(origin_rows(reader, key, at, *who))) for who in asked] == [1, 0, 0, 0]
    assert [len(rows_from(reader, at[0], 8, *who)) for who in asked] == [1, 0, 0, 0]


def test_a_reused_row_passes_on_where_it_came_from(verified: Any, reader: LedgerReader) -> None:
    verified("bbbbbbbb", [1], reused_from="aaaaaaaa-5")
    rows = rows_from(reader, origins_of([("bbbbbbbb", 0, 0)])[0], 8, WHO, None)
    assert rows.column("reused_from").to_pylist() == ["aaaaaaaa-5"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(damage=st.binary(min_size=1, max_size=24), at=st.integers(0, 10**6))
def test_flipped_bytes_never_give_another_outcome(
    verified: Any, reader: LedgerReader, storage: Any, damage: bytes, at: int
) -> None:
    if not storage.exists(index_path(WHO)):
        verified("aaaaaaaa", list(range(20)))
        update_index(reader, WHO)
    data = bytearray(storage.read(index_path(WHO)))
    at = 64 + at % (len(data) - 64 - len(damage))
    data[at : at + len(damage)] = damage
    index, keys = decoded(bytes(data)), keys_of_hex([sha(k) for k in range(20)])
    places, origins = index.find(keys)
    for positions, rows in origin_rows(reader, keys[places], origins, WHO, None):
        assert rows.column("sha256").to_pylist() == [sha(int(k)) for k in places[positions]]
