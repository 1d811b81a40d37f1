"""What becomes of reported outcomes: taken once, retried by policy, or suppressed as repeats."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dfbatch.core.batch import Batch, BatchStop
from dfbatch.core.books import LEASE_TERM_S, Books
from dfbatch.core.effects import Effect, OutcomesTaken
from dfbatch.core.ending import begin_stop, end_if_done
from dfbatch.core.error_class import ErrorClass
from dfbatch.core.events import Committed, OutcomesReported
from dfbatch.core.instant import Instant
from dfbatch.core.ready import Indices
from dfbatch.core.states import BatchState, JobState

RETURN_DELAY_S = 2.0
"""Back-off unit for jobs that an open breaker sent back."""


def on_reported(books: Books, event: OutcomesReported, now: Instant) -> list[Effect]:
    """Take each outcome iff its generation has no terminal state and no other live lease."""
    batch = books.batches.get(event.batch_id)
    if batch is None:
        books.duplicates_suppressed += len(event.indices)
        return []
    jobs = batch.jobs
    own = jobs.lease[event.indices]
    taken = ~jobs.is_terminal(event.indices)
    taken &= (own == event.lease_id) | (own == 0)
    taken &= jobs.generation[event.indices] == event.generation
    positions = np.flatnonzero(taken)
    suppressed = len(event.indices) - len(positions)
    books.duplicates_suppressed += suppressed
    effects: list[Effect] = []
    if len(positions):
        effects.append(_take(books, batch, event, positions, suppressed, now))
    _answer_lease(books, event, positions, now)
    batch.sizer.observe(len(event.indices), event.busy_s)
    books.place(batch, now)
    return [*effects, *_judge_batch(books, batch, event, positions, now), *end_if_done(books, batch, now)]


def _take(
    books: Books, batch: Batch, event: OutcomesReported, positions: Indices, suppressed: int, now: Instant
) -> OutcomesTaken:
    jobs = batch.jobs
    indices = event.indices[positions]
    errors = event.error_class[positions]
    state = np.full(len(positions), JobState.SUCCEEDED.code, np.uint8)
    retry_at = np.full(len(positions), np.nan)
    failed = errors != ErrorClass.NONE
    if failed.any():
        _judge_failures(books, batch, indices, errors, failed, state, retry_at, now)
    for code in np.unique(state):
        books.move(batch, indices[state == code], JobState.of(int(code)), f"reported by {event.worker}")
    jobs.lease[indices] = 0
    batch.n_success_ever += int(np.count_nonzero(~failed))
    batch.rate.add(now.mono, int(np.count_nonzero(state >= JobState.SUCCEEDED.code)))
    waits = state == JobState.RETRYING.code
    if waits.any():
        batch.delay(indices[waits], retry_at[waits])
    return OutcomesTaken(
        batch.batch_id,
        event.worker,
        positions,
        indices,
        event.generation[positions],
        state,
        errors,
        jobs.attempts[indices] + (~failed).astype(np.int16),
        jobs.deaths[indices],
        retry_at,
        suppressed,
        event.payload,
    )


def _judge_failures(
    books: Books,
    batch: Batch,
    indices: Indices,
    errors: npt.NDArray[np.uint8],
    failed: npt.NDArray[np.bool_],
    state: npt.NDArray[np.uint8],
    retry_at: npt.NDArray[np.float64],
    now: Instant,
) -> None:
    """Fill ``state`` and ``retry_at`` of the failed positions; charge attempts and returns."""
    jobs, policy = batch.jobs, batch.spec.policy
    retry = policy.retry
    returned = failed & (errors == ErrorClass.BREAKER_OPEN)
    charged = failed & ~returned
    jobs.attempts[indices[charged]] += 1
    delays = retry.delays_s(errors[charged], jobs.attempts[indices[charged]], books.rng)
    if batch.stopping is not None:
        delays[:] = -1.0
    state[charged] = np.where(delays >= 0, JobState.RETRYING.code, JobState.FAILED.code)
    retry_at[charged] = np.where(delays >= 0, now.wall + delays, np.nan)
    if returned.any():
        back = indices[returned]
        jobs.returns[back] = np.minimum(jobs.returns[back].astype(np.int64) + 1, 255)
        over = jobs.returns[back] > policy.max_returns
        wait = np.minimum(RETURN_DELAY_S * np.power(2.0, np.minimum(jobs.returns[back], 6)), 60.0)
        stop = over | (batch.stopping is not None)
        state[returned] = np.where(stop, JobState.FAILED.code, JobState.RETRYING.code)
        retry_at[returned] = np.where(stop, np.nan, now.wall + wait)


def _answer_lease(books: Books, event: OutcomesReported, positions: Indices, now: Instant) -> None:
    worker = books.workers.get(event.worker)
    if worker is not None:
        worker.seen_at = now.mono
        worker.n_done += len(positions)
    lease = books.leases.get(event.lease_id)
    if lease is None:
        return
    lease.n_open = len(books.unanswered(lease))
    lease.deadline = max(lease.deadline, now.mono + LEASE_TERM_S)
    if lease.n_open == 0:
        books.close_lease(lease)


def _judge_batch(
    books: Books, batch: Batch, event: OutcomesReported, positions: Indices, now: Instant
) -> list[Effect]:
    """Stop a batch whose every try fails alike, or that failed too often."""
    if batch.stopping is not None or not len(positions):
        return []
    errors = event.error_class[positions]
    failed = np.flatnonzero((errors != ErrorClass.NONE) & (errors != ErrorClass.BREAKER_OPEN))
    if batch.fail_fast_armed and len(failed):
        stop = _one_error_only(batch, event.fingerprint[positions[failed]], errors[failed])
        if stop is not None:
            return begin_stop(books, batch, stop, now)
    limit = batch.spec.policy.max_failure_ratio
    n_failed = batch.jobs.count(JobState.FAILED)
    if limit is not None and batch.sealed and n_failed > limit * len(batch.jobs):
        reason = f"More than {limit:.1%} of the jobs failed (max_failure_ratio); the rest was not run."
        return begin_stop(books, batch, BatchStop(JobState.CANCELLED, BatchState.FAILED, reason, "BatchStopped"), now)
    return []


def _one_error_only(
    batch: Batch, fingerprints: npt.NDArray[np.int64], errors: npt.NDArray[np.uint8]
) -> BatchStop | None:
    if (errors == ErrorClass.VERIFIER_UNUSABLE).any():
        reason = "The verifier could not be loaded or constructed; the rest was not run."
        return BatchStop(JobState.CANCELLED, BatchState.FAILED, reason, "BatchStopped")
    first = int(fingerprints[0])
    if batch.n_success_ever or (fingerprints != first).any() or batch.fingerprint not in (None, first):
        batch.fail_fast_armed = False
        return None
    batch.fingerprint = first
    batch.n_same_fingerprint += len(fingerprints)
    if first == 0 or batch.n_same_fingerprint < batch.spec.policy.fail_fast_after:
        return None
    reason = (
        f"The first {batch.n_same_fingerprint} tries all failed with the same error, so the rest was not run. "
        f"Mend the verifier and submit again, or pass fail_fast=False."
    )
    return BatchStop(JobState.CANCELLED, BatchState.FAILED, reason, "BatchStopped")


def on_committed(books: Books, event: Committed, now: Instant) -> list[Effect]:
    """Rows became durable; a batch whose rows all are has ended."""
    effects: list[Effect] = []
    for batch_id, counts in event.counts:
        batch = books.batches.get(batch_id)
        if batch is None:
            continue
        batch.durable += counts
        effects += end_if_done(books, batch, now)
    return effects

