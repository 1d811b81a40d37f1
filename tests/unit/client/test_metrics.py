"""``client.metrics()`` and ``client.workers()``: what an analyst gets, from a client with a manager and without."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest

import dfbatch
from dfbatch.actors import metrics_sampler
from dfbatch.actors.messages import Hello
from dfbatch.client.client import Client
from dfbatch.client.metrics import each_once, since_when
from dfbatch.clock import ManualClock
from dfbatch.core.states import JobState
from dfbatch.errors import InvalidInput
from dfbatch.ledger.schemas import METRICS
from dfbatch.ledger.storage import open_storage
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

WAIT_S = 60.0
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "begin"),
    [
        (None, None),
        (90, NOW - timedelta(seconds=90)),
        (0.5, NOW - timedelta(seconds=0.5)),
        (timedelta(hours=2), NOW - timedelta(hours=2)),
        (datetime(2026, 3, 1, 13, 0, tzinfo=timezone(timedelta(hours=1))), NOW),
        (1e18, None),  # longer ago than there are dates
    ],
)
def test_since_is_an_instant_or_how_long_ago(since: Any, begin: datetime | None) -> None:
    assert since_when(since, NOW) == begin


@pytest.mark.parametrize(
    "since", [NOW.replace(tzinfo=None), -1, True, float("nan"), float("inf"), "1h", timedelta(-1), [5], b"5"]
)
def test_what_is_no_time_is_refused_with_what_would_be_one(since: Any) -> None:
    with pytest.raises(InvalidInput, match="Give an aware datetime, a timedelta, or seconds before now"):
        since_when(since, NOW)


@pytest.fixture
def last_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A manager takes one sample, at its end, however long it lives."""
    monkeypatch.setattr(metrics_sampler, "SAMPLE_S", 3600.0)


@pytest.mark.usefixtures("last_only")
def test_the_table_has_a_row_for_each_queue_and_columns_for_every_state(ledger_path: Any) -> None:
    with InProcess(ledger_path) as client:
        assert client.metrics().equals(METRICS.arrow.empty_table()), "nothing happened yet"
        client.map(lambda x: x, range(30), queue="scans").wait(WAIT_S)
        client.map(lambda x: 1 / x, [0, 1], queue="clips").wait(WAIT_S)
        table = client.metrics()
        assert table.schema == METRICS.arrow
        assert set(JobState) <= set(table.column_names)
        rows = {row["queue"]: row for row in table.to_pylist()}
        assert (rows["scans"]["submitted"], rows["scans"]["succeeded"], rows["scans"]["failed"]) == (30, 30, 0)
        assert (rows["clips"]["submitted"], rows["clips"]["succeeded"], rows["clips"]["failed"]) == (2, 1, 1)
        assert rows["scans"]["wait_p99_s"] >= rows["scans"]["run_p50_s"] > 0
        assert rows["scans"]["workers_idle"] + rows["scans"]["workers_running"] >= 1
        assert client.metrics(since=timedelta(seconds=0)).num_rows <= table.num_rows
        assert len(client.metrics(since=datetime.now(UTC) + timedelta(days=1))) == 0


@pytest.mark.usefixtures("last_only")
def test_samples_are_there_for_the_next_client_and_for_one_that_only_reads(ledger_path: Any) -> None:
    for n in (3, 4):
        with InProcess(ledger_path) as client:
            client.map(lambda x: x, range(n)).wait(WAIT_S)
    with InProcess(ledger_path) as owner:
        reader = Client(None, open_storage(ledger_path), mode="read_only")
        saved = reader.metrics()
        assert saved.column("succeeded").to_pylist() == [3, 7]
        assert saved.column("epoch").to_pylist() == [1, 2]
        seen = owner.metrics()
        assert seen.column("epoch").to_pylist() == [1, 2, 3], "and the present moment"
        assert seen.slice(0, 2).equals(saved)
        at = seen.column("at").to_pylist()
        assert at == sorted(at)
        assert owner.metrics(since=at[1]).column("epoch").to_pylist() == [2, 3]


