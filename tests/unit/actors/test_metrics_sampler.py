"""The manager samples itself by its clock, and saves the samples behind everything else."""

from __future__ import annotations

from asyncio import run_coroutine_threadsafe

import pyarrow as pa
import pytest

from dfbatch.actors import manager as manager_module
from dfbatch.actors.committer import Pending
from dfbatch.actors.metrics_sampler import MOST_UNSAVED, SAMPLE_S, SAVE_S
from dfbatch.errors import StorageRefused
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.schemas import METRICS
from dfbatch.ledger.storage import open_storage
from dfbatch.testing import InProcess, ManualClock

WAIT_S = 60.0
pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("brisk")]


@pytest.fixture
def clock(monkeypatch):
    """The managers of the test look at it a hundred times a second."""
    monkeypatch.setattr(manager_module, "TICK_S", 0.01)
    return ManualClock()


@pytest.fixture
def saved(ledger_path):
    """Rows of the table ``metrics``, in order of time."""

    def read():
        table = LedgerReader(open_storage(ledger_path)).read("metrics")
        return table.sort_by("at").to_pylist()

    return read


@pytest.fixture
def advance(clock, until):
    """Lets time pass for a life, a sample at a time."""

    def pass_(life, seconds):
        for _ in range(int(seconds / SAMPLE_S)):
            clock.advance(SAMPLE_S)
            until(lambda: life.manager.sampled_at == clock.now().mono)

    return pass_


def test_a_sample_is_taken_every_five_seconds_while_something_happens(life, clock, advance, saved, until, gate):
    one = life(clock=clock, workers=1)
    batch = one.client.map(gate, range(3), queue="scans")
    gate.await_items(1)
    advance(one, 5.0)
    gate.open()
    batch.wait(WAIT_S)
    advance(one, SAVE_S)
    until(lambda: len(saved()) >= 2)
    rows = saved()
    assert {row["queue"] for row in rows} == {"scans"}
    assert (rows[0]["running"] + rows[0]["queued"], rows[0]["batches_running"], rows[0]["workers_running"]) == (3, 1, 1)
    assert rows[0]["submitted_per_s"] == pytest.approx(0.6)
    assert (rows[1]["succeeded"], rows[1]["running"]) == (3, 0)
    assert rows[1]["finished_per_s"] == pytest.approx(0.6)
    assert rows[1]["run_p99_s"] > 0
    assert rows[-1]["finished_per_s"] == 0.0
    assert {row["interval_s"] for row in rows} == {5.0}


def test_a_manager_that_does_nothing_writes_nothing(life, clock, advance, saved, until):
    one = life(clock=clock, workers=(1, 1))
    one.client.map(lambda x: x, [1]).wait(WAIT_S)
    until(lambda: one.client.health()["backlog_rows"] == 0)
    advance(one, SAVE_S)
    until(lambda: saved())
    before = len(saved())
    versions = LedgerReader(one.client._session.storage).snapshot("metrics").version
    advance(one, 2 * SAVE_S)  # by its clock; a worker that is silent for longer would be news
    assert len(saved()) == before
    assert LedgerReader(one.client._session.storage).snapshot("metrics").version == versions


def test_the_present_moment_can_be_seen_at_any_time_and_looking_changes_nothing(life, clock, advance):
    one = life(clock=clock)
    one.client.map(lambda x: x, range(10)).wait(WAIT_S)
    clock.advance(2.0)
    looks = [one.link().call("metrics").to_pylist()[-1] for _ in range(3)]
    assert [row["succeeded"] for row in looks] == [10, 10, 10]
    assert looks[0]["run_p50_s"] == looks[2]["run_p50_s"] is not None
    assert looks[0]["finished_per_s"] == looks[2]["finished_per_s"] == pytest.approx(5.0)
    assert one.link().call("metrics").schema == METRICS.arrow


def test_upkeep_goes_by_the_clock_of_the_manager(life, clock, until):
    one = life(clock=clock)
    begun, seen, writer = clock.now().wall, [], one.manager.committing._writer
    maintain = writer.maintain
    writer.maintain = lambda now_wall: (seen.append(now_wall), maintain(now_wall))[1]
    until(lambda: seen)
    clock.advance(SAMPLE_S)
    until(lambda: seen[-1] != begun)
    assert set(seen) == {begun, begun + SAMPLE_S}


