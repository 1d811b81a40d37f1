"""When a failed job is tried again. The policy returns values; the manager acts on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from dfbatch.core.error_class import ErrorClass
from dfbatch.errors import InvalidInput

GIVE_UP = -1.0
"""In an array of delays: no further try."""


def _error_names(classes: Sequence[type[BaseException] | str]) -> tuple[str, ...]:
    return tuple(c if isinstance(c, str) else f"{c.__module__}.{c.__qualname__}" for c in classes)


@dataclass(frozen=True)
class Retry:
    """How often and how soon a job is tried again.

    ``max_attempts`` counts every try, the first one too. The n-th retry waits
    ``initial_s * factor**(n-1)``, at most ``max_s``, times a random factor within
    1 ± ``jitter``. By default only transient errors are tried again (network
    ``OSError``, HTTP 429 and 5xx, ``dfbatch.TransientError``, one timeout).
    ``retry_on`` adds exception classes (or their names), ``give_up_on`` removes.
    Raises InvalidInput on values that make no sense.
    """

    max_attempts: int = 3
    initial_s: float = 1.0
    factor: float = 2.0
    max_s: float = 60.0
    jitter: float = 0.1
    retry_on: Sequence[type[BaseException] | str] = ()
    give_up_on: Sequence[type[BaseException] | str] = ()

    def __post_init__(self) -> None:
        for name, low, high in (
            ("max_attempts", 1, 1000),
            ("initial_s", 0, 86_400),
            ("factor", 1, 100),
            ("max_s", 0, 864_000),
            ("jitter", 0, 1),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise InvalidInput(
                    f"retry.{name}", f"{value!r} is not a number from {low} to {high}", f"Give one from {low} to {high}"
                )
        if not isinstance(self.max_attempts, int):
            raise InvalidInput(
                "retry.max_attempts", f"{self.max_attempts!r} is not a whole number", "Give one from 1 to 1000"
            )
        for name in ("retry_on", "give_up_on"):
            given = getattr(self, name)
            many = isinstance(given, Iterable) and not isinstance(given, (type, str))
            classes = tuple(given) if many else (given,)
            if not all(isinstance(c, str) or (isinstance(c, type) and issubclass(c, BaseException)) for c in classes):
                raise InvalidInput(
                    f"retry.{name}",
                    f"{given!r} holds something that is no exception class",
                    "Give exception classes, or their full names as text",
                )
            object.__setattr__(self, name, _error_names(classes))

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Retry:
        """The policy that ``as_options`` described. Raises InvalidInput for names there are none of."""
        known = [f.name for f in fields(cls)]
        for name in options:
            if name not in known:
                raise InvalidInput(f"retry.{name}", "is no part of a retry policy", f"There are: {', '.join(known)}")
        return cls(**options)

    def as_options(self) -> dict[str, Any]:
        """A JSON-like dict; ``Retry.of(options)`` is its inverse."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def delays_s(
        self,
        error_classes: npt.NDArray[np.uint8],
        attempts: npt.NDArray[np.int16],
        rng: np.random.Generator,
    ) -> npt.NDArray[np.float64]:
        """Seconds until the next try of each failed job, GIVE_UP where there is none.

        ``attempts`` are the charged tries so far, the failed one included.
        """
        transient = (error_classes == ErrorClass.TRANSIENT) | (error_classes == ErrorClass.OUT_OF_MEMORY)
        first_timeout = (error_classes == ErrorClass.TIMEOUT) & (attempts <= 1)
        again = (transient | first_timeout) & (attempts < self.max_attempts)
        exponent = np.minimum(np.maximum(attempts.astype(np.float64) - 1.0, 0.0), 64.0)
        wait = np.minimum(self.initial_s * np.power(self.factor, exponent), self.max_s)
        wait *= 1.0 + self.jitter * (2.0 * rng.random(len(wait)) - 1.0)
        return np.where(again, wait, GIVE_UP)
