"""The options of ``verify``, ``map`` and ``submit``, checked at the door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dfbatch.core.policy import BatchPolicy
from dfbatch.core.resource_shape import RESOURCE_NAMES
from dfbatch.core.retry import Retry
from dfbatch.errors import InvalidInput, InvalidType

_POLICY = (
    "timeout_s", "deadline_s", "delay_s", "retry", "max_failure_ratio", "fail_fast", "max_returns", "max_worker_deaths",
    "producer_silence_s", "source_silence_s", "recycle_after_items", "recycle_above_bytes",
)  # fmt: skip
_REUSE = ("never", "content")


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """``policy`` for the rules, the rest for the row of the batch. ``own_retry``: its retry policy was asked for."""

    queue: str
    priority: int
    key: str | None
    policy: BatchPolicy
    tags: tuple[str, ...]
    name: str | None
    own_retry: bool = True
    reuse: str = "never"
    resources: Mapping[str, Any] = field(default_factory=dict)
    """As given, in Ray's words; see ``client.resources``."""

    def as_json(self) -> dict[str, Any]:
        """Without a retry policy of its own, so that the batch gets that of its queue."""
        options = {**self.policy.as_options(), "tags": list(self.tags)}
        if not self.own_retry:
            del options["retry"]
        return options if self.reuse == "never" else {**options, "reuse": self.reuse}


def submit_options(
    given: Mapping[str, Any], *, name: str | None, default_queue: str, default_timeout_s: float | None
) -> SubmitOptions:
    """Raises InvalidInput that names the option and what is allowed."""
    known = {"queue", "priority", "key", "tags", "reuse", *_POLICY, *RESOURCE_NAMES}
    for option in given:
        if option not in known:
            raise InvalidInput(option, "is no option of a submit", f"There are: {', '.join(sorted(known))}")
    policy_options = {k: given[k] for k in _POLICY if k in given}
    policy_options.setdefault("timeout_s", default_timeout_s)
    if policy_options.get("retry") is None:
        policy_options.pop("retry", None)
    retry = policy_options.get("retry")
    if retry is not None and not isinstance(retry, Retry):
        raise InvalidType("retry", f"is {type(retry).__name__}, not dfbatch.Retry", "Give retry=dfbatch.Retry(...)")
    return SubmitOptions(
        queue_name(default_queue if given.get("queue") is None else given["queue"]),
        _priority(given.get("priority", 0)),
        None if given.get("key") is None else _text("key", given["key"], 256),
        BatchPolicy(**policy_options),
        _tags(given.get("tags", ())),
        None if name is None else _text("name", name, 200),
        retry is not None,
        _reuse(given.get("reuse", "never")),
        {name: given[name] for name in RESOURCE_NAMES if given.get(name) is not None},
    )


def queue_name(value: Any) -> str:
    """A name that a queue may have. Raises InvalidInput."""
    return _text("queue", value, 64)


def _reuse(value: Any) -> str:
    if not isinstance(value, str) or value not in _REUSE:
        raise InvalidInput("reuse", f"{value!r} is not one of {', '.join(_REUSE)}")
    return value


def _priority(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -1_000_000 <= value <= 1_000_000:
        raise InvalidInput(
            "priority", f"{value!r} is no whole number from -1,000,000 to 1,000,000", "Greater runs sooner"
        )
    return value


def _text(name: str, value: Any, longest: int) -> str:
    if not isinstance(value, str):
        raise InvalidType(name, f"is {type(value).__name__}, not text", "Give a str")
    if not value.strip() or len(value) > longest or not value.isprintable():
        raise InvalidInput(name, f"{value[:40]!r} is empty, longer than {longest}, or holds control characters")
    return value


def _tags(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, (Sequence, set, frozenset)):
        raise InvalidType("tags", f"is {type(value).__name__}", "Give a list of short texts")
    return tuple(_text("tags", tag, 100) for tag in value)
