"""Keeping a library's log lines off stderr while it looks at hostile bytes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_depth: dict[str, int] = {}
_propagated: dict[str, bool] = {}
_mute = logging.NullHandler()


@contextmanager
def quiet_loggers(*names: str) -> Iterator[None]:
    """Inside, records of these loggers and those below reach only handlers of their own. Nests, and is thread-safe."""
    for name in names:
        _enter(name)
    try:
        yield
    finally:
        for name in names:
            _leave(name)


def _enter(name: str) -> None:
    with _lock:
        depth = _depth.get(name, 0)
        if depth == 0:
            logger = logging.getLogger(name)
            _propagated[name] = logger.propagate
            logger.propagate = False
            logger.addHandler(_mute)
        _depth[name] = depth + 1


def _leave(name: str) -> None:
    with _lock:
        _depth[name] -= 1
        if _depth[name] == 0:
            logger = logging.getLogger(name)
            logger.removeHandler(_mute)
            logger.propagate = _propagated.pop(name)
