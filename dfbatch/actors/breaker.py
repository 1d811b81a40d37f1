"""The circuit breaker that a verifier gets by ``ctx.breaker(name)``: the rules with a lock and a clock around them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, TypeVar, cast

from dfbatch.core.circuit_breaker import REFUSED, BreakerState, CircuitBreaker
from dfbatch.errors import BreakerOpen

_COUNTED_BY = "_dfbatch_counted_by"
"""Where an exception carries the names of the breakers that counted it."""
_LONGEST_ERROR = 200
_MOST_LINKS = 20
_NONE: Any = object()
_T = TypeVar("_T")


class Breaker:
    """One dependency of one verifier on this worker. From any thread.

    ``call(fn, *args, **kwargs)`` calls through it; ``with breaker:`` does the same
    for a block. While it is open both raise BreakerOpen at once; when that leaves the
    verifier, the item goes back unharmed and comes again later.
    """

    def __init__(self, name: str, rules: CircuitBreaker, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.rules = rules
        """Used with ``lock`` held only."""
        self.lock = threading.Lock()
        self.hurts = False
        """True if its errors, or its refusals, left the verifier since it was last closed: no fallback caught them."""
        self._clock = clock
        self._blocks = threading.local()

    def __repr__(self) -> str:
        return f"<Breaker {self.name!r}: {self.state}>"

    @property
    def state(self) -> BreakerState:
        """``closed``, ``open`` or ``half_open``, now."""
        with self.lock:
            self.rules.poll(self._clock())
            return self.rules.state

    def force_open(self) -> None:
        """Refuse every call until ``reset()``."""
        with self.lock:
            self.rules.force_open(self._clock())

    def reset(self) -> None:
        """Close it, and forget what was."""
        with self.lock:
            self.rules.reset(self._clock())

    def metrics(self) -> dict[str, Any]:
        """State, rates, and counts of calls by what became of them."""
        with self.lock:
            return self.rules.metrics(self._clock())

    def call(self, fn: Callable[..., _T], /, *args: Any, fallback: Any = _NONE, **kwargs: Any) -> _T | Any:
        """``fn(*args, **kwargs)``, unless the breaker is open.

        ``fallback`` is returned instead (or called with the error, if it can be called)
        when the breaker is open or the call fails with an error that counts. Raises
        BreakerOpen, and whatever ``fn`` raises.
        """
        clock, lock, rules = self._clock, self.lock, self.rules
        begin, permit = clock(), rules.term
        if (
            rules.state is not BreakerState.CLOSED
        ):  # looked at after the term, so that the permit is never of a later one
            with lock:
                permit = rules.acquire(begin)
        if permit == REFUSED:
            refusal = self._refusal()
            if fallback is _NONE:
                raise refusal
            return _instead(fallback, refusal)
        try:
            value = fn(*args, **kwargs)
        except BaseException as error:
            if not self._failed(permit, begin, error) or fallback is _NONE:
                raise
            return _instead(fallback, cast(Exception, error))
        end = clock()
        with lock:
            rules.answered(permit, end, end - begin, False)
        return value

    def __enter__(self) -> Breaker:
        begin = self._clock()
        with self.lock:
            permit = self.rules.acquire(begin)
        if permit == REFUSED:
            raise self._refusal()
        try:
            self._blocks.open.append((permit, begin))
        except AttributeError:  # the first block of this thread
            self._blocks.open = [(permit, begin)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        permit, begin = self._blocks.open.pop()
        if error is not None:
            self._failed(permit, begin, error)
            return False
        end = self._clock()
        with self.lock:
            self.rules.answered(permit, end, end - begin, False)
        return False

    def _refusal(self) -> BreakerOpen:
        with self.lock:
            return BreakerOpen(self.name, self.rules.retry_after_s(self._clock()))

    def _failed(self, permit: int, begin: float, error: BaseException) -> bool:
        """Give the permit back; True if the error counts."""
        counted = False
        try:
            counted = self.rules.policy.counts(error)  # may be a function of the user's, which may fail
        finally:
            end = self._clock()
            with self.lock:
                if counted:
                    self.rules.answered(permit, end, end - begin, True, _shown(error))
                else:
                    self.rules.release(permit)
        if counted:
            names = error.__dict__.setdefault(_COUNTED_BY, [])
            if self.name not in names:
                names.append(self.name)
        return counted


def dependencies_of(error: BaseException) -> tuple[tuple[str, ...], bool]:
    """(names of the breakers that counted the error or refused, whether one refused).

    What caused the error counts too: user code may have wrapped it.
    """
    names: list[str] = []
    link: BaseException | None = error
    for _ in range(_MOST_LINKS):
        if link is None:
            break
        if isinstance(link, BreakerOpen):
            return (link.name,), True
        names += [name for name in getattr(link, "__dict__", {}).get(_COUNTED_BY, ()) if name not in names]
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return tuple(names), False


def _instead(fallback: Any, error: Exception) -> Any:
    """What is returned in place of a call that failed or was refused."""
    return fallback(error) if callable(fallback) else fallback


def _shown(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as broken:  # a __str__ of user code
        text = f"(its __str__ raised {type(broken).__name__})"
    return f"{type(error).__name__}: {text}"[:_LONGEST_ERROR]
