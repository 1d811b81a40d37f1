"""When a worker makes room for a fresh process."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dfbatch.core.recycling import Recycling

MIB = 1 << 20


def test_nothing_is_renewed_unless_it_was_asked_for() -> None:
    found = Recycling()
    assert found.after_chunk("v", 10_000_000, 1 << 50, None, None) is None


def test_items_of_all_verifiers_count() -> None:
    found = Recycling()
    assert found.after_chunk("v", 60, MIB, 100, None) is None
    reason = found.after_chunk("w", 40, MIB, 100, None)
    assert reason is not None
    assert "100 items" in reason


def test_memory_that_grew_beyond_the_soft_cap_is_a_reason() -> None:
    found = Recycling()
    assert found.after_chunk("v", 1, 300 * MIB, None, 450 * MIB) is None
    assert found.after_chunk("v", 1, 440 * MIB, None, 450 * MIB) is None
    assert "keeps 460 MiB" in (found.after_chunk("v", 1, 460 * MIB, None, 450 * MIB) or "")


def test_a_model_that_fills_the_soft_cap_by_itself_is_not_loaded_again_and_again() -> None:
    found = Recycling()
    for _ in range(100):
        assert found.after_chunk("v", 1, 500 * MIB, None, 450 * MIB) is None
    assert found.after_chunk("v", 1, 560 * MIB, None, 450 * MIB) is not None


def test_the_second_verifier_may_need_memory_too() -> None:
    found = Recycling()
    found.after_chunk("v", 1, 300 * MIB, None, 450 * MIB)
    assert found.after_chunk("w", 1, 600 * MIB, None, 450 * MIB) is None
    assert found.after_chunk("w", 1, 610 * MIB, None, 450 * MIB) is None


@given(
    sizes=st.lists(st.integers(0, 1 << 34), min_size=1, max_size=50), soft=st.integers(1, 1 << 34), n=st.integers(1, 99)
)
def test_it_is_never_renewed_below_the_soft_cap_nor_before_its_time(sizes: list[int], soft: int, n: int) -> None:
    found = Recycling()
    for k, resident in enumerate(sizes):
        reason = found.after_chunk("v", 1, resident, n, soft)
        assert reason is None or resident > soft or k + 1 >= n
        assert reason is not None or k + 1 < n
