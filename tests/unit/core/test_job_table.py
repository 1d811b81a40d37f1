"""Jobs are columns, and move only where the table of legal moves lets them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.core.job_table import LEGAL_MOVES, JobTable
from dfbatch.core.states import JobState as S
from dfbatch.errors import IllegalTransition


def array(*indices: int) -> np.ndarray:
    return np.array(indices, np.int64)


def test_all_jobs_begin_queued() -> None:
    jobs = JobTable("b", 3)
    assert len(jobs) == jobs.n_open == jobs.count(S.QUEUED) == 3
    assert jobs.in_states(S.QUEUED).tolist() == [0, 1, 2]
    assert jobs.n_terminal == 0


def test_a_job_takes_sixteen_bytes() -> None:
    assert JobTable("b", 1_000).nbytes == 16_000


def test_counts_follow_every_move() -> None:
    jobs = JobTable("b", 4)
    jobs.move(array(0, 1), S.RUNNING, "leased")
    jobs.move(array(1), S.FAILED, "reported")
    assert {s: jobs.count(s) for s in (S.QUEUED, S.RUNNING, S.FAILED)} == {S.QUEUED: 2, S.RUNNING: 1, S.FAILED: 1}
    assert (jobs.counts == jobs.recount()).all()
    assert jobs.open_indices().tolist() == [0, 2, 3]
    assert jobs.is_terminal(array(0, 1)).tolist() == [False, True]


@pytest.mark.parametrize(("start", "finish"), sorted(set(itertools.product(S, S)) - LEGAL_MOVES))
def test_every_other_move_is_refused_with_its_story(start: S, finish: S) -> None:
    jobs = JobTable("k3f2m9qx", 2)
    jobs.state[:] = start.code
    jobs.counts = jobs.recount()
    with pytest.raises(IllegalTransition, match=f"k3f2m9qx cannot go from {start} to {finish}.*by a test"):
        jobs.move(array(1), finish, "by a test")
    assert (jobs.counts == jobs.recount()).all()
    assert (jobs.state == start.code).all()


def test_only_a_redrive_leaves_an_ended_state_and_success_stays() -> None:
    assert {f for s, f in LEGAL_MOVES if s.is_terminal} == {S.QUEUED}
    assert not any(s is S.SUCCEEDED for s, _ in LEGAL_MOVES)


def test_states_for_the_eye_are_not_for_jobs() -> None:
    shown_only = {S.SCHEDULED, S.PAUSED, S.CANCELLING}
    assert not any(s in shown_only or f in shown_only for s, f in LEGAL_MOVES)


def test_a_move_of_nothing_is_always_legal() -> None:
    jobs = JobTable("b", 1)
    jobs.move(array(), S.PAUSED, "nothing")
    assert not jobs.story


def test_a_stream_grows_and_keeps_what_was_known() -> None:
    jobs = JobTable("b", 2)
    jobs.move(array(1), S.RUNNING, "leased")
    jobs.attempts[1] = 2
    for _ in range(20):
        jobs.grow(3)
    assert len(jobs) == 62
    assert jobs.attempts.tolist() == [0, 2] + [0] * 60
    assert jobs.count(S.QUEUED) == 61
    assert (jobs.counts == jobs.recount()).all()


def test_growing_copies_each_job_only_a_few_times() -> None:
    jobs = JobTable("b", 0)
    buffers = set()
    for _ in range(1_000):
        jobs.grow(10)
        buffers.add(id(jobs.state.base))
    assert len(buffers) < 30
    assert len(jobs) == 10_000


@given(slices=st.lists(st.integers(0, 9), max_size=8))
def test_growth_in_slices_is_growth_at_once(slices: list[int]) -> None:
    jobs = JobTable("b", 1)
    for n in slices:
        jobs.grow(n)
        jobs.generation[-1] += 1
    assert len(jobs) == 1 + sum(slices)
    assert int(jobs.generation.sum()) == len(slices)
