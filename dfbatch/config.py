"""Settings: argument before environment before default, each with where it came from.

Nothing here is read at import. ``resolve`` takes the environment as an argument, so
that a test, or a worker with another environment, can ask the same question.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dfbatch.errors import InvalidInput, InvalidType

PROGRESS_KINDS = ("auto", "widget", "html", "tqdm", "log", "off")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FROM_ARGUMENT = "argument"
FROM_DEFAULT = "default"

Environment = Mapping[str, str]
Workers = int | tuple[int, int]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client was told, and by whom.

    ``workers`` is (min, max), or None for as many as there are CPUs. ``address`` is
    None if nobody named a Ray cluster. ``timeout_s`` is the time limit of one item,
    or None for the default of the kind of work. ``origins`` maps each name to
    "argument", "default" or the environment variable; it takes no part in equality.
    """

    storage_path: str
    namespace: str
    workers: tuple[int, int] | None
    address: str | None
    timeout_s: float | None
    progress: str
    log_level: str
    origins: Mapping[str, str] = field(compare=False, repr=False)

    def rows(self) -> list[tuple[str, Any, str]]:
        """(name, value, origin) of each setting, as ``dfbatch doctor`` shows them."""
        return [(name, getattr(self, name), origin) for name, origin in self.origins.items()]


def resolve(
    *,
    storage_path: str | os.PathLike[str] | None = None,
    namespace: str | None = None,
    workers: Workers | None = None,
    address: str | None = None,
    timeout_s: float | None = None,
    progress: str | None = None,
    log_level: str | None = None,
    environment: Environment | None = None,
) -> Settings:
    """The settings in force. An argument of None, and an empty variable, are not given.

    Raises InvalidInput that names the argument or the variable, and the remedy.
    """
    given = {
        "storage_path": storage_path,
        "namespace": namespace,
        "workers": workers,
        "address": address,
        "timeout_s": timeout_s,
        "progress": progress,
        "log_level": log_level,
    }
    env = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, option in _OPTIONS.items():
        values[name], origins[name] = option.pick(name, given[name], env)
    return Settings(**values, origins=MappingProxyType(origins))


@dataclass(frozen=True, slots=True)
class _Option:
    """One setting: its variable, its default, and how a value is checked and made plain.

    ``parse(value, where)`` gets an argument of any type, or the text of a variable.
    """

    variable: str
    default: Any
    parse: Callable[[Any, str], Any]

    def pick(self, name: str, given: Any, env: Environment) -> tuple[Any, str]:
        if given is not None:
            return self.parse(given, name), FROM_ARGUMENT
        text = env.get(self.variable, "").strip()
        if text:
            return self.parse(text, self.variable), self.variable
        if self.default is None:
            return None, FROM_DEFAULT
        return self.parse(self.default, name), FROM_DEFAULT


def _storage_path(value: Any, where: str) -> str:
    remedy = "Give a folder or a URI like s3://bucket/results"
    if not isinstance(value, str | os.PathLike):
        raise InvalidType(where, f"{value!r} is neither a path nor a URI", remedy)
    text = os.fspath(value)
    if not isinstance(text, str) or not text.strip() or not text.isprintable():
        raise InvalidInput(where, f"{text!r} is no usable path", remedy)
    if "://" in text:
        return text.rstrip("/")
    try:
        return str(Path(text).expanduser().absolute())
    except RuntimeError as error:
        raise InvalidInput(where, f"the home folder in {text!r} cannot be found", "Give a full path") from error


def _namespace(value: Any, where: str) -> str:
    remedy = "Give a short name like 'dfbatch'"
    if not isinstance(value, str):
        raise InvalidType(where, f"{value!r} is not text", remedy)
    if not value.strip() or not value.isprintable() or len(value) > 100:
        raise InvalidInput(where, f"{value!r} is no usable name", remedy)
    return value.strip()


def _workers(value: Any, where: str) -> tuple[int, int]:
    remedy = "Give a number like 4, or the least and the most like 1,8"
    if isinstance(value, str):
        try:
            value = tuple(int(part) for part in value.split(","))
        except ValueError:
            raise InvalidInput(where, f"{value!r} is no number of workers", remedy) from None
    parts = tuple(value) if isinstance(value, tuple | list) else (value,)
    if not all(isinstance(part, int) and not isinstance(part, bool) for part in parts):
        raise InvalidType(where, f"{value!r} is no number of workers", remedy)
    if len(parts) not in (1, 2):
        raise InvalidInput(where, f"{value!r} is not one number or two", remedy)
    least, most = parts[0], parts[-1]
    if most < 1 or not 0 <= least <= most:
        raise InvalidInput(where, f"{least} to {most} workers can do no work", remedy)
    return least, most


def _address(value: Any, where: str) -> str:
    remedy = "Give host:port of a Ray head node, 'auto' or 'local'"
    if not isinstance(value, str):
        raise InvalidType(where, f"{value!r} is no address", remedy)
    text = value.strip()
    if not text or not text.isprintable():
        raise InvalidInput(where, f"{value!r} is no address", remedy)
    if text.startswith("ray://"):
        raise InvalidInput(where, "the Ray Client protocol (ray://) is not supported", remedy)
    return text


def _timeout_s(value: Any, where: str) -> float:
    remedy = "Give a number of seconds greater than 0"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidType(where, f"{value!r} is no number of seconds", remedy)
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        raise InvalidInput(where, f"{value!r} is no number of seconds", remedy) from None
    if not math.isfinite(seconds) or seconds <= 0:
        raise InvalidInput(where, f"{value!r} is no time limit", remedy)
    return seconds


def _one_of(choices: tuple[str, ...]) -> Callable[[Any, str], str]:
    plain = {choice.lower(): choice for choice in choices}

    def parse(value: Any, where: str) -> str:
        remedy = f"Give one of {', '.join(choices)}"
        if not isinstance(value, str):
            raise InvalidType(where, f"{value!r} is not text", remedy)
        choice = plain.get(value.strip().lower())
        if choice is None:
            raise InvalidInput(where, f"{value!r} is not known", remedy)
        return choice

    return parse


_OPTIONS: Mapping[str, _Option] = {
    "storage_path": _Option("DFBATCH_STORAGE_PATH", "~/dfbatch_results", _storage_path),
    "namespace": _Option("DFBATCH_NAMESPACE", "dfbatch", _namespace),
    "workers": _Option("DFBATCH_WORKERS", None, _workers),
    "address": _Option("RAY_ADDRESS", None, _address),
    "timeout_s": _Option("DFBATCH_TIMEOUT_S", None, _timeout_s),
    "progress": _Option("DFBATCH_PROGRESS", "auto", _one_of(PROGRESS_KINDS)),
    "log_level": _Option("DFBATCH_LOG_LEVEL", "WARNING", _one_of(LOG_LEVELS)),
}
