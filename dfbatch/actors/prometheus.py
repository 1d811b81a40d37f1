"""Samples as metrics of Ray, on the Prometheus endpoint of the manager's node; Ray puts ``ray_`` before the names.

Updated once a sample, never per job. Labels are the ledger, the queue and a state: no batch, job or worker. Durations
are cumulative buckets like those of a Prometheus histogram, set as gauges, because Ray's own histogram would take a
call for each job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from dfbatch.core.metrics import ENDED_JOB_STATES, OPEN_BATCH_STATES, OPEN_JOB_STATES, WORKER_STATES, Tallies

JOB_BUCKETS_S = (0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0)
MOST_QUEUES = 100
"""Queues beyond the first so many are left out: names of queues are the user's, and every one makes dozens of series.
``client.metrics()`` has them all."""

HELP = {
    "dfbatch_jobs": "Jobs without an outcome, by state.",
    "dfbatch_batches": "Batches that have not ended, by state.",
    "dfbatch_oldest_waiting_seconds": "Age of the work that waits longest.",
    "dfbatch_jobs_submitted": "Jobs accepted into the ledger.",
    "dfbatch_jobs_finished": "Outcomes that are durable, by status.",
    "dfbatch_jobs_retried": "Tries that failed and come again.",
    "dfbatch_jobs_returned": "Tries that an open circuit breaker sent back.",
    "dfbatch_job_seconds_bucket": "Tries that took at most so long: cumulative, by upper bound.",
    "dfbatch_job_seconds_count": "Tries.",
    "dfbatch_job_seconds_sum": "Seconds that all tries took.",
    "dfbatch_workers": "Workers by state.",
    "dfbatch_breakers_open": "Circuit breakers that are open, over all workers.",
    "dfbatch_backlog_rows": "Rows that wait for the ledger.",
    "dfbatch_commit_seconds": "Time that commits to the ledger took since the last sample, by quantile.",
    "dfbatch_duplicates_suppressed": "Outcomes that came twice and were counted once.",
    "dfbatch_worker_deaths": "Workers that died.",
}


class Point(NamedTuple):
    """One value of one series. That of a counter is its total."""

    kind: Literal["gauge", "counter"]
    name: str
    labels: dict[str, str]
    value: float


def points(rows: Sequence[Mapping[str, Any]], tallies: Tallies) -> Iterator[Point]:
    """Every value that a sample says, without the label of the ledger."""
    for row in rows:
        queue = row["queue"]
        labels = {"queue": queue}
        for state in OPEN_JOB_STATES:
            yield Point("gauge", "dfbatch_jobs", {**labels, "state": state}, row[state])
        for state in OPEN_BATCH_STATES:
            yield Point("gauge", "dfbatch_batches", {**labels, "state": state}, row[f"batches_{state}"])
        yield Point("gauge", "dfbatch_oldest_waiting_seconds", labels, row["oldest_waiting_s"] or 0.0)
        for status in ENDED_JOB_STATES:
            yield Point("counter", "dfbatch_jobs_finished", {**labels, "status": status}, row[status])
        for what in ("submitted", "retried", "returned"):
            yield Point("counter", f"dfbatch_jobs_{what}", labels, row[what])
        run = tallies.of(queue).run.ever
        for bound in JOB_BUCKETS_S:
            le = {**labels, "le": f"{bound:g}"}
            yield Point("gauge", "dfbatch_job_seconds_bucket", le, run.count_below(bound))
        yield Point("gauge", "dfbatch_job_seconds_bucket", {**labels, "le": "+Inf"}, len(run))
        yield Point("gauge", "dfbatch_job_seconds_count", labels, len(run))
        yield Point("gauge", "dfbatch_job_seconds_sum", labels, run.sum)
    if rows:
        yield from _of_manager(rows[0])


def _of_manager(row: Mapping[str, Any]) -> Iterator[Point]:
    for state in WORKER_STATES:
        yield Point("gauge", "dfbatch_workers", {"state": state}, row[f"workers_{state}"])
    yield Point("gauge", "dfbatch_breakers_open", {}, row["breakers_open"])
    yield Point("gauge", "dfbatch_backlog_rows", {}, row["backlog_rows"])
    for quantile, column in (("0.5", "commit_p50_s"), ("0.99", "commit_p99_s")):
        yield Point("gauge", "dfbatch_commit_seconds", {"quantile": quantile}, row[column] or 0.0)
    yield Point("counter", "dfbatch_duplicates_suppressed", {}, row["duplicates_suppressed"])
    yield Point("counter", "dfbatch_worker_deaths", {}, row["worker_deaths"])


class PrometheusExporter:
    """Sets the metrics of Ray in this process, which must be part of a Ray cluster."""

    def __init__(self, storage_path: str) -> None:
        self._ledger = ledger_label(storage_path)
        self._queues: set[str] = set()
        self._metrics: dict[str, Any] = {}
        self._totals: dict[tuple[str, ...], float] = {}

    def export(self, rows: Sequence[Mapping[str, Any]], tallies: Tallies) -> None:
        """See ``metrics_sampler.Exporter``."""
        for row in rows:
            if len(self._queues) < MOST_QUEUES:
                self._queues.add(row["queue"])
        for point in points([row for row in rows if row["queue"] in self._queues], tallies):
            labels = {"ledger": self._ledger, **point.labels}
            metric = self._metric(point, tuple(labels))
            if point.kind == "gauge":
                metric.set(point.value, labels)
            else:
                key = (point.name, *labels.values())
                more = point.value - self._totals.get(key, 0.0)
                if more > 0:
                    self._totals[key] = point.value
                    metric.inc(more, labels)

    def _metric(self, point: Point, label_names: tuple[str, ...]) -> Any:
        metric = self._metrics.get(point.name)
        if metric is None:
            from ray.util.metrics import Counter, Gauge

            kind = Gauge if point.kind == "gauge" else Counter
            metric = self._metrics[point.name] = kind(point.name, HELP[point.name], label_names)
        return metric


def ledger_label(storage_path: str) -> str:
    """The storage path without what may be secret in a URI: user, password and query."""
    scheme, separator, rest = storage_path.partition("://")
    if not separator:
        return storage_path
    place = rest.partition("?")[0]
    host, slash, path = place.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
