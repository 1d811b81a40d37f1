"""What the manager keeps of what jobs say."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from dfbatch.actors import log_book
from dfbatch.actors.log_book import MOST_BYTES, MOST_LINES, LogBook, tail_of
from dfbatch.actors.messages import LogLine

BATCH = "k3f2m9qx"


def lines(index: int, texts: Iterable[str]) -> list[LogLine]:
    return [LogLine(BATCH, index, 1, 0.0, text) for text in texts]


def add(
    book: LogBook, index: int, *texts: str, generation: int | None = 0, failed: frozenset[int] = frozenset()
) -> None:
    book.add(lines(index, texts), lambda *_: generation, lambda _, k: k in failed)


def test_lines_are_kept_by_job_in_order() -> None:
    book = LogBook()
    add(book, 1, "a", "b")
    add(book, 2, "c")
    add(book, 1, "d")
    assert book.of(BATCH, 1, 0) == ["a", "b", "d"]
    assert book.of(BATCH, 2, 0) == ["c"]
    assert book.of(BATCH, 3, 0) == []


def test_of_one_job_the_newest_lines_are_kept() -> None:
    book = LogBook()
    add(book, 1, *map(str, range(1_000)))
    assert book.of(BATCH, 1, 0) == [str(k) for k in range(1_000 - MOST_LINES, 1_000)]
    add(book, 2, *("x" * 2_000 for _ in range(100)))
    assert sum(map(len, book.of(BATCH, 2, 0))) <= MOST_BYTES


def test_a_redrive_begins_a_new_page_and_unknown_jobs_get_none() -> None:
    book = LogBook()
    add(book, 1, "first life")
    assert book.of(BATCH, 1, 1) == []
    add(book, 1, "second life", generation=1)
    assert book.of(BATCH, 1, 1) == ["second life"]
    add(book, 9, "whose?", generation=None)
    assert len(book) == 1


def test_jobs_that_failed_outlive_those_that_did_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_book, "MOST_JOBS", 10)
    book = LogBook()
    for index in range(100):
        add(book, index, f"job {index}", failed=frozenset({1, 5}))
    assert book.of(BATCH, 1, 0) == ["job 1"]
    assert book.of(BATCH, 5, 0) == ["job 5"]
    assert book.of(BATCH, 2, 0) == []
    assert book.of(BATCH, 99, 0) == ["job 99"]
    assert len(book) == 12


def test_memory_is_bounded_whatever_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_book, "MOST_BYTES_OF_ALL", 100_000)
    book = LogBook()
    everything = frozenset(range(500))
    for index in range(500):
        add(book, index, "x" * 1_000, failed=everything)
        assert book.n_bytes <= 202_000
    assert book.of(BATCH, 499, 0) != []


def test_batches_that_left_are_forgotten() -> None:
    book = LogBook()
    add(book, 1, "a")
    book.forget(lambda batch_id: batch_id == BATCH)
    assert (len(book), book.n_bytes) == (0, 0)


@pytest.mark.parametrize(("tail", "text"), [(None, "a\nb\nc"), (2, "b\nc"), (0, ""), (9, "a\nb\nc")])
def test_tail(tail: int | None, text: str) -> None:
    assert tail_of(["a", "b", "c"], tail) == text
