"""A circuit breaker: calls pass while a dependency does, and are refused at once while it does not.

    permit = breaker.acquire(now)              # REFUSED while it rests
    breaker.answered(permit, now, took_s, failed)    or    breaker.release(permit)

Every permit is given back by one of the two. Time and chance are arguments; the
shell locks, and takes the transitions to tell them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import ceil, inf
from typing import Any

import numpy as np

from dfbatch.core.breaker_policy import WINDOW_CALLS, BreakerPolicy
from dfbatch.core.window import FAILED, SLOW
from dfbatch.errors import IllegalTransition

REFUSED = 0
"""What ``acquire`` answers instead of a permit."""
TRANSITIONS_KEPT = 256


class BreakerState(StrEnum):
    """Closed: calls pass. Open: none does. Half open: a few probe the dependency."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Cause(StrEnum):
    """Why a breaker changed its state."""

    FAILURES = "too many calls failed"
    SLOW = "too many calls were slow"
    UNUSABLE = "it cannot work here"
    RESTED = "it has rested long enough"
    PROBES_FAILED = "probes failed"
    PROBES_SLOW = "probes were slow"
    RECOVERED = "probes passed"
    FORCED = "forced open"
    RESET = "reset"


class Level(StrEnum):
    """What a window says."""

    TOO_FEW = "too few calls"
    FINE = "fine"
    FAILING = "failing"
    SLOW = "slow"


_C, _O, _H = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
TRANSITIONS: Mapping[tuple[BreakerState, BreakerState], frozenset[Cause]] = {
    (_C, _O): frozenset({Cause.FAILURES, Cause.SLOW, Cause.UNUSABLE, Cause.FORCED}),
    (_O, _O): frozenset({Cause.FORCED}),
    (_O, _H): frozenset({Cause.RESTED}),
    (_O, _C): frozenset({Cause.RESET}),
    (_H, _O): frozenset({Cause.PROBES_FAILED, Cause.PROBES_SLOW, Cause.UNUSABLE, Cause.FORCED}),
    (_H, _C): frozenset({Cause.RECOVERED, Cause.RESET}),
}
"""Every legal change of state, with its causes."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state at ``at`` (monotonic seconds). ``detail`` says more for people."""

    at: float
    before: BreakerState
    after: BreakerState
    cause: Cause
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BreakerPast:
    """What a breaker was when its process ended. ``retry_at``: monotonic seconds; infinite if it was forced open.

    ``calls``: the newest of its window, as ``Window.calls`` gives them.
    """

    state: BreakerState
    retry_at: float = 0.0
    n_openings: int = 0
    n_opened_ever: int = 0
    last_error: str = ""
    calls: tuple[int, ...] = ()


@dataclass(slots=True)
class CallCounts:
    """Calls since the breaker was made, by what became of them. A slow call is counted beside that."""

    succeeded: int = 0
    failed: int = 0
    slow: int = 0
    refused: int = 0
    released: int = 0
    """Begun and not judged: abandoned, or ended by an error that does not count."""
    late: int = 0
    """Answered after the state they were begun in was over; no rate counts them."""

    @property
    def n_calls(self) -> int:
        """Calls that ended, and calls that were refused."""
        return self.succeeded + self.failed + self.refused + self.released


