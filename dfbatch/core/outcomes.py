"""What becomes of reported outcomes: taken once, retried by policy, or suppressed as repeats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dfbatch.core.batch import LONGEST_RETURN_S, RETURN_DELAY_S, Batch, BatchStop
from dfbatch.core.books import LEASE_TERM_S, Books
from dfbatch.core.effects import Effect, OutcomesTaken, WorkAvailable
from dfbatch.core.ending import UNUSABLE, end_if_done, stop_by_rule, stop_if_too_many_failed
from dfbatch.core.error_class import ErrorClass
from dfbatch.core.events import Committed, OutcomesReported
from dfbatch.core.instant import Instant
from dfbatch.core.job_table import NO_LEASE
from dfbatch.core.ready import Indices
from dfbatch.core.retry import GIVE_UP
from dfbatch.core.states import FIRST_TERMINAL_CODE, BatchState, JobState

_SETTLED = np.isin(np.arange(256), [ErrorClass.NONE, ErrorClass.PERMANENT, ErrorClass.VERIFIER_UNUSABLE])
"""By error class: outcomes after which there is no other try, whatever the policy."""


def on_reported(books: Books, event: OutcomesReported, now: Instant) -> list[Effect]:
    """Take each outcome iff its generation has no terminal state and no other live lease, and it is no repeat."""
    batch = books.batches.get(event.batch_id)
    if batch is None:
        books.duplicates_suppressed += len(event.indices)
        return []
    event = _without_blame(batch, event)
    positions = _acceptable(batch, event)
    suppressed = len(event.indices) - len(positions)
    books.duplicates_suppressed += suppressed
    effects: list[Effect] = []
    failed_before = batch.jobs.count(JobState.FAILED)
    if len(positions):
        effects.append(_take(books, batch, event, positions, suppressed, now))
    _answer_lease(books, event, positions, now)
    batch.sizer.observe(len(event.indices), event.busy_s)
    books.place(batch, now)
    if batch.jobs.count(JobState.FAILED) > failed_before:
        effects += _judge_batch(books, batch, event, positions, now)
    if books.queue(batch.spec.queue).policy.concurrency is not None:
        effects.append(WorkAvailable())
    return effects + end_if_done(books, batch, now)


def _without_blame(batch: Batch, event: OutcomesReported) -> OutcomesReported:
    """Where others could construct the verifier and this worker cannot, the items go back: it is not their fault."""
    unusable = event.error_class == ErrorClass.VERIFIER_UNUSABLE
    if not batch.n_success_ever or not unusable.any():
        return event
    error_class = np.where(unusable, np.uint8(ErrorClass.BREAKER_OPEN), event.error_class).astype(np.uint8)
    return replace(event, error_class=error_class)


def _acceptable(batch: Batch, event: OutcomesReported) -> Indices:
    """Positions of the report that count.

    A job whose lease ended without an outcome takes one from whoever had it. A try
    that will be repeated is charged once: not again when its report is sent again.
    """
    jobs, indices = batch.jobs, event.indices
    positions = np.arange(len(indices))
    if (np.diff(indices) <= 0).any() or (len(indices) and not 0 <= indices[0] <= indices[-1] < len(jobs)):
        _, positions = np.unique(indices, return_index=True)
        positions = np.sort(positions)
        positions = positions[(indices[positions] >= 0) & (indices[positions] < len(jobs))]
        indices = indices[positions]
    own = jobs.lease[indices]
    taken = ~jobs.is_terminal(indices) & (jobs.generation[indices] == event.generation[positions])
    taken &= (own == event.lease_id) | (own == NO_LEASE) | ((own < 0) & _SETTLED[event.error_class[positions]])
    return np.asarray(positions[taken])


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
    _move(books, batch, indices, state, f"reported by {event.worker}")
    jobs.lease[indices] = np.where(state == JobState.RETRYING.code, -event.lease_id, NO_LEASE)
    batch.clear_suspicion(indices)
    if batch.cancel_asked:
        batch.cancel_asked.difference_update(indices.tolist())
    if not failed.all():
        batch.n_success_ever += int(np.count_nonzero(~failed))
        batch.n_deaths_constructing = 0
    batch.rate.add(now.mono, int(np.count_nonzero(state >= FIRST_TERMINAL_CODE)))
    waits = state == JobState.RETRYING.code
    if waits.any():
        batch.delay(indices[waits], now.mono + (retry_at[waits] - now.wall))
    all_returned = bool((errors == ErrorClass.BREAKER_OPEN).all())
    if not all_returned or batch.resting_since is None:
        batch.resting_since = now.mono if all_returned else None
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


def _move(books: Books, batch: Batch, indices: Indices, state: npt.NDArray[np.uint8], cause: str) -> None:
    for code in np.unique(state):
        here, to = indices[state == code], JobState.of(int(code))
        books.move(batch, here, to, cause)
        if to.is_terminal and to is not JobState.SUCCEEDED:
            batch.await_rows(here, to)


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
    jobs, policy, stop = batch.jobs, batch.spec.policy, batch.stopping
    returned = failed & (errors == ErrorClass.BREAKER_OPEN)
    charged = failed & ~returned
    jobs.attempts[indices[charged]] += 1
    delays = policy.retry.delays_s(errors[charged], jobs.attempts[indices[charged]], books.rng)
    unwanted = np.full(len(indices), stop is not None)
    if batch.cancel_asked:
        unwanted |= np.isin(indices, list(batch.cancel_asked))
    delays[unwanted[charged]] = GIVE_UP
    state[charged] = np.where(delays >= 0, JobState.RETRYING.code, JobState.FAILED.code)
    retry_at[charged] = np.where(delays >= 0, now.wall + delays, np.nan)
    if returned.any():
        back = indices[returned]
        jobs.returns[back] = np.minimum(jobs.returns[back].astype(np.int64) + 1, 255)
        wait = np.minimum(RETURN_DELAY_S * np.power(2.0, np.minimum(jobs.returns[back], 6)), LONGEST_RETURN_S)
        over, dropped = jobs.returns[back] > policy.max_returns, unwanted[returned]
        # It was not tried, so a batch that stops decides what becomes of it.
        stopped_as = JobState.CANCELLED if stop is None else stop.job_state
        choices = [stopped_as.code, JobState.FAILED.code]
        state[returned] = np.select([dropped, over], choices, JobState.RETRYING.code)
        retry_at[returned] = np.where(dropped | over, np.nan, now.wall + wait)


def _answer_lease(books: Books, event: OutcomesReported, positions: Indices, now: Instant) -> None:
    worker = books.workers.get(event.worker)
    if worker is not None:
        worker.seen_at = now.mono
        worker.n_done += len(positions)
        worker.rate.add(now.mono, len(positions))
    lease = books.leases.get(event.lease_id)
    if lease is None:
        return
    lease.n_open = len(books.unanswered(lease))
    lease.deadline = max(lease.deadline, now.mono + LEASE_TERM_S)
    if lease.n_open == 0:
        books.close_lease(lease)


def _judge_batch(books: Books, batch: Batch, event: OutcomesReported, positions: Indices, now: Instant) -> list[Effect]:
    """Stop a batch whose every try fails alike, or that failed too often. Failures that are retried do not count."""
    ended = batch.jobs.state[event.indices[positions]] == JobState.FAILED.code
    errors = event.error_class[positions]
    failed = np.flatnonzero(ended & (errors != ErrorClass.BREAKER_OPEN))
    if batch.fail_fast_armed and len(failed):
        stop = _one_error_only(batch, event.fingerprint[positions[failed]], errors[failed])
        if stop is not None:
            return stop_by_rule(books, batch, stop, now)
    return stop_if_too_many_failed(books, batch, now)


def _one_error_only(
    batch: Batch, fingerprints: npt.NDArray[np.int64], errors: npt.NDArray[np.uint8]
) -> BatchStop | None:
    if batch.n_success_ever:
        batch.fail_fast_armed = False
        return None
    if (errors == ErrorClass.VERIFIER_UNUSABLE).any():
        return BatchStop(JobState.CANCELLED, BatchState.FAILED, UNUSABLE, "BatchStopped")
    first = int(fingerprints[0])
    if (fingerprints != first).any() or batch.fingerprint not in (None, first):
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
        batch.rows_written(counts)
        effects += end_if_done(books, batch, now)
    return effects
