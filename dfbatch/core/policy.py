"""Policies: what a queue and a batch are allowed and told to do. Values, checked at the door."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from typing import Any

from dfbatch.core.retry import Retry
from dfbatch.errors import InvalidInput


def _check(
    name: str, value: Any, low: float, high: float = float("inf"), *, whole: bool = False, or_none: bool = False
) -> None:
    """Raises InvalidInput unless ``value`` is a finite number in the bounds."""
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high or not isfinite(value):
        number = "whole number" if whole else "number"
        bounds = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
        limit = ", or None for no limit" if or_none else ""
        raise InvalidInput(name, f"{value!r} is not a {number} {bounds}", f"Give a {number} {bounds}{limit}")


def _check_limit(name: str, value: Any, low: float, high: float = float("inf"), *, whole: bool = False) -> None:
    """As ``_check``, but None is allowed: no limit."""
    if value is not None:
        _check(name, value, low, high, whole=whole, or_none=True)


def _as_retry(given: Any) -> Retry:
    retry = Retry.of(given) if isinstance(given, dict) else given
    if not isinstance(retry, Retry):
        raise InvalidInput("retry", f"{given!r} is no dfbatch.Retry", "Give retry=dfbatch.Retry(...)")
    return retry


@dataclass(frozen=True)
class QueuePolicy:
    """Limits of one queue; None is no limit.

    ``max_length``: jobs without an outcome. ``rate_per_s``: jobs leased a second
    (token bucket of ``burst``). ``concurrency``: jobs leased at one time.
    ``retention_s`` and ``retention_batches``: how long, and how many, ended
    batches are kept in the ledger.
    """

    max_length: int | None = None
    rate_per_s: float | None = None
    burst: float | None = None
    concurrency: int | None = None
    retry: Retry | None = None
    retention_s: float | None = None
    retention_batches: int | None = None

    def __post_init__(self) -> None:
        if self.retry is not None:
            object.__setattr__(self, "retry", _as_retry(self.retry))
        _check_limit("max_length", self.max_length, 1, whole=True)
        _check_limit("rate_per_s", self.rate_per_s, 1e-6, 1e9)
        _check_limit("burst", self.burst, 1, 1e12)
        _check_limit("concurrency", self.concurrency, 1, whole=True)
        _check_limit("retention_s", self.retention_s, 0)
        _check_limit("retention_batches", self.retention_batches, 0, whole=True)

    def changed(self, **changes: Any) -> QueuePolicy:
        """A copy with some limits changed. Raises InvalidInput for names there are none of."""
        known = {f.name for f in fields(self)}
        for name in changes:
            if name not in known:
                raise InvalidInput(name, "is no limit of a queue", f"There are: {', '.join(sorted(known))}")
        return QueuePolicy(**{**{f: getattr(self, f) for f in known}, **changes})

    def as_options(self) -> dict[str, Any]:
        """As JSON-like values; ``QueuePolicy(**options)`` leads back."""
        options = asdict(self)
        options["retry"] = self.retry.as_options() if self.retry else None
        return options


@dataclass(frozen=True)
class BatchPolicy:
    """What was asked for one batch. Times are seconds.

    ``timeout_s`` limits one item, ``deadline_s`` the whole batch from its submit.
    ``max_worker_deaths``: deaths while a job ran alone before it is a dead letter.
    ``max_returns``: how often an open breaker may send a job back.
    ``fail_fast_after``: failed jobs with one error and no success that stop the batch.
    ``producer_silence_s``: a stream whose producer gives no sign of life for so long has lost it.
    ``source_silence_s``: so long may a stream's source take for its next item.
    ``recycle_after_items``: a worker that has run so many items makes room for a fresh process.
    ``recycle_above_bytes``: the same for one that keeps more resident memory between two chunks.
    """

    retry: Retry = field(default_factory=Retry)
    timeout_s: float | None = None
    deadline_s: float | None = None
    delay_s: float = 0.0
    max_failure_ratio: float | None = None
    fail_fast: bool = True
    fail_fast_after: int = 50
    max_worker_deaths: int = 2
    max_returns: int = 20
    producer_silence_s: float = 60.0
    source_silence_s: float = 900.0
    recycle_after_items: int | None = None
    recycle_above_bytes: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "retry", _as_retry(self.retry))
        _check_limit("timeout_s", self.timeout_s, 0.001)
        _check_limit("deadline_s", self.deadline_s, 0.001)
        _check("delay_s", self.delay_s, 0)
        _check_limit("max_failure_ratio", self.max_failure_ratio, 0, 1)
        _check("fail_fast_after", self.fail_fast_after, 1, whole=True)
        _check("max_worker_deaths", self.max_worker_deaths, 1, 1000, whole=True)
        _check("producer_silence_s", self.producer_silence_s, 1)
        _check("source_silence_s", self.source_silence_s, 0.1)
        _check_limit("recycle_after_items", self.recycle_after_items, 1, whole=True)
        _check_limit("recycle_above_bytes", self.recycle_above_bytes, 1, whole=True)
        # One byte a job counts the returns.
        _check("max_returns", self.max_returns, 0, 254, whole=True)

    def as_options(self) -> dict[str, Any]:
        """As JSON-like values; ``BatchPolicy.of`` leads back."""
        return {**asdict(self), "retry": self.retry.as_options()}

    @classmethod
    def of(cls, options: dict[str, Any]) -> BatchPolicy:
        """The policy within a batch's options; names that are none of its own are left alone."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in options.items() if k in known})
