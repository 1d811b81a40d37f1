"""Outcomes as rows of the ledger."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.actors.outcome_rows import (
    BatchFacts,
    constant,
    inputs_table_name,
    instants,
    merged,
    outputs_table_name,
    rows_of_decided,
    rows_of_suspects,
    rows_of_taken,
    with_commit_id,
)
from dfbatch.core.effects import OutcomesDecided, OutcomesTaken, SuspectsNoted
from dfbatch.core.error_class import ErrorClass
from dfbatch.core.states import JobState
from dfbatch.ledger.schemas import ATTEMPTS, RESULTS

FACTS = BatchFacts("k3f2m9qx", "map", 3, 1_700_000_000.0, "feedc0de")
SUCCEEDED, FAILED, RETRYING = JobState.SUCCEEDED.code, JobState.FAILED.code, JobState.RETRYING.code


def taken(outcomes, states, classes, positions=None, retry_at=None, attempts=None):
    """What the rules say of a report; everything of it was taken unless ``positions`` says less."""
    places = np.arange(len(outcomes.indices)) if positions is None else np.array(positions)
    n = len(places)
    return OutcomesTaken(
        FACTS.batch_id,
        "w-1",
        places,
        outcomes.indices[places],
        outcomes.generation[places],
        np.array(states, np.uint8),
        np.array(classes, np.uint8),
        np.array(attempts or [1] * n, np.int16),
        np.zeros(n, np.int16),
        np.array(retry_at or [np.nan] * n),
        len(outcomes.indices) - n,
        outcomes,
    )


@pytest.fixture
def outcomes(runner, make_chunk):
    """Four jobs; the second and the fourth failed."""

    def odd_fails(item):
        if item % 2:
            raise ValueError(f"{item} is odd")
        return {"half": item // 2}

    (found,) = runner.run(odd_fails, make_chunk([0, 1, 2, 3], first=10))
    return found


def test_terminal_outcomes_are_results_and_failed_tries_are_attempts(outcomes):
    effect = taken(
        outcomes, [SUCCEEDED, FAILED, SUCCEEDED, RETRYING], [0, ErrorClass.PERMANENT, 0, ErrorClass.TRANSIENT],
        retry_at=[np.nan, np.nan, np.nan, 1_780_000_100.5],
    )  # fmt: skip
    rows = rows_of_taken(FACTS, effect, "node-1")
    results = rows.results.to_pylist()
    assert [(r["job_index"], r["status"], r["error_message"]) for r in results] == [
        (10, "succeeded", None),
        (11, "failed", "1 is odd"),
        (12, "succeeded", None),
    ]
    assert results[0]["job_id"] == "k3f2m9qx-10"
    assert {(r["node"], r["worker_id"], r["priority"], r["verifier_fingerprint"]) for r in results} == {
        ("node-1", "w-1", 3, "feedc0de")
    }
    assert all(r["queued_at"] < r["started_at"] <= r["finished_at"] for r in results)
    attempts = rows.attempts.to_pylist()
    assert [(a["job_index"], a["error_class"], a["error_message"], a["charged"]) for a in attempts] == [
        (11, "permanent", "1 is odd", True),
        (13, "transient", "3 is odd", True),
    ]
    assert [a["retry_at"] and a["retry_at"].timestamp() for a in attempts] == [None, 1_780_000_100.5]


def test_outputs_stand_in_the_table_of_their_type(outcomes):
    effect = taken(outcomes, [SUCCEEDED, FAILED, SUCCEEDED, FAILED], [0, 2, 0, 2])
    rows = rows_of_taken(FACTS, effect, "")
    assert rows.outputs_name == outputs_table_name(pa.struct([("half", pa.int64())]))
    assert set(rows.results.column("outputs").to_pylist()) == {rows.outputs_name}
    assert rows.output.column("output").to_pylist()[0] == {"half": 0}
    assert rows.output.column("job_index").to_pylist() == [10, 11, 12, 13]
    assert rows.output.column_names == ["batch_id", "job_index", "generation", "commit_id", "output"]


def test_only_what_was_taken_becomes_a_row(outcomes):
    rows = rows_of_taken(FACTS, taken(outcomes, [SUCCEEDED, FAILED], [0, 2], positions=[2, 3]), "")
    assert rows.results.column("job_index").to_pylist() == [12, 13]
    assert rows.results.column("error_message").to_pylist() == [None, "3 is odd"]
    assert rows.output.column("job_index").to_pylist() == [12, 13]
    assert rows.output.column("output").to_pylist()[0] == {"half": 1}


def test_a_breaker_that_sent_a_job_back_is_a_try_that_costs_nothing(outcomes):
    effect = taken(outcomes, [RETRYING], [ErrorClass.BREAKER_OPEN], positions=[1], retry_at=[1_780_000_001.0])
    rows = rows_of_taken(FACTS, effect, "")
    assert rows.results is None
    assert rows.output is None
    assert rows.attempts.column("charged").to_pylist() == [False]


def test_a_report_of_successes_alone_has_no_attempts(outcomes):
    rows = rows_of_taken(FACTS, taken(outcomes, [SUCCEEDED], [0], positions=[0]), "")
    assert rows.attempts is None
    assert rows.results.column("traceback").to_pylist() == [None]


def test_the_columns_are_those_of_the_ledger_in_their_order(outcomes):
    rows = rows_of_taken(FACTS, taken(outcomes, [SUCCEEDED, FAILED, SUCCEEDED, FAILED], [0, 2, 0, 2]), "n")
    for table, schema in ((rows.results, RESULTS.arrow), (rows.attempts, ATTEMPTS.arrow)):
        assert table.column_names == schema.names
        table.cast(schema)


def test_outcomes_that_no_worker_reported():
    effect = OutcomesDecided(
        "k3f2m9qx", np.array([4, 7]), np.array([0, 1], np.int16), JobState.CANCELLED, np.array([0, 2], np.int16),
        np.array([0, 1], np.int16), "", "Cancelled by the user.",
    )  # fmt: skip
    table = rows_of_decided(FACTS, effect, None, 1_780_000_050.25).results
    assert table.column_names == RESULTS.arrow.names
    first, second = table.to_pylist()
    assert (first["job_id"], first["status"], first["error_type"], first["error_message"]) == (
        "k3f2m9qx-4", "cancelled", None, "Cancelled by the user.",
    )  # fmt: skip
    assert (second["generation"], second["attempts"], second["worker_deaths"]) == (1, 2, 1)
    assert first["finished_at"].timestamp() == 1_780_000_050.25
    assert first["started_at"] is None


def test_suspects_are_noted_without_a_charge():
    effect = SuspectsNoted(
        "k3f2m9qx", np.array([5]), np.array([0], np.int16), np.array([1], np.int16), np.array([2], np.int16), "w-1",
        "killed by signal 9",
    )  # fmt: skip
    table = rows_of_suspects(FACTS, effect, "node-1", 1_780_000_000.0).attempts
    assert table.column_names == ATTEMPTS.arrow.names
    (row,) = table.to_pylist()
    assert (row["charged"], row["suspect"], row["worker_deaths"], row["error_type"]) == (False, True, 2, "WorkerCrash")
    assert "killed by signal 9" in row["error_message"]


def test_tables_of_one_kind_become_one_whatever_their_encoding():
    plain, coded, nothing = (
        pa.table({"a": ["x"]}),
        pa.table({"a": constant("y", 2)}),
        pa.table({"a": constant(None, 1)}),
    )
    assert merged([plain, coded, nothing]).column("a").to_pylist() == ["x", "y", "y", None]
    assert merged([coded, coded]).column("a").to_pylist() == ["y"] * 4
    assert merged([plain]) is plain


def test_the_number_of_a_commit_takes_the_place_that_was_kept_for_it():
    table = pa.table({"a": [1], "commit_id": pa.nulls(1, pa.int64()), "b": [2]})
    assert with_commit_id(table, 77).to_pylist() == [{"a": 1, "commit_id": 77, "b": 2}]


def test_every_schema_has_a_table_of_its_own():
    one, two = pa.schema([("a", pa.int64())]), pa.schema([("a", pa.float64())])
    assert inputs_table_name(one) == inputs_table_name(pa.schema([("a", pa.int64())]))
    assert inputs_table_name(one) != inputs_table_name(two)
    assert outputs_table_name(pa.struct(one)) != outputs_table_name(pa.struct(two))


@given(st.lists(st.floats(0, 4e9) | st.just(float("nan")), max_size=5))
def test_instants_are_exact_to_the_microsecond_and_nan_is_null(walls):
    column = instants(np.array(walls, np.float64))
    for wall, micros in zip(walls, column.cast(pa.int64()).to_pylist(), strict=True):
        assert micros is None if wall != wall else abs(micros / 1e6 - wall) <= 1e-6
