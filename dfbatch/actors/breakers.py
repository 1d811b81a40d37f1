"""All circuit breakers of one worker: one for each verifier and named dependency, kept over chunks and batches."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from dfbatch.actors.breaker import Breaker
from dfbatch.actors.breaker_memory import MOST_KEPT, BreakerMemory, Kept, KeptBreaker
from dfbatch.actors.messages import BreakerReport, BreakerTurn, BreakerView
from dfbatch.core.breaker_policy import BreakerPolicy
from dfbatch.core.breaker_seen import CONSTRUCTION, OWN
from dfbatch.core.circuit_breaker import REFUSED, BreakerState, CircuitBreaker
from dfbatch.errors import InvalidInput

FORCE_OPEN = "force_open"
RESET = "reset"
_POLICIES = {
    OWN: BreakerPolicy(failure_rate=0.9, minimum_calls=10, window_calls=20, open_s=10.0, probes=1),
    CONSTRUCTION: BreakerPolicy(minimum_calls=1, window_calls=1, open_s=10.0, probes=1),
}
MOST_VERIFIERS = 32
MOST_BREAKERS = 200
"""For one verifier. The one that was used longest ago goes first."""
MOST_SHOWN = 50
MOST_TURNS = 256
LONGEST_NAME = 100
_RULES = ("record_on", "ignore")
"""The parts of a policy that are code: a lambda is another one each time."""
_RESUMED: Mapping[str, Any] = {}
"""In place of the policy a breaker was given: that of the last process, until its user gives one."""


class WorkerBreakers:
    """``begin`` says which verifier runs; ``get`` gives its breakers. Reports are taken by the threads that talk."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, rng: np.random.Generator | None = None) -> None:
        self.halted = False
        """True if the verifier that runs should be given nothing more: a dependency that it needs rests."""
        self._clock = clock
        self._rng = rng if rng is not None else np.random.default_rng()
        self._lock = threading.Lock()
        self._sets: OrderedDict[str, OrderedDict[str, Breaker]] = OrderedDict()
        self._given: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._verifier = ""
        self._present: OrderedDict[str, Breaker] = OrderedDict()
        self._turns: deque[BreakerTurn] = deque(maxlen=MOST_TURNS)
        self._n_turns = self._n_reports = 0
        self._orders: dict[str, tuple[float, str]] = {}
        self._memory: BreakerMemory | None = None
        self._keeping = threading.Lock()

    def keep_in(self, memory: BreakerMemory) -> None:
        """Go on where the last process of this worker ended, and write down from now on what the next must know."""
        kept, now = memory.read(), self._clock()
        with self._lock:
            self._memory = memory
            self._orders.update(kept.orders)
            for each in kept.breakers:
                key = (each.verifier, each.name)
                policy = _POLICIES.get(each.name) or BreakerPolicy.of(each.policy)
                rules = CircuitBreaker(policy, self._rng)
                rules.resume(each.past, now)
                breaker = Breaker(each.name, rules, self._clock)
                breaker.hurts = each.hurts
                self._sets.setdefault(each.verifier, OrderedDict())[each.name] = breaker
                self._given[key] = _RESUMED

    def stop_keeping(self) -> None:
        """Write down a last time what the next process must know: this one ends in good order."""
        self._keep()
        with self._keeping:
            self._memory = None

    # ------------------------------------------------------------------------ the thread that runs

    def begin(self, verifier: str) -> None:
        """A chunk of this verifier (its fingerprint) begins."""
        with self._lock:
            if verifier != self._verifier or verifier not in self._sets:
                self._verifier = verifier
                self._present = self._sets.setdefault(verifier, OrderedDict())
                self._sets.move_to_end(verifier)
                while len(self._sets) > MOST_VERIFIERS:
                    self._forget(*self._sets.popitem(last=False))
        self._look()
        if OWN in self._present:
            self._keep()

    def get(self, name: str, policy: Mapping[str, Any]) -> Breaker:
        """The breaker of that name; the first to ask for it says its policy. Raises InvalidInput."""
        found = self._present.get(name) if isinstance(name, str) else None
        if found is not None and not policy:
            return found
        with self._lock:
            return self._made(name, policy)

    def left(self, names: tuple[str, ...]) -> None:
        """An error of these dependencies left the verifier: no fallback caught it."""
        for name in names:
            if name in self._present:
                self._present[name].hurts = True
        self._look()

    def so_far(self) -> dict[str, tuple[int, int]]:
        """How often each breaker of the present verifier has opened, and was called or refused."""
        found = [(name, breaker.rules) for name, breaker in list(self._present.items())]
        return {name: (rules.n_opened_ever, rules.counts.n_calls) for name, rules in found}

    def done_without(self, before: Mapping[str, tuple[int, int]]) -> None:
        """A chunk succeeded. Dependencies that it did not call and that still await probes do not hold it up."""
        for name, breaker in list(self._present.items()):
            uncalled = breaker.rules.counts.n_calls == before.get(name, (0, -1))[1]
            if uncalled and breaker.state is BreakerState.HALF_OPEN:
                breaker.hurts = False

    def observe(self, n_fine: int, n_failed: int, error: str) -> None:
        """The verifier's own breaker: so many items ended, of which some by no fault of theirs."""
        if not n_failed and OWN not in self._present:
            return
        own = self.get(OWN, {})
        n_fine = min(n_fine, _POLICIES[OWN].window_calls or 0)
        _record(own, self._clock(), [False] * n_fine + [True] * n_failed, error)
        if n_failed:
            self.left((OWN,))
            self._keep()

    def died_of(self, verifier: str, n_fine: int, error: str) -> None:
        """The last process was ended because an item of this verifier went over a limit, the next one after these."""
        self.begin(verifier)
        self.observe(n_fine, 1, error)

    def constructed(self, error: str | None) -> None:
        """The verifier was constructed here, or could not be, with this error."""
        if error is None and CONSTRUCTION not in self._present:
            return
        own = self.get(CONSTRUCTION, {})
        _record(own, self._clock(), [error is not None], error or "")
        if error is not None:
            self.left((CONSTRUCTION,))

    @property
    def tries_again(self) -> bool:
        """True if a construction that failed should be tried once more."""
        found = self._present.get(CONSTRUCTION)
        return found is not None and found.state is BreakerState.HALF_OPEN

    def _look(self) -> None:
        """Is anything open that the present verifier needs?"""
        now = self._clock()
        halted = False
        for name, breaker in list(self._present.items()):
            with breaker.lock:
                breaker.rules.poll(now)
                # Whether a batch must fail because of its construction, the manager decides.
                halted |= breaker.hurts and breaker.rules.state is BreakerState.OPEN and name != CONSTRUCTION
        self.halted = halted

    def _made(self, name: str, policy: Mapping[str, Any]) -> Breaker:
        """Found, or made. Lock held."""
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            raise InvalidInput(
                "breaker", f"{name!r} is no name of a dependency", f"Give a text of 1 to {LONGEST_NAME} characters"
            )
        key = (self._verifier, name)
        found = self._present.get(name)
        if found is None:
            rules = CircuitBreaker(_POLICIES.get(name) or BreakerPolicy.of(dict(policy)), self._rng)
            found = self._present[name] = Breaker(name, rules, self._clock)
            self._given[key] = dict(policy)
            if self._orders.get(name, (0.0, ""))[1] == FORCE_OPEN:
                found.force_open()
            while len(self._present) > MOST_BREAKERS:
                gone, breaker = self._present.popitem(last=False)
                self._forget(self._verifier, {gone: breaker})
        elif policy and self._given[key] is _RESUMED:
            with found.lock:
                found.rules.adopt(BreakerPolicy.of(dict(policy)))
            self._given[key] = dict(policy)
        elif policy and _differs(self._given[key], policy):
            if self._given[key]:
                raise InvalidInput(
                    f"breaker({name!r})",
                    f"was made with {dict(self._given[key])} and is asked for with {dict(policy)}",
                    "Give the same policy each time, or give it the first time only",
                )
            raise InvalidInput(
                f"breaker({name!r})", "was made without a policy", "Give the policy where it is asked for first"
            )
        return found

    def _forget(self, verifier: str, breakers: Mapping[str, Breaker]) -> None:
        for name in breakers:
            self._given.pop((verifier, name), None)

    # ----------------------------------------------------------------------- the threads that talk

    def keeps_busy(self) -> bool:
        """True if a breaker rests for a while: a worker that left now would come back and know nothing of it."""
        now = self._clock()
        return any(
            breaker.hurts and breaker.rules.state is BreakerState.OPEN and now < breaker.rules.retry_at < now + 1e6
            for _, _, breaker in self._all()
        )

    def obey(self, orders: Mapping[str, tuple[float, str]]) -> None:
        """The operator's word on each dependency; each is carried out once, and for breakers that are made later."""
        news = {name: order for name, order in orders.items() if self._orders.get(name) != order}
        for name, order in news.items():
            self._orders[name] = order
            for _, own, breaker in self._all():
                if own == name:
                    breaker.force_open() if order[1] == FORCE_OPEN else breaker.reset()
        if news:
            self._keep()

    def report(self) -> BreakerReport | None:
        """How all of them are, and every turn that was not confirmed; None if there is nothing to say."""
        with self._lock:
            self._n_reports += 1
            number = self._n_reports
        now, wall, turned = self._clock(), time.time(), False
        views = []
        for verifier, name, breaker in self._all():
            with breaker.lock:
                rules = breaker.rules
                rules.poll(now)
                turns = rules.take_transitions()
                failure_rate, slow_rate = rules.rates(now)
                closed = rules.state is BreakerState.CLOSED
                breaker.hurts &= not closed
                views.append(
                    BreakerView(
                        verifier, name, rules.state.value, failure_rate, slow_rate, rules.retry_after_s(now),
                        rules.policy.probes, breaker.hurts, rules.n_opened_ever, rules.last_error,
                    )
                )  # fmt: skip
            turned |= bool(turns)
            with self._lock:
                for t in turns:
                    self._n_turns += 1
                    at = wall - (now - t.at)
                    self._turns.append(
                        BreakerTurn(
                            self._n_turns, verifier, name, at, t.before.value, t.after.value, t.cause.value, t.detail
                        )
                    )
        if turned:
            self._keep()
        if not views:
            return None
        views.sort(key=lambda view: (view.state == BreakerState.CLOSED, view.name not in _POLICIES))
        with self._lock:
            turns_in_order = tuple(sorted(self._turns, key=lambda turn: (turn.at, turn.seq)))
            return BreakerReport(number, tuple(views[:MOST_SHOWN]), turns_in_order)

    def confirm(self, report: BreakerReport | None) -> None:
        """The manager has the turns of this report."""
        if report is None or not report.turns:
            return
        arrived = {turn.seq for turn in report.turns}
        with self._lock:
            self._turns = deque((t for t in self._turns if t.seq not in arrived), maxlen=MOST_TURNS)

    def _keep(self) -> None:
        """Write down what is new. Of breakers that are closed only the verifier's own, whose failures end processes."""
        with self._keeping:
            if self._memory is None:
                return
            found = []
            for verifier, name, breaker in self._all():
                if name == CONSTRUCTION or (name != OWN and breaker.rules.state is BreakerState.CLOSED):
                    continue
                with breaker.lock:
                    past, policy = breaker.rules.past(), breaker.rules.policy
                if past.state is BreakerState.CLOSED and not any(past.calls):
                    continue
                numbers = {} if name == OWN else _numbers(policy)
                found.append(KeptBreaker(verifier, name, breaker.hurts, past, numbers))
            self._memory.write(Kept(tuple(found[-MOST_KEPT:]), dict(list(self._orders.items())[-MOST_KEPT:])))

    def _all(self) -> list[tuple[str, str, Breaker]]:
        with self._lock:
            return [(verifier, name, b) for verifier, found in self._sets.items() for name, b in list(found.items())]


def _record(breaker: Breaker, now: float, failed: list[bool], error: str) -> None:
    with breaker.lock:
        for each in failed:
            permit = breaker.rules.acquire(now)
            if permit != REFUSED:
                breaker.rules.answered(permit, now, 0.0, each, error)


def _numbers(policy: BreakerPolicy) -> dict[str, Any]:
    return {f.name: getattr(policy, f.name) for f in fields(policy) if f.name not in _RULES}


def _differs(given: Mapping[str, Any], policy: Mapping[str, Any]) -> bool:
    return {k: v for k, v in given.items() if k not in _RULES} != {k: v for k, v in policy.items() if k not in _RULES}
