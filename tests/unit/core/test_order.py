"""Which batch is served next: strict priority, ageing, round robin."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.core.order import AGEING_S, ServiceOrder


def always(batch_id: str) -> bool:
    return True


def serve(order: ServiceOrder, now: float, n: int = 1) -> list[str | None]:
    served = []
    for _ in range(n):
        chosen = order.pick(now, always)
        if chosen is not None:
            order.served(chosen, now)
        served.append(chosen)
    return served


def test_nobody_in_line_is_nobody_served() -> None:
    assert ServiceOrder().pick(0.0, always) is None


def test_the_greater_priority_is_served_first() -> None:
    order = ServiceOrder()
    order.add("low", 0, 0.0)
    order.add("high", 5, 0.0)
    assert serve(order, 1.0, 3) == ["high"] * 3


def test_within_one_priority_batches_take_turns() -> None:
    order = ServiceOrder()
    for name in "abc":
        order.add(name, 0, 0.0)
    assert serve(order, 0.0, 7) == list("abcabca")


def test_a_batch_that_is_in_line_keeps_its_place() -> None:
    order = ServiceOrder()
    order.add("a", 0, 0.0)
    order.add("b", 0, 0.0)
    order.add("a", 0, 9.0)
    assert serve(order, 9.0) == ["a"]


def test_a_new_priority_moves_a_batch() -> None:
    order = ServiceOrder()
    order.add("a", 0, 0.0)
    order.add("b", 1, 0.0)
    order.add("a", 2, 0.0)
    assert serve(order, 0.0) == ["a"]
    assert len(order) == 2


@pytest.mark.parametrize(("waited", "chosen"), [(3 * AGEING_S - 1, "high"), (3 * AGEING_S + 1, "low")])
def test_waiting_counts_as_priority(waited: float, chosen: str) -> None:
    order = ServiceOrder()
    order.add("low", 0, 0.0)
    order.add("high", 3, 0.0)
    order.served("high", waited)
    assert order.pick(waited, always) == chosen


def test_a_level_is_young_again_once_it_was_served() -> None:
    order = ServiceOrder()
    order.add("low", 0, 0.0)
    order.add("high", 1, 0.0)
    now = AGEING_S + 1
    order.served("high", now)
    assert serve(order, now, 3) == ["low", "high", "high"]


def test_nothing_starves() -> None:
    """Whatever its priority, a batch is served within minutes that its distance to the top says."""
    order = ServiceOrder()
    order.add("low", 0, 0.0)
    order.add("high", 10, 0.0)
    turns = Counter(serve(order, float(second))[0] for second in range(3_600))
    assert turns["low"] == 5
    assert turns["high"] == 3_595


def test_a_batch_that_cannot_be_served_now_is_passed_over() -> None:
    order = ServiceOrder()
    order.add("limited", 9, 0.0)
    order.add("free", 0, 0.0)
    assert order.pick(0.0, lambda b: b == "free") == "free"
    assert order.pick(0.0, lambda b: False) is None


def test_who_left_is_forgotten_and_may_leave_twice() -> None:
    order = ServiceOrder()
    order.add("a", 0, 0.0)
    order.remove("a")
    order.remove("a")
    order.served("a", 1.0)
    assert "a" not in order
    assert order.top_priority() is None


def test_the_top_priority_knows_no_ageing() -> None:
    order = ServiceOrder()
    order.add("a", -3, 0.0)
    order.add("b", -7, 0.0)
    assert order.top_priority() == -3
    assert order.of_priority(-3) == ("a",)
    assert order.of_priority(0) == ()


@given(
    batches=st.dictionaries(st.integers(0, 9).map(str), st.integers(-2, 2), min_size=1),
    n=st.integers(1, 60),
)
def test_turns_within_a_level_differ_by_one_at_most(batches: dict[str, int], n: int) -> None:
    order = ServiceOrder()
    for batch_id, priority in batches.items():
        order.add(batch_id, priority, 0.0)
    turns = Counter(serve(order, 0.0, n))
    top = [b for b, p in batches.items() if p == max(batches.values())]
    assert set(turns) <= set(top)
    assert max(turns[b] for b in top) - min(turns[b] for b in top) <= 1