def test_what_was_not_saved_yet_is_saved_at_the_end(ledger_path, clock, saved):
    with InProcess(ledger_path, clock=clock) as client:
        client.map(lambda x: x, range(10), queue="short").wait(WAIT_S)
    (row,) = saved()
    assert (row["queue"], row["succeeded"], row["epoch"]) == ("short", 10, 1)


def test_a_crash_costs_the_samples_since_the_last_save_and_no_count(life, clock, advance, saved, until):
    first = life(clock=clock)
    first.client.map(lambda x: x, range(10)).wait(WAIT_S)
    advance(first, SAVE_S)
    until(lambda: saved())
    before = len(saved())
    first.client.map(lambda x: x, range(5)).wait(WAIT_S)
    advance(first, SAMPLE_S)
    first.crash()
    second = life(clock=clock)
    assert len(saved()) == before
    last = second.link().call("metrics").to_pylist()[-1]
    assert (last["submitted"], last["succeeded"], last["epoch"]) == (15, 15, 2)
    assert last["finished_per_s"] == 0.0, "what was there makes no rate"


def test_samples_wait_in_bounded_memory_while_the_storage_refuses(life, clock, advance, saved, until, refuse, gate):
    one = life(clock=clock)
    writer = refuse(one)
    batch = one.client.map(gate, [1, 2])
    gate.await_items(1)
    writer.refusing.set()
    gate.open()
    until(lambda: one.client.health()["storage_refusing"])
    for k in range(12):
        one.manager.tallies.of("default").retried += 1
        advance(one, SAMPLE_S)
        assert len(one.manager._unsaved) >= k
    assert saved() == []
    assert not batch.done()
    writer.refusing.clear()
    batch.wait(WAIT_S)
    advance(one, SAVE_S)
    until(lambda: len(saved()) >= 12)
    one.manager._unsaved = [pa.table({"k": [k]}) for k in range(2 * MOST_UNSAVED)]
    one.manager.tallies.of("default").retried += 1
    advance(one, SAMPLE_S)
    assert len(one.manager._unsaved) == MOST_UNSAVED


def test_rows_of_low_priority_are_committed_after_the_others(life, refuse, until):
    one = life()
    committed, writer = [], refuse(one)
    commit = writer._writer.commit
    writer._writer.commit = lambda group: (committed.append(set(group.tables)), commit(group))[1]

    async def both():
        one.manager.spawn(one.manager.durable(low_rows()))
        await one.manager.noted("resumed", None, {})

    run_coroutine_threadsafe(both(), one._loop).result(WAIT_S)
    until(lambda: {"metrics"} in committed)
    assert committed.index({"metrics"}) > next(k for k, tables in enumerate(committed) if "events" in tables)


def test_rows_of_low_priority_that_are_refused_are_given_up_and_hold_nobody_up(life, refuse, until):
    one = life()
    until(lambda: one.client.health()["backlog_rows"] == 0)
    writer = refuse(one)
    writer.refusing.set()
    with pytest.raises(StorageRefused):
        run_coroutine_threadsafe(one.manager.durable(low_rows()), one._loop).result(WAIT_S)
    assert one.manager.state.storage_refusing is None, "leasing goes on: no outcome was refused"
    writer.refusing.clear()
    assert one.client.map(lambda x: x, [1]).wait(WAIT_S).done()


def low_rows():
    samples = pa.Table.from_pylist([{"queue": "scans"}], schema=METRICS.arrow)
    return Pending(lambda: {"metrics": samples}, None, low=True)


class Broken:
    """A system of metrics that is down."""

    def __init__(self):
        self.n_asked = 0

    def export(self, rows, tallies):
        self.n_asked += 1
        raise ConnectionError("no agent")


def test_an_exporter_that_fails_costs_no_sample_and_no_orderly_end(ledger_path, clock, saved, until):
    process = InProcess(ledger_path, clock=clock)
    with process as client:
        broken = process.manager.exporter = Broken()
        client.map(lambda x: x, [1]).wait(WAIT_S)
        clock.advance(SAMPLE_S)
        until(lambda: broken.n_asked == 1)
    assert broken.n_asked == 2
    assert saved()[0]["succeeded"] == 1
