"""Jobs that wait for the outcome of another job of their batch, because their content is the same.

They stay queued but out of line. When the leader has succeeded, the shell reports its outcome for them;
when it ended otherwise, they are released and run on their own.
"""

from __future__ import annotations

import numpy as np

from dfbatch.core.batch import Batch
from dfbatch.core.books import Books
from dfbatch.core.effects import Effect, WorkAvailable
from dfbatch.core.events import FollowersHeld, FollowersReleased
from dfbatch.core.instant import Instant
from dfbatch.core.ready import Indices
from dfbatch.core.states import JobState


def on_held(books: Books, event: FollowersHeld, now: Instant) -> list[Effect]:
    """Take queued jobs out of line. Those that are leased, or have ended, stay what they are."""
    batch = books.batch(event.batch_id)
    jobs = batch.jobs
    held = np.zeros(len(jobs), np.bool_)
    if batch.held is not None:
        held[: len(batch.held)] = batch.held
    queued = event.indices[jobs.state[event.indices] == JobState.QUEUED.code]
    queued = np.setdiff1d(queued, batch.quarantined())
    held[queued] = True
    batch.held = held
    batch.ready.remove(queued)
    books.place(batch, now)
    return []


def on_released(books: Books, event: FollowersReleased, now: Instant) -> list[Effect]:
    """Put held jobs in line, behind what waits there."""
    batch = books.batches.get(event.batch_id)
    if batch is None:
        return []
    released = waiting(batch, event.indices)
    if not len(released) or batch.held is None:
        return []
    batch.held[released] = False
    batch.ready.append(np.sort(released))
    books.place(batch, now)
    return [WorkAvailable()]


def waiting(batch: Batch, indices: Indices) -> Indices:
    """Those of the jobs that are held and have no outcome."""
    if batch.held is None:
        return np.empty(0, np.int64)
    known = indices[indices < len(batch.held)]
    return np.asarray(known[batch.held[known] & (batch.jobs.state[known] == JobState.QUEUED.code)])


def stranded(batch: Batch) -> Indices:
    """Held jobs of a batch in which nothing else is left to do; their leaders ended unheard."""
    if batch.held is None or batch.finished_as is not None or batch.ready or batch.suspects:
        return np.empty(0, np.int64)
    if batch.jobs.count(JobState.RUNNING, JobState.RETRYING):
        return np.empty(0, np.int64)
    return waiting(batch, np.flatnonzero(batch.held))
