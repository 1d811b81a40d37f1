"""What a circuit breaker is told: when to open, for how long, and which errors count. Values, checked at the door."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

from dfbatch.core.window import CountWindow, TimeWindow, Window
from dfbatch.errors import BreakerOpen, InvalidInput, ItemError

ErrorRule = type[BaseException] | Iterable[type[BaseException]] | Callable[[BaseException], bool]
WINDOW_CALLS = 50
_NUMBERS = (
    ("failure_rate", 0.001, 1, False),
    ("slow_rate", 0.001, 1, False),
    ("minimum_calls", 1, 1_000_000, True),
    ("window_calls", 1, 1_000_000, True),
    ("window_s", 0.01, 86_400, False),
    ("slow_after_s", 0, 86_400, False),
    ("open_s", 0.01, 86_400, False),
    ("open_factor", 1, 100, False),
    ("open_max_s", 0.01, 86_400, False),
    ("jitter", 0, 1, False),
    ("probes", 1, 10_000, True),
)
_MAY_BE_NONE = ("window_calls", "window_s", "slow_after_s")
_MISTAKES = (
    AssertionError,
    AttributeError,
    ImportError,
    NameError,
    NotImplementedError,
    SyntaxError,
    TypeError,
)
_THEIR_FAULT_TOO = (408, 425, 429)
"""HTTP answers below 500 that speak of the service, not of the item."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, and for how long. Times are seconds.

    It opens when at least ``failure_rate`` of the calls in the window failed, or at
    least ``slow_rate`` of them took longer than ``slow_after_s`` (None: speed is not
    watched), and the window holds ``minimum_calls``. The window is the last
    ``window_calls`` calls (50) or those of the last ``window_s`` seconds; give one.
    Open, it rests ``open_s``, ``open_factor`` times longer each time it opens again
    before it recovered, at most ``open_max_s``, give or take ``jitter``. Then
    ``probes`` calls decide by the same rates whether it closes.

    ``record_on`` says which errors count, ``ignore`` which do not: an exception
    class, several, or a function of the error. By default every ``Exception`` counts
    but those about the item (``ItemError``, HTTP 4xx other than 408, 425 and 429) and
    those that a mistake in the code raises (``NameError``, ``TypeError`` and their like).
    Raises InvalidInput on values that make no sense.
    """

    failure_rate: float = 0.5
    slow_rate: float = 0.5
    slow_after_s: float | None = None
    minimum_calls: int = 10
    window_calls: int | None = None
    window_s: float | None = None
    open_s: float = 5.0
    open_factor: float = 2.0
    open_max_s: float = 60.0
    jitter: float = 0.1
    probes: int = 3
    record_on: ErrorRule | None = None
    ignore: ErrorRule = ()

    def __post_init__(self) -> None:
        for name, low, high, whole in _NUMBERS:
            _check(name, getattr(self, name), low, high, whole)
        for name in ("record_on", "ignore"):
            object.__setattr__(self, name, _rule(name, getattr(self, name)))
        if self.window_calls is not None and self.window_s is not None:
            raise InvalidInput(
                "breaker.window_s", "is given beside window_calls", "Give one of them: a window has one measure"
            )
        if self.window_s is None and self.minimum_calls > (self.window_calls or WINDOW_CALLS):
            raise InvalidInput(
                "breaker.minimum_calls",
                f"{self.minimum_calls} calls never fit into a window of {self.window_calls or WINDOW_CALLS}",
                "Give a smaller minimum_calls or a greater window_calls",
            )
        if self.open_max_s < self.open_s:
            raise InvalidInput(
                "breaker.open_max_s", f"{self.open_max_s:g} is less than open_s ({self.open_s:g})", "Give a greater one"
            )

    @classmethod
    def of(cls, options: dict[str, Any]) -> BreakerPolicy:
        """Raises InvalidInput for names there are none of."""
        known = [f.name for f in fields(cls)]
        for name in options:
            if name not in known:
                raise InvalidInput(
                    f"breaker.{name}", "is no part of a breaker's policy", f"There are: {', '.join(known)}"
                )
        return cls(**options)

    def window(self) -> Window:
        """An empty window."""
        if self.window_s is not None:
            return TimeWindow(self.window_s)
        return CountWindow(self.window_calls or WINDOW_CALLS)

    def counts(self, error: BaseException) -> bool:
        """True if the error says something about the dependency."""
        if not isinstance(error, Exception) or isinstance(error, BreakerOpen) or _matches(self.ignore, error):
            return False
        return _speaks_of_the_service(error) if self.record_on is None else _matches(self.record_on, error)

    def rest_s(self, n_openings: int, u: float) -> float:
        """Seconds it stays open, the ``n_openings``-th time in a row; ``u`` is drawn from 0..1."""
        rest = min(self.open_s * self.open_factor ** min(n_openings - 1, 64), self.open_max_s)
        return float(rest * (1.0 + self.jitter * (2.0 * u - 1.0)))


def _check(name: str, value: Any, low: float, high: float, whole: bool) -> None:
    if value is None and name in _MAY_BE_NONE:
        return
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not isfinite(value) or not low <= value <= high:
        number = f"{'whole number' if whole else 'number'} from {low:g} to {high:g}"
        raise InvalidInput(f"breaker.{name}", f"{value!r} is not a {number}", f"Give a {number}")


def _rule(name: str, given: Any) -> Any:
    """Classes as a tuple, a function as it is. Raises InvalidInput."""
    if given is None and name == "record_on":
        return None
    many = (given,) if isinstance(given, type) else given
    if isinstance(many, Iterable) and not isinstance(many, (str, bytes)):
        classes = tuple(many)
        if all(isinstance(c, type) and issubclass(c, BaseException) for c in classes):
            return classes
    elif callable(given):
        return given
    raise InvalidInput(
        f"breaker.{name}", f"{given!r} does not say which errors", "Give exception classes, or a function error -> bool"
    )


def _matches(rule: Any, error: BaseException) -> bool:
    return isinstance(error, rule) if isinstance(rule, tuple) else bool(rule(error))


def _speaks_of_the_service(error: Exception) -> bool:
    """False for errors about the item or the code: media, mistakes, a request that was understood and refused."""
    if isinstance(error, (ItemError, *_MISTAKES)):
        return False
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None) or getattr(error, "code", None) or getattr(error, "status", None)
    return not (isinstance(status, int) and 400 <= status < 500 and status not in _THEIR_FAULT_TOO)
