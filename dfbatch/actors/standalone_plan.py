"""What ``dfbatch worker`` and its processes say to each other. Light: the parent loads neither Ray nor numpy for it."""

from __future__ import annotations

from dataclasses import dataclass

PULSE_S = 1.0
"""A child tells how it is this often."""
LEFT, CRASHED, COULD_NOT_RUN, RENEWED = 0, 1, 3, 4
"""Exit codes of a child: it left in good order; it is to be replaced; there is nothing to join; it left for another."""


@dataclass(frozen=True, slots=True)
class StandalonePlan:
    """What the command was asked for. ``name`` is None where one is to be made of host and process id.

    ``health_port``: None for no port, 0 for a free one.
    """

    storage_path: str = ""
    namespace: str = ""
    address: str = ""
    concurrency: int = 1
    shape: str = "default"
    queues: tuple[str, ...] | None = None
    name: str | None = None
    grace_s: float = 30.0
    idle_s: float | None = None
    health_file: str | None = None
    health_host: str = "127.0.0.1"
    health_port: int | None = None
    log_format: str = "text"
    log_level: str = "INFO"


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """What one process has to do. ``report_fd``: the descriptor its pulses go to.

    ``is_named``: the name was given by a person, so that another process may have it too.
    """

    name: str
    storage_path: str
    namespace: str
    address: str
    shape: str
    queues: list[str] | None
    idle_s: float | None
    grace_s: float
    report_fd: int
    is_named: bool
    log_format: str
    log_level: str


@dataclass(frozen=True, slots=True)
class Pulse:
    """How a child is. ``state``: in the words of ``client.workers()``. ``error``: why it cannot run at all."""

    state: str
    live: bool = True
    ready: bool = False
    job: str | None = None
    error: str = ""
    handed_back: bool = True
