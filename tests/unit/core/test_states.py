"""Facts about a state live on the state."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dfbatch.core.states import FIRST_TERMINAL_CODE, BatchState, JobState, WorkerState

# The words of the glossary; scripts and stored tables depend on them.
JOB = "queued scheduled running retrying paused cancelling | succeeded failed cancelled expired"
BATCH = "submitting queued running paused stalled cancelling | succeeded partial failed cancelled expired"
WORKER = "starting idle running draining breaker_open | lost stopped"


@pytest.mark.parametrize(("enum", "words"), [(JobState, JOB), (BatchState, BATCH), (WorkerState, WORKER)])
def test_the_states_and_which_of_them_are_terminal(
    enum: type[JobState] | type[BatchState] | type[WorkerState], words: str
) -> None:
    alive, terminal = (part.split() for part in words.split("|"))
    assert [str(state) for state in enum] == alive + terminal
    assert [str(state) for state in enum if state.is_terminal] == terminal


@pytest.mark.parametrize("state", list(JobState))
def test_a_job_state_comes_back_from_its_code(state: JobState) -> None:
    assert JobState.of(state.code) is state


def test_one_comparison_tells_terminal_jobs_in_a_column() -> None:
    codes = np.array([state.code for state in JobState], dtype=np.int8)
    assert (codes >= FIRST_TERMINAL_CODE).tolist() == [state.is_terminal for state in JobState]


@pytest.mark.parametrize("state", [*JobState, *BatchState, *WorkerState])
def test_a_state_is_its_word(state: JobState | BatchState | WorkerState) -> None:
    assert state == state.value == str(state) == f"{state}"
    assert json.loads(json.dumps({"status": state})) == {"status": state.value}
    assert type(state)(state.value) is state
