"""One bound for the items of all open batches; what was used longest ago goes first."""

import pyarrow as pa
import pytest

from dfbatch.ledger.payload_memory import PayloadMemory, Shelf

HUNDRED = pa.table({"x": pa.array([0] * 100, pa.uint8())})


def test_of_all_batches_that_one_makes_room_that_was_used_longest_ago():
    memory = PayloadMemory(300)
    first, second, third, fourth = (Shelf(memory, name) for name in "abcd")
    for shelf in (first, second, third):
        shelf.put(1, HUNDRED)
    assert first.get(1) is HUNDRED
    fourth.put(1, HUNDRED)
    assert second.get(1) is None
    assert [len(shelf) for shelf in (first, second, third, fourth)] == [1, 0, 1, 1]
    assert memory.n_bytes == 300


def test_the_older_tables_of_a_batch_go_before_its_newer_ones():
    memory = PayloadMemory(300)
    shelf = Shelf(memory, "a")
    for key in range(5):
        shelf.put(key, HUNDRED)
    assert shelf.kept() == [2, 3, 4]
    shelf.get(2)
    shelf.put(5, HUNDRED)
    assert shelf.kept() == [4, 2, 5]
    assert memory.n_bytes == shelf.n_bytes == 300


def test_a_giant_batch_leaves_room_for_others():
    memory = PayloadMemory(1_000)
    small, giant = Shelf(memory, "small"), Shelf(memory, "giant", 300)
    small.put(1, HUNDRED)
    for key in range(50):
        giant.put(key, HUNDRED)
    assert len(giant) == 3
    assert small.get(1) is HUNDRED


@pytest.mark.parametrize("max_bytes", [1, 99])
def test_the_batch_that_is_leased_from_keeps_the_newest_of_each_table(max_bytes):
    memory = PayloadMemory(max_bytes)
    jobs, inputs, other = Shelf(memory, "a", 50), Shelf(memory, "a", 50), Shelf(memory, "b", 50)
    jobs.put(1, HUNDRED)
    inputs.put(1, HUNDRED)
    jobs.put(2, HUNDRED)
    assert (jobs.kept(), inputs.kept()) == ([2], [1])
    other.put(1, HUNDRED)
    assert (len(jobs), len(inputs), len(other)) == (0, 0, 1)
    assert memory.n_bytes == 100


def test_a_table_put_in_place_of_another_is_counted_once():
    memory = PayloadMemory()
    shelf = Shelf(memory, "a")
    shelf.put(1, HUNDRED)
    shelf.put(1, HUNDRED.slice(0, 10))
    assert memory.n_bytes == shelf.n_bytes == 10
    assert len(shelf.get(1)) == 10


def test_a_shelf_that_is_empty_is_not_known_any_more():
    memory = PayloadMemory()
    shelf = Shelf(memory, "a")
    shelf.put(1, HUNDRED)
    shelf.clear()
    shelf.clear()
    assert len(memory) == memory.n_bytes == 0
    assert shelf.get(1) is None
