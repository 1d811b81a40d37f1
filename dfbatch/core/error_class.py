"""The classes of error that the rules tell apart. Everything finer is text for people."""

from __future__ import annotations

from enum import IntEnum


class ErrorClass(IntEnum):
    """How a try ended, as a small integer so that it fits in a numpy column."""

    NONE = 0
    TRANSIENT = 1
    """Worth another try: network errors, HTTP 429 and 5xx, ``TransientError``, ``retry_on``."""
    PERMANENT = 2
    """Another try cannot help: unreadable media, bad input, an exception of user code."""
    TIMEOUT = 3
    WORKER_DEATH = 4
    """The worker died on this job while it ran alone."""
    OUT_OF_MEMORY = 5
    BREAKER_OPEN = 6
    """A dependency rests; the job goes back uncharged."""
    VERIFIER_UNUSABLE = 7
    """The verifier could not be loaded or constructed; every job of the batch would meet the same."""

    @property
    def is_charged(self) -> bool:
        """True if a try that ends so counts as an attempt of the job."""
        return self is not ErrorClass.BREAKER_OPEN
