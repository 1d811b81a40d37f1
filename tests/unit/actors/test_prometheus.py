"""Names, labels and values as Prometheus wants them. ``tests/cluster/test_metrics.py`` has the endpoint itself."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dfbatch.actors.prometheus import HELP, JOB_BUCKETS_S, ledger_label, points
from dfbatch.core.batch import BatchSpec
from dfbatch.core.events import BatchSubmitted
from dfbatch.core.instant import Instant
from dfbatch.core.manager import ManagerState
from dfbatch.core.metrics import Surroundings, Tallies, sample_rows
from dfbatch.core.states import JobState

NOW = Instant(1.7e9, 1_000.0)


@pytest.fixture
def values():
    """Of a queue with five jobs waiting, and three that took 0.05 s, 2 s and 400 s."""
    state, tallies = ManagerState(epoch=1), Tallies()
    state.handle(BatchSubmitted(BatchSpec("k3f2m9qx", 5, queue="scans", submitted_at=1.7e9 - 60.0)), NOW)
    codes = np.array([JobState.SUCCEEDED.code] * 2 + [JobState.FAILED.code], np.uint8)
    tallies.taken("scans", codes, np.array([0, 0, 2], np.uint8), 1.7e9, np.full(3, 1.7e9), np.array([0.05, 2.0, 400.0]))
    tallies.durable("scans", np.bincount(codes, minlength=len(JobState)))
    found = list(points(sample_rows(state, tallies, Surroundings(backlog_rows=7), 990.0, NOW), tallies))
    return found, {(p.name, *sorted(p.labels.items())): p.value for p in found}


def test_values_are_those_of_the_sample(values):
    _, by_series = values
    scans = ("queue", "scans")
    assert by_series["dfbatch_jobs", scans, ("state", "queued")] == 5
    assert by_series["dfbatch_jobs_finished", scans, ("status", "succeeded")] == 2
    assert by_series["dfbatch_jobs_finished", scans, ("status", "failed")] == 1
    assert by_series["dfbatch_oldest_waiting_seconds", scans] == pytest.approx(60.0)
    assert by_series[("dfbatch_backlog_rows",)] == 7


def test_buckets_are_cumulative_and_agree_with_count_and_sum(values):
    _, by_series = values
    scans = ("queue", "scans")
    bounds = [*(f"{bound:g}" for bound in JOB_BUCKETS_S), "+Inf"]
    counts = [by_series["dfbatch_job_seconds_bucket", ("le", bound), scans] for bound in bounds]
    assert counts == [0, 0, 1, 1, 1, 2, 2, 2, 2, 3]
    assert by_series["dfbatch_job_seconds_count", scans] == 3
    assert by_series["dfbatch_job_seconds_sum", scans] == pytest.approx(402.05)


def test_names_and_labels_keep_the_conventions_and_are_bounded(values):
    found, by_series = values
    assert {point.name for point in found} == set(HELP)
    assert len(by_series) == len(found), "no series twice"
    for point in found:
        assert re.fullmatch(r"dfbatch_[a-z_]+", point.name)
        assert not point.name.endswith(("_s", "_total")), "units are whole words; Ray adds _total to counters"
        assert set(point.labels) <= {"queue", "state", "status", "le", "quantile"}
        assert "k3f2m9qx" not in str(point)
        assert np.isfinite(point.value)


def test_a_ledger_without_queues_has_nothing_to_tell():
    assert list(points([], Tallies())) == []


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/data/ledger", "/data/ledger"),
        ("s3://bucket/ledger", "s3://bucket/ledger"),
        ("s3://key:secret@bucket/ledger?secret_key=x", "s3://bucket/ledger"),
        ("gs://bucket", "gs://bucket"),
    ],
)
def test_the_label_of_the_ledger_holds_no_secret(path, label):
    assert ledger_label(path) == label
