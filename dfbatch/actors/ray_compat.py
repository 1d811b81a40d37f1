"""Everything of Ray that is private, undocumented or moves between versions, in one place."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

QUIET = {
    # Without it, and before `import ray` in every process, Ray 2.60 listens on all interfaces.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


def quiet_environment() -> None:
    """Set before Ray is imported for the first time; what the user has set stays."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def protect_token_file() -> None:
    """Ray 2.60 writes its token readable by everybody; only its owner needs it."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    if token.is_file() and token.stat().st_uid == os.getuid():
        token.chmod(0o600)


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Ray 2.60 announces its token mode through a logger of its own, whatever ``logging_level`` says."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray._private", "ray._private.worker")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def bind_to_loopback() -> None:
    """For a Ray that was imported before dfbatch, and so without our environment: its constant is set already."""
    from ray._private import ray_constants

    if os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") == "0":
        ray_constants.ENABLE_RAY_CLUSTER = False


def silence_raylet() -> None:
    """A worker that dies is told by dfbatch; Ray would print it into the notebook even with log_to_driver=False."""
    from ray._private import worker

    worker._worker_logs_enabled = False


def short_temp_dir() -> str:
    """Unix sockets have short names: a folder whose path leaves room for Ray's."""
    parent = os.environ.get("RAY_TMPDIR") or ("/tmp" if os.path.isdir("/tmp") else None)
    return tempfile.mkdtemp(prefix="dfb-", dir=parent)


def root_cause(error: Any) -> BaseException | None:
    """The exception that a remote call raised, out of Ray's wrapper."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else None
