"""Waiting for several jobs, as ``concurrent.futures`` does."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dfbatch.client.batch import Batch
from dfbatch.client.job import Job
from dfbatch.errors import InvalidInput, TimeoutError

FIRST_COMPLETED = "FIRST_COMPLETED"
ALL_COMPLETED = "ALL_COMPLETED"
_POLL_S = 0.05


class DoneAndNotDone(NamedTuple):
    """What ``wait`` returns."""

    done: set[Job | Batch]
    not_done: set[Job | Batch]


def as_completed(jobs: Batch | Iterable[Job | Batch], timeout: float | None = None) -> Iterator[Job | Batch]:
    """Handles as they end. A batch stands for its jobs; a list may mix jobs and batches.

    Raises dfbatch.TimeoutError ``timeout`` seconds after the first ``next()``.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    if isinstance(jobs, Batch):
        for row in jobs.iter_results():
            _check(deadline, timeout)
            yield jobs[row["job_index"]]
        return
    left = list(dict.fromkeys(jobs))
    while left:
        ended = [handle for handle in left if handle.done()]
        yield from ended
        left = [handle for handle in left if handle not in ended]
        if left:
            _check(deadline, timeout)
            time.sleep(_POLL_S)


def wait(jobs: Iterable[Job | Batch], timeout: float | None = None, return_when: str = ALL_COMPLETED) -> DoneAndNotDone:
    """Wait until all (or the first) have ended, or ``timeout`` seconds have passed; never raises a job's error."""
    if return_when not in (FIRST_COMPLETED, ALL_COMPLETED):
        raise InvalidInput("return_when", f"{return_when!r} is neither {FIRST_COMPLETED} nor {ALL_COMPLETED}")
    handles = set([jobs] if isinstance(jobs, (Job, Batch)) else jobs)
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        done = {handle for handle in handles if handle.done()}
        enough = len(done) == len(handles) or (return_when == FIRST_COMPLETED and bool(done))
        if enough or (deadline is not None and time.monotonic() >= deadline):
            return DoneAndNotDone(done, handles - done)
        time.sleep(_POLL_S)


def _check(deadline: float | None, timeout: float | None) -> None:
    if deadline is not None and time.monotonic() >= deadline:
        raise TimeoutError(f"Not all jobs ended within {timeout:g} s; they go on.")
