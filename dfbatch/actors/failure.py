"""Exceptions of user code as plain data: class of error, type, message, and a traceback without our own frames."""

from __future__ import annotations

import errno
import traceback
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfbatch.actors.breaker import dependencies_of
from dfbatch.actors.out_of_memory import out_of_memory
from dfbatch.core.error_class import ErrorClass
from dfbatch.errors import (
    BreakerOpen,
    GpuOutOfMemory,
    HostOutOfMemory,
    ItemError,
    OutputInvalid,
    TransientError,
    VerifierUnusable,
)

_OWN_FOLDER = str(Path(__file__).parent)
_LONGEST_MESSAGE = 2_000
_LONGEST_TRACEBACK = 20_000

# OSErrors about a path are for the item; those about a connection pass.
_NETWORK_ERRNOS = frozenset(
    {
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.EPIPE,
        errno.ETIMEDOUT,
        errno.EAGAIN,
        errno.EIO,
        errno.ESTALE,
    }
)


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed try. ``fingerprint`` is equal for equal errors of user code, 0 for errors about the item itself."""

    error_class: ErrorClass
    error_type: str
    message: str
    traceback_text: str
    fingerprint: int
    dependencies: tuple[str, ...] = ()
    """Names of the circuit breakers that counted the error, or refused."""


def describe(error: BaseException, retry_on: Sequence[str] = (), give_up_on: Sequence[str] = ()) -> Failure:
    """Capture an exception raised by a verifier."""
    about_item = isinstance(error, ItemError) and not isinstance(error, OutputInvalid)
    text = _traceback_for(error)
    shown = OutputInvalid if isinstance(error, OutputInvalid) else type(error)
    plain = shown.__module__ in ("builtins", "dfbatch.errors")
    name = shown.__qualname__ if plain else f"{shown.__module__}.{shown.__qualname__}"
    memory = None if about_item else out_of_memory(error)
    message = _message(error) if memory is None else f"{name}: {_message(error)}"
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = f"{last.filename}:{last.lineno}" if last else ""
    # What a verifier returns is its own doing, item after item.
    fingerprint = 0 if about_item else (zlib.crc32(f"{name}|{where}".encode()) | 1)
    dependencies, refused = ((), False) if about_item else dependencies_of(error)
    error_class = classify(error, retry_on, give_up_on)
    if refused:
        error_class = ErrorClass.BREAKER_OPEN
    elif dependencies and error_class is ErrorClass.PERMANENT and not _names(error) & set(give_up_on):
        error_class = ErrorClass.TRANSIENT  # a service that failed may be there next time
    return Failure(
        error_class,
        memory or name,
        _storable(message[:_LONGEST_MESSAGE]),
        _storable(text[-_LONGEST_TRACEBACK:]),
        fingerprint,
        dependencies,
    )


def classify(error: BaseException, retry_on: Sequence[str] = (), give_up_on: Sequence[str] = ()) -> ErrorClass:
    """Transient by default: network errors, HTTP 429 and 5xx, TransientError; ``give_up_on`` wins over ``retry_on``."""
    names = _names(error)
    if isinstance(error, BreakerOpen):
        return ErrorClass.BREAKER_OPEN
    if isinstance(error, VerifierUnusable):
        return ErrorClass.VERIFIER_UNUSABLE
    if names & set(give_up_on):
        return ErrorClass.PERMANENT
    if names & set(retry_on) or isinstance(error, TransientError) or _is_network(error):
        return ErrorClass.TRANSIENT
    if isinstance(error, (HostOutOfMemory, GpuOutOfMemory)) or out_of_memory(error):
        return ErrorClass.OUT_OF_MEMORY
    return ErrorClass.PERMANENT


def _traceback_for(error: BaseException) -> str:
    """Of a verifier that could not be loaded: the user's own. Errors about an item or an output explain themselves."""
    if isinstance(error, VerifierUnusable):
        return "" if error.__cause__ is None else clean_traceback(error.__cause__)
    return "" if isinstance(error, ItemError) else clean_traceback(error)


def _names(error: BaseException) -> set[str]:
    family = type(error).__mro__
    return {f"{c.__module__}.{c.__qualname__}" for c in family} | {c.__qualname__ for c in family}


def clean_traceback(error: BaseException) -> str:
    """The traceback as text, without the frames of the worker that called the verifier."""
    seen = traceback.TracebackException.from_exception(error, compact=True)
    link: traceback.TracebackException | None = seen
    while link is not None:
        link.stack = traceback.StackSummary.from_list([f for f in link.stack if not f.filename.startswith(_OWN_FOLDER)])
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "".join(seen.format())


def _message(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except BaseException as broken:  # a __str__ of user code
        return f"(its __str__ raised {type(broken).__name__})"


def _storable(text: str) -> str:
    """Names of hostile files hold lone surrogates, which no UTF-8 column can."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _is_network(error: BaseException) -> bool:
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    if isinstance(error, OSError) and error.errno in _NETWORK_ERRNOS:
        return True
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None) or getattr(error, "code", None) or getattr(error, "status", None)
    return isinstance(status, int) and (status == 429 or 500 <= status < 600)
