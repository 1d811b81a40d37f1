"""The states of jobs, batches and workers, and what is true of each."""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """Where one job is in its present generation."""

    QUEUED = "queued"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    RETRYING = "retrying"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_terminal(self) -> bool:
        """True if nothing but a redrive can change the state."""
        return self in _TERMINAL_JOB

    @property
    def code(self) -> int:
        """Small integer for numpy columns; the inverse is ``JobState.of(code)``."""
        return _JOB_CODES[self]

    @staticmethod
    def of(code: int) -> JobState:
        """The state with a code."""
        return _JOB_STATES[code]


_TERMINAL_JOB = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})
_JOB_STATES = tuple(JobState)
_JOB_CODES = {state: code for code, state in enumerate(_JOB_STATES)}
FIRST_TERMINAL_CODE = JobState.SUCCEEDED.code
"""Codes from here on are terminal, so that ``states >= FIRST_TERMINAL_CODE`` is one numpy comparison."""


class BatchState(StrEnum):
    """Where a batch is."""

    SUBMITTING = "submitting"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    STALLED = "stalled"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_terminal(self) -> bool:
        """True if the batch has ended."""
        return self in _TERMINAL_BATCH


_TERMINAL_BATCH = frozenset(
    {BatchState.SUCCEEDED, BatchState.PARTIAL, BatchState.FAILED, BatchState.CANCELLED, BatchState.EXPIRED}
)


class WorkerState(StrEnum):
    """What a worker does now."""

    STARTING = "starting"
    IDLE = "idle"
    RUNNING = "running"
    DRAINING = "draining"
    BREAKER_OPEN = "breaker_open"
    LOST = "lost"
    STOPPED = "stopped"

    @property
    def is_terminal(self) -> bool:
        """True if the worker does not come back."""
        return self in (WorkerState.LOST, WorkerState.STOPPED)