def test_a_sample_that_is_in_the_ledger_and_in_memory_is_there_once() -> None:
    def samples(*rows: tuple[int, str]) -> pa.Table:
        given = [{"at": NOW + timedelta(seconds=k), "queue": queue, "epoch": 1, "queued": k} for k, queue in rows]
        return pa.Table.from_pylist(given, schema=METRICS.arrow)

    saved, live = samples((5, "b"), (5, "a"), (0, "a"), (5, "b")), samples((5, "a"), (10, "a"))
    found = each_once(saved, live)
    assert list(zip(found["queued"].to_pylist(), found["queue"].to_pylist(), strict=True)) == [
        (0, "a"), (5, "a"), (5, "b"), (10, "a"),
    ]  # fmt: skip


def test_a_ledger_of_an_older_version_has_no_samples_and_no_error(ledger_path: Any) -> None:
    ledger_path.mkdir()
    assert Client(None, open_storage(ledger_path), mode="read_only").metrics().equals(METRICS.arrow.empty_table())


def test_pandas_can_plot_it(ledger_path: Any) -> None:
    pytest.importorskip("pandas")
    with InProcess(ledger_path) as client:
        client.map(lambda x: x, range(3)).wait(WAIT_S)
        frame = client.metrics().to_pandas()
        assert frame.pivot_table(index="at", columns="queue", values="finished_per_s")["default"].max() > 0


class TestWorkers:
    """Each column, end to end."""

    def test_of_one_that_works(self, ledger_path: Any, gate: Any, until_seen: Any) -> None:
        clock = ManualClock()
        with InProcess(ledger_path, workers=1, clock=clock) as client:
            begin = datetime.now(UTC)
            batch = client.map(gate, ["a", "b"], queue="scans")
            gate.await_items(1)
            worker = until_seen(client, lambda w: w["current_job"] is not None)
            assert (worker["state"], worker["current_job"]) == ("running", f"{batch.id}-0")
            assert begin <= worker["current_since"] <= datetime.now(UTC)
            assert worker["memory_bytes"] > 10_000_000
            assert worker["pid"] > 0
            assert worker["node"]
            assert (worker["queues"], worker["restarts"], worker["breakers"]) == (None, 0, [])
            assert worker["leases"] >= 1
            assert not worker["idle_but_backlog"]
            clock.advance(1.0)
            gate.open()
            batch.wait(WAIT_S)
            worker = until_seen(client, lambda w: w["state"] == "idle")
            assert (worker["current_job"], worker["current_since"], worker["jobs_done"]) == (None, None, 2)
            assert worker["rate_per_s"] == pytest.approx(2.0)

    def test_of_one_that_could_work_and_does_not(self, ledger_path: Any, until_seen: Any) -> None:
        """It says hello and never asks for what is queued for it."""
        clock = ManualClock()
        with InProcess(ledger_path, workers=(0, 0), clock=clock) as client:
            client._session.call(
                "hello", Hello("sleeper", "1", "default", "node", 4_711, dfbatch.__version__, ("scans",))
            )
            client.map(lambda x: x, [1], queue="clips")
            for _ in range(4):
                clock.advance(2.0)
                until_seen(client, lambda w: True)
            assert not client.workers()[0]["idle_but_backlog"], "nothing is queued that it may take"
            client.map(lambda x: x, [1], queue="scans")

            def told(worker: dict[str, Any]) -> bool:
                clock.advance(0.2)
                return bool(worker["idle_but_backlog"])

            worker = until_seen(client, told)
            assert (worker["state"], worker["queues"], worker["pid"]) == ("idle", ["scans"], 4_711)
            (problem,) = [p for p in client.health().problems if "Idle" in p]
            assert "sleeper" in problem

    @pytest.fixture
    def until_seen(self) -> Any:
        def look(client: dfbatch.Client, condition: Any) -> dict[str, Any]:
            until = time.monotonic() + WAIT_S
            while True:
                for worker in client.workers():
                    if condition(worker):
                        return worker
                assert time.monotonic() < until, client.workers()
                time.sleep(0.01)

        return look


def test_metrics_are_plain_json_on_request(ledger_path: Any) -> None:
    with InProcess(ledger_path) as client:
        client.map(lambda x: x, range(3)).wait(WAIT_S)
        assert isinstance(client.metrics(), pa.Table)
        json.dumps(client.metrics().drop_columns(["at"]).to_pylist())