class CircuitBreaker:
    """The rules of one breaker. Not thread-safe; every method is quick."""

    __slots__ = (
        "_n_out",
        "_permits",
        "_probes_answered",
        "_probes_failed",
        "_probes_slow",
        "_rng",
        "_slow_after_s",
        "_transitions",
        "_window",
        "counts",
        "forced",
        "last_error",
        "n_opened_ever",
        "n_openings",
        "policy",
        "retry_at",
        "state",
        "term",
    )

    def __init__(self, policy: BreakerPolicy, rng: np.random.Generator) -> None:
        self.policy = policy
        self.state = BreakerState.CLOSED
        self.forced = False
        self.retry_at = 0.0
        """While open: when it turns half open; infinite if it was forced."""
        self.n_openings = 0
        """Openings since it was last closed."""
        self.n_opened_ever = 0
        self.counts = CallCounts()
        self.last_error = ""
        self._rng = rng
        self._slow_after_s = inf if policy.slow_after_s is None else policy.slow_after_s
        self._window = policy.window()
        self.term = 1
        """Number of the present state; permits carry it, so that an answer from an earlier one moves nothing."""
        self._permits = self._n_out = 0
        self._probes_answered = self._probes_failed = self._probes_slow = 0
        self._transitions: deque[Transition] = deque(maxlen=TRANSITIONS_KEPT)

    # ------------------------------------------------------------------------------------- calls

    def acquire(self, now: float) -> int:
        """A permit for one call, or REFUSED."""
        if self.state is _C:
            return self.term
        self.poll(now)
        if self.state is _H and self._permits > 0:
            self._permits -= 1
            self._n_out += 1
            return self.term
        self.counts.refused += 1
        return REFUSED

    def answered(self, permit: int, now: float, took_s: float, failed: bool, error: str = "") -> None:
        """The call ended, and says something about the dependency."""
        slow = took_s > self._slow_after_s
        counts = self.counts
        if failed:
            counts.failed += 1
            self.last_error = error
        else:
            counts.succeeded += 1
        if slow:
            counts.slow += 1
        if permit != self.term or self.state is _O:
            counts.late += 1
        elif self.state is _C:
            window = self._window
            window.add(now, failed, slow)
            if window.failed or window.slow:
                self._judge_window(now)
        else:
            self._judge_probe(now, failed, slow)

    def release(self, permit: int) -> None:
        """The call was abandoned, or its error does not count: as if it had not been made."""
        self.counts.released += 1
        if permit == self.term and self.state is _H and self._n_out > 0:
            self._n_out -= 1
            self._permits += 1

    # ---------------------------------------------------------------------------------- decisions

    def poll(self, now: float) -> None:
        """What time alone brings about: it has rested long enough."""
        if self.state is _O and now >= self.retry_at:
            self._go(_H, Cause.RESTED, now, f"{self.policy.probes} calls may probe it")
            self._permits = self.policy.probes
            self._n_out = 0
            self._probes_answered = self._probes_failed = self._probes_slow = 0

    def force_open(self, now: float) -> None:
        """Refuse every call until ``reset``."""
        if not self.forced:
            self._go(_O, Cause.FORCED, now, "until it is reset")
            self.forced = True
            self.retry_at = inf

    def trip(self, now: float, detail: str) -> None:
        """Open at once: what failed will fail every time. A breaker that is open stays as it is."""
        if self.state is not _O:
            self._open(Cause.UNUSABLE, now, detail)

    def reset(self, now: float) -> None:
        """Close, and forget what was."""
        if self.state is not _C:
            self._go(_C, Cause.RESET, now, "")
        self._forget()

    def past(self) -> BreakerPast:
        """What ``resume`` needs to go on from here."""
        calls = self._window.calls()[-WINDOW_CALLS:]
        return BreakerPast(self.state, self.retry_at, self.n_openings, self.n_opened_ever, self.last_error, calls)

    def resume(self, past: BreakerPast, now: float) -> None:
        """Go on, when new, where the breaker of an earlier process ended; one that was half open is probed anew."""
        for call in past.calls[-WINDOW_CALLS:]:
            self._window.add(now, bool(call & FAILED), bool(call & SLOW))
        self.n_opened_ever, self.last_error = past.n_opened_ever, past.last_error
        if past.state is _C:
            return
        self.state = _O
        self.term += 1
        self.n_openings = max(1, past.n_openings)
        self.forced = past.state is _O and past.retry_at == inf
        self.retry_at = inf if self.forced else min(past.retry_at, now + self.policy.rest_s(self.n_openings, 1.0))

    def adopt(self, policy: BreakerPolicy) -> None:
        """Go on by this policy. Only for a breaker that was resumed, before the first call."""
        self.policy = policy
        self._slow_after_s = inf if policy.slow_after_s is None else policy.slow_after_s
        self._window = policy.window()
        if self.state is _H:
            self._permits = policy.probes

    def level(self, now: float) -> Level:
        """What the window of a closed breaker says."""
        window, policy = self._window, self.policy
        window.roll(now)
        n = window.n
        if n < policy.minimum_calls:
            return Level.TOO_FEW
        if window.failed >= policy.failure_rate * n:
            return Level.FAILING
        if policy.slow_after_s is not None and window.slow >= policy.slow_rate * n:
            return Level.SLOW
        return Level.FINE

    def _judge_window(self, now: float) -> None:
        level, window = self.level(now), self._window
        if level is Level.FAILING:
            self._open(Cause.FAILURES, now, f"{window.failed} of {window.n} calls{self._last()}")
        elif level is Level.SLOW:
            limit = self.policy.slow_after_s
            self._open(Cause.SLOW, now, f"{window.slow} of {window.n} calls took more than {limit:g} s")

    def _judge_probe(self, now: float, failed: bool, slow: bool) -> None:
        policy = self.policy
        self._n_out -= 1
        self._probes_answered += 1
        self._probes_failed += failed
        self._probes_slow += slow
        n = policy.probes
        if self._probes_failed >= max(1, ceil(policy.failure_rate * n)):
            self._open(Cause.PROBES_FAILED, now, f"{self._probes_failed} of {n}{self._last()}")
        elif policy.slow_after_s is not None and self._probes_slow >= max(1, ceil(policy.slow_rate * n)):
            self._open(Cause.PROBES_SLOW, now, f"{self._probes_slow} of {n} took more than {policy.slow_after_s:g} s")
        elif self._probes_answered == n:
            self._go(_C, Cause.RECOVERED, now, f"{n - self._probes_failed} of {n}")
            self._forget()

    def _last(self) -> str:
        return f"; the last with {self.last_error}" if self.last_error else ""

    def _open(self, cause: Cause, now: float, detail: str) -> None:
        rest_s = self.policy.rest_s(self.n_openings + 1, float(self._rng.random()))
        self._go(_O, cause, now, f"{detail}; rests {rest_s:.3g} s")
        self.retry_at = now + rest_s

    def _go(self, after: BreakerState, cause: Cause, now: float, detail: str) -> None:
        before = self.state
        if cause not in TRANSITIONS.get((before, after), ()):
            story = tuple(f"{t.before} to {t.after}: {t.cause}" for t in self._transitions)
            raise IllegalTransition("a circuit breaker", before.value, f"{after.value} ({cause})", story)
        self.state = after
        self.term += 1
        if after is _O:
            self.n_openings += 1
            self.n_opened_ever += 1
        self._transitions.append(Transition(now, before, after, cause, detail))

    def _forget(self) -> None:
        self.forced = False
        self.retry_at = 0.0
        self.n_openings = 0
        self._window.clear()

    # -------------------------------------------------------------------------------------- views

    def retry_after_s(self, now: float) -> float:
        """Seconds until it lets a call through; 0 unless it is open."""
        return max(0.0, self.retry_at - now) if self.state is _O else 0.0

    def rates(self, now: float) -> tuple[float | None, float | None]:
        """(failed, slow) shares of what it judges by, 0..1: the window, or the probes while half open; None of none."""
        if self.state is _H:
            n, failed, slow = self._probes_answered, self._probes_failed, self._probes_slow
        else:
            self._window.roll(now)
            n, failed, slow = self._window.n, self._window.failed, self._window.slow
        return (failed / n, slow / n) if n else (None, None)

    def take_transitions(self) -> list[Transition]:
        """Changes of state since the last call, in order; of very many the newest."""
        taken = list(self._transitions)
        self._transitions.clear()
        return taken

    def metrics(self, now: float) -> dict[str, Any]:
        """State, rates and counts, JSON-like."""
        failure_rate, slow_rate = self.rates(now)
        return {
            "state": self.state.value,
            "failure_rate": failure_rate,
            "slow_rate": slow_rate,
            "opened": self.n_opened_ever,
            **asdict(self.counts),
        }

    def validate(self) -> None:
        """Check the invariants; raises AssertionError. For tests."""
        assert 0 <= self._window.failed <= self._window.n, "failed calls of the window"
        assert 0 <= self._window.slow <= self._window.n, "slow calls of the window"
        assert not self.forced or (self.state is _O and self.retry_at == inf), "forced, and not open for good"
        assert (self.n_openings > 0) == (self.state is not _C), "openings since it was closed"
        if self.state is _H:
            assert min(self._permits, self._n_out) >= 0, "permits below none"
            assert self._permits + self._n_out + self._probes_answered == self.policy.probes, "a permit leaked"
