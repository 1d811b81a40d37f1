"""The rules of a circuit breaker under a clock that stands still unless it is moved."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dfbatch.core.breaker_policy import BreakerPolicy
from dfbatch.core.circuit_breaker import (
    REFUSED,
    TRANSITIONS,
    BreakerState,
    Cause,
    CircuitBreaker,
    Level,
    Transition,
)
from dfbatch.errors import IllegalTransition

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
POLICY = BreakerPolicy(
    minimum_calls=4, window_calls=8, slow_after_s=1.0, open_s=5.0, open_max_s=40.0, jitter=0.0, probes=2
)


class Bench:
    """A breaker and its clock."""

    def __init__(self, policy: BreakerPolicy = POLICY) -> None:
        self.now = 100.0
        self.breaker = CircuitBreaker(policy, np.random.default_rng(0))

    def calls(self, n: int, *, failed: bool = False, took_s: float = 0.1) -> None:
        for _ in range(n):
            permit = self.breaker.acquire(self.now)
            assert permit != REFUSED
            self.breaker.answered(permit, self.now, took_s, failed, "OSError: down" if failed else "")

    def fail(self, n: int = 4) -> None:
        self.calls(n, failed=True)

    def slow(self, n: int = 4) -> None:
        self.calls(n, took_s=1.1)

    def wait(self, seconds: float = 5.0) -> None:
        self.now += seconds
        self.breaker.poll(self.now)

    def opened(self) -> None:
        self.fail()

    def half_opened(self) -> None:
        self.fail()
        self.wait()

    def force(self) -> None:
        self.breaker.force_open(self.now)

    def reset(self) -> None:
        self.breaker.reset(self.now)

    def trip(self) -> None:
        self.breaker.trip(self.now, "no GPU here")

    @property
    def state(self) -> BreakerState:
        return self.breaker.state


@pytest.fixture
def bench() -> Bench:
    return Bench()


MOVES: list[tuple[Callable[[Bench], None], Callable[[Bench], None], BreakerState, BreakerState, Cause]] = [
    (lambda b: None, Bench.fail, CLOSED, OPEN, Cause.FAILURES),
    (lambda b: None, Bench.slow, CLOSED, OPEN, Cause.SLOW),
    (lambda b: None, Bench.trip, CLOSED, OPEN, Cause.UNUSABLE),
    (lambda b: None, Bench.force, CLOSED, OPEN, Cause.FORCED),
    (Bench.opened, Bench.force, OPEN, OPEN, Cause.FORCED),
    (Bench.opened, Bench.wait, OPEN, HALF_OPEN, Cause.RESTED),
    (Bench.opened, Bench.reset, OPEN, CLOSED, Cause.RESET),
    (Bench.half_opened, lambda b: b.fail(1), HALF_OPEN, OPEN, Cause.PROBES_FAILED),
    (Bench.half_opened, lambda b: b.slow(1), HALF_OPEN, OPEN, Cause.PROBES_SLOW),
    (Bench.half_opened, Bench.trip, HALF_OPEN, OPEN, Cause.UNUSABLE),
    (Bench.half_opened, Bench.force, HALF_OPEN, OPEN, Cause.FORCED),
    (Bench.half_opened, lambda b: b.calls(2), HALF_OPEN, CLOSED, Cause.RECOVERED),
    (Bench.half_opened, Bench.reset, HALF_OPEN, CLOSED, Cause.RESET),
]


@pytest.mark.parametrize(
    ("prepare", "act", "before", "after", "cause"), MOVES, ids=[f"{m[2]}-{m[3]}: {m[4]}" for m in MOVES]
)
def test_every_legal_transition(
    bench: Bench,
    prepare: Callable[[Bench], None],
    act: Callable[[Bench], None],
    before: BreakerState,
    after: BreakerState,
    cause: Cause,
) -> None:
    prepare(bench)
    bench.breaker.take_transitions()
    assert bench.state is before
    act(bench)
    assert bench.state is after
    (turn,) = bench.breaker.take_transitions()
    assert (turn.at, turn.before, turn.after, turn.cause) == (bench.now, before, after, cause)
    assert bench.breaker.take_transitions() == []
    bench.breaker.validate()


def test_the_table_of_transitions_is_tested_in_full() -> None:
    listed = {(before, after, cause) for (before, after), causes in TRANSITIONS.items() for cause in causes}
    assert {(m[2], m[3], m[4]) for m in MOVES} == listed
    assert {cause for _, _, cause in listed} == set(Cause)


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        (CLOSED, HALF_OPEN, Cause.RESTED),
        (CLOSED, CLOSED, Cause.RESET),
        (HALF_OPEN, HALF_OPEN, Cause.RESTED),
        (OPEN, CLOSED, Cause.RECOVERED),  # never without a probe
        (OPEN, OPEN, Cause.FAILURES),
        (CLOSED, OPEN, Cause.PROBES_FAILED),
    ],
)
def test_anything_else_is_refused_with_the_story(
    bench: Bench, before: BreakerState, after: BreakerState, cause: Cause
) -> None:
    if before is not CLOSED:
        bench.opened()
    if before is HALF_OPEN:
        bench.wait()
    with pytest.raises(IllegalTransition) as caught:
        bench.breaker._go(after, cause, bench.now, "")
    assert bench.state is before
    assert len(caught.value.story) == len(bench.breaker.take_transitions())


# ------------------------------------------------------------------------------------- closed


def test_it_waits_for_the_minimum_number_of_calls(bench: Bench) -> None:
    bench.fail(3)
    assert (bench.state, bench.breaker.level(bench.now)) == (CLOSED, Level.TOO_FEW)
    bench.calls(1)  # which makes four, of which three failed
    assert bench.state is OPEN


def test_a_rate_below_the_threshold_is_borne(bench: Bench) -> None:
    for _ in range(20):
        bench.calls(2)
        bench.fail(1)
    assert (bench.state, bench.breaker.level(bench.now)) == (CLOSED, Level.FINE)


def test_speed_is_not_watched_unless_asked() -> None:
    bench = Bench(BreakerPolicy(minimum_calls=1))
    bench.calls(50, took_s=1e6)
    assert bench.state is CLOSED


def test_a_time_window_forgets_old_failures() -> None:
    bench = Bench(BreakerPolicy(minimum_calls=4, window_s=10.0))
    bench.fail(3)
    bench.wait(11.0)
    bench.fail(3)
    assert bench.state is CLOSED
    bench.fail(1)
    assert bench.state is OPEN


# --------------------------------------------------------------------------------------- open


def test_nothing_passes_before_its_time(bench: Bench) -> None:
    bench.opened()
    assert bench.breaker.acquire(bench.now + 4.999) == REFUSED
    assert bench.breaker.retry_after_s(bench.now + 1.0) == pytest.approx(4.0)
    assert bench.breaker.counts.refused == 1
    assert bench.breaker.acquire(bench.now + 5.0) != REFUSED
    assert bench.breaker.retry_after_s(bench.now + 5.0) == 0.0


def test_it_rests_longer_each_time_and_shorter_again_once_it_recovered(bench: Bench) -> None:
    bench.opened()
    rests = []
    for _ in range(5):
        rests.append(bench.breaker.retry_at - bench.now)
        bench.wait(rests[-1])
        bench.fail(1)
    assert rests == [5.0, 10.0, 20.0, 40.0, 40.0]
    bench.wait(40.0)
    bench.calls(2)
    assert bench.state is CLOSED
    bench.opened()
    assert bench.breaker.retry_at - bench.now == 5.0


def test_jitter_keeps_workers_apart() -> None:
    ends = {Bench(BreakerPolicy(minimum_calls=1, jitter=0.2)).breaker for _ in range(2)}
    rests = []
    for seed, breaker in enumerate(ends):
        breaker._rng = np.random.default_rng(seed)
        breaker.answered(breaker.acquire(0.0), 0.0, 0.0, True)
        rests.append(breaker.retry_at)
    assert len(set(rests)) == 2
    assert all(4.0 <= rest <= 6.0 for rest in rests)


def test_a_forced_breaker_stays_open_until_it_is_reset(bench: Bench) -> None:
    bench.force()
    bench.force()  # said twice is said once
    assert len(bench.breaker.take_transitions()) == 1
    bench.wait(1e9)
    assert bench.breaker.acquire(bench.now) == REFUSED
    assert bench.breaker.retry_after_s(bench.now) == inf
    bench.reset()
    assert (bench.state, bench.breaker.forced) == (CLOSED, False)
    bench.calls(5)


def test_a_reset_forgets_what_was(bench: Bench) -> None:
    bench.fail(3)
    bench.reset()
    assert bench.breaker.take_transitions() == []
    bench.fail(3)
    assert bench.state is CLOSED


# ---------------------------------------------------------------------------------- half open


def test_as_many_calls_as_there_are_permits_may_probe(bench: Bench) -> None:
    bench.half_opened()
    permits = [bench.breaker.acquire(bench.now) for _ in range(4)]
    assert [permit != REFUSED for permit in permits] == [True, True, False, False]


def test_a_permit_is_given_back_if_the_call_says_nothing(bench: Bench) -> None:
    bench.half_opened()
    for _ in range(50):  # abandoned, or an error that does not count: it must not jam
        permit = bench.breaker.acquire(bench.now)
        assert permit != REFUSED
        bench.breaker.release(permit)
    bench.calls(2)
    assert bench.state is CLOSED
    assert bench.breaker.counts.released == 50


def test_an_answer_from_an_earlier_state_decides_nothing(bench: Bench) -> None:
    early = bench.breaker.acquire(bench.now)
    bench.half_opened()
    bench.breaker.answered(early, bench.now, 0.1, True, "late")
    assert (bench.state, bench.breaker.counts.late) == (HALF_OPEN, 1)
    bench.breaker.release(early)
    assert [bench.breaker.acquire(bench.now) != REFUSED for _ in range(3)] == [True, True, False]
    bench.breaker.validate()


def test_it_does_not_wait_for_all_probes_to_know_that_they_fail() -> None:
    bench = Bench(BreakerPolicy(minimum_calls=4, probes=10, failure_rate=0.3))
    bench.half_opened()
    bench.wait(6.0)
    bench.fail(2)
    assert bench.state is HALF_OPEN
    bench.fail(1)
    assert bench.state is OPEN


def test_metrics_tell_calls_by_what_became_of_them(bench: Bench) -> None:
    bench.calls(2)
    bench.slow(1)
    bench.fail(3)
    bench.breaker.acquire(bench.now)
    found = bench.breaker.metrics(bench.now)
    assert found == {
        "state": "open", "failure_rate": 0.5, "slow_rate": pytest.approx(1 / 6), "opened": 1,
        "succeeded": 3, "failed": 3, "slow": 1, "refused": 1, "released": 0, "late": 0,
    }  # fmt: skip


def test_transitions_say_why_in_words(bench: Bench) -> None:
    bench.opened()
    (turn,) = bench.breaker.take_transitions()
    assert isinstance(turn, Transition)
    assert turn.detail == "4 of 4 calls; the last with OSError: down; rests 5 s"


def test_very_many_transitions_do_not_fill_the_memory(bench: Bench) -> None:
    for _ in range(1_000):
        bench.force()
        bench.reset()
    assert len(bench.breaker.take_transitions()) == 256


# ------------------------------------------------------------------------------ any order at all


class BreakerMachine(RuleBasedStateMachine):
    """Against a model that keeps every call in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = BreakerPolicy(
            minimum_calls=3, window_calls=6, slow_after_s=1.0, open_s=4.0, open_max_s=10.0, probes=3
        )
        self.breaker = CircuitBreaker(self.policy, np.random.default_rng(1))
        self.now = 0.0
        self.out: list[tuple[int, int]] = []
        """(permit, number of the state it was given in)."""
        self.n_states = 0
        self.window: list[tuple[bool, bool]] = []
        self.story: list[Transition] = []

    def look(self) -> None:
        """Take the transitions; each begins where the last ended."""
        for turn in self.breaker.take_transitions():
            assert not self.story or self.story[-1].after is turn.before
            assert turn.cause in TRANSITIONS[turn.before, turn.after]
            self.story.append(turn)
            self.n_states += 1
            if turn.after is not OPEN:
                self.window.clear()

    @rule()
    def acquire(self) -> None:
        before, rested = self.breaker.state, self.now >= self.breaker.retry_at
        probes_out = sum(n == self.n_states for _, n in self.out)
        permit = self.breaker.acquire(self.now)
        self.look()
        if before is CLOSED:
            assert permit != REFUSED
        if before is OPEN and not rested:
            assert permit == REFUSED, "through an open breaker, before its time"
        if before is HALF_OPEN and probes_out >= self.policy.probes:
            assert permit == REFUSED, "more probes than permits"
        if permit != REFUSED:
            self.out.append((permit, self.n_states))

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 1_000), failed=st.booleans(), slow=st.booleans())
    def answer(self, which: int, failed: bool, slow: bool) -> None:
        permit, given_in = self.out.pop(which % len(self.out))
        if given_in == self.n_states and self.breaker.state is CLOSED:
            self.window = [*self.window, (failed, slow)][-6:]
        self.breaker.answered(permit, self.now, 2.0 if slow else 0.5, failed, "E")
        self.look()

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 1_000))
    def give_back(self, which: int) -> None:
        permit, _ = self.out.pop(which % len(self.out))
        self.breaker.release(permit)
        assert not self.breaker.take_transitions(), "a call that says nothing moved it"

    @rule(seconds=st.floats(0, 12))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def poll(self) -> None:
        self.breaker.poll(self.now)
        self.look()

    @rule(what=st.sampled_from(["force_open", "reset", "trip"]))
    def operate(self, what: str) -> None:
        if what == "trip":
            self.breaker.trip(self.now, "broken")
        else:
            getattr(self.breaker, what)(self.now)
        self.look()
        if what == "reset":
            self.window.clear()
            assert self.breaker.state is CLOSED

    @invariant()
    def in_order(self) -> None:
        self.breaker.validate()

    @invariant()
    def the_window_counts_what_the_model_counts(self) -> None:
        if self.breaker.state is CLOSED:
            n = len(self.window)
            rates = self.breaker.rates(self.now)
            assert rates == (
                (sum(c[0] for c in self.window) / n, sum(c[1] for c in self.window) / n) if n else (None,) * 2
            )

    @invariant()
    def no_permit_is_lost(self) -> None:
        if self.breaker.state is HALF_OPEN:
            assert self.breaker._n_out == sum(n == self.n_states for _, n in self.out)

    @invariant()
    def a_closed_breaker_has_no_reason_to_open(self) -> None:
        if self.breaker.state is CLOSED:
            assert self.breaker.level(self.now) in (Level.TOO_FEW, Level.FINE)


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
