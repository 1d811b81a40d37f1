"""Chunks are called back for others once, and not those that must end where they are."""

from typing import Any

from dfbatch.core.effects import Recall
from dfbatch.core.recalls import ask_to_yield, may_be_cut


def test_a_chunk_is_called_back_once(driver: Any) -> None:
    driver.hello()
    driver.submit(10)
    lease = driver.lease_of(5).lease
    books = driver.state
    assert may_be_cut(books, lease)
    asked = ask_to_yield(books.workers["w"], [lease], driver.now)
    assert asked == Recall("w", (lease.lease_id,), "yield")
    assert not may_be_cut(books, lease)


def test_the_lease_of_suspects_ends_where_it_is(driver: Any) -> None:
    driver.hello()
    driver.submit(10)
    lease = driver.lease_of(5).lease
    lease.solo = True
    assert not may_be_cut(driver.state, lease)
