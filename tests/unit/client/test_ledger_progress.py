"""Progress read from the ledger agrees with what the manager said."""

import threading
import time

import pytest

from dfbatch.client import ledger_progress as ledger_progress_module
from dfbatch.client.ledger_progress import batch_row, ledger_progress
from dfbatch.core.states import BatchState
from dfbatch.errors import UnknownId
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.storage import open_storage
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

WAIT_S = 60.0


@pytest.fixture(scope="module")
def process(module_ledger_path):
    found = InProcess(module_ledger_path)
    with found:
        yield found


@pytest.fixture
def client(process):
    return process.client


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """The end is looked for however slow the machine is."""
    monkeypatch.setattr(ledger_progress_module, "END_S", WAIT_S)


@pytest.fixture
def reader(client):
    """Another reader, as of another process."""
    return LedgerReader(open_storage(client.storage_path))


def picky(item):
    if item % 4 == 0:
        raise KeyError(item)
    return item


def test_an_ended_batch_is_told_alike(client, reader):
    batch = client.map(picky, range(8), name="picky", queue="q")
    said = batch.wait(WAIT_S).progress()
    read = ledger_progress(reader, batch.id)
    assert (read.batch_id, read.name, read.status, read.queue) == (batch.id, "picky", BatchState.PARTIAL, "q")
    assert read.counts == said.counts == {"succeeded": 6, "failed": 2}
    assert read.total == said.total == 8
    assert read.errors == said.errors == {"KeyError": 2}
    assert read.done == 8
    assert read.elapsed_s == pytest.approx(said.elapsed_s, abs=1.0)


@pytest.fixture
def end_on_its_way(process, monkeypatch):
    """The ledger hears of the ends of batches only when this is set."""
    writer, may_end = process.manager.committing._writer, threading.Event()
    commit = writer.commit

    def hold(group):
        events = group.tables.get("events")
        if events is not None and "batch_finished" in events["kind"].to_pylist():
            assert may_end.wait(WAIT_S)
        commit(group)

    monkeypatch.setattr(writer, "commit", hold)
    yield may_end
    may_end.set()


def test_a_batch_whose_outcomes_are_all_there_is_asked_again_until_its_end_is_there_too(
    client, reader, end_on_its_way, monkeypatch
):
    read, asked = reader.read, []

    def ask(name, **what):
        found = read(name, **what)
        if what.get("columns") == ["kind"]:
            asked.append(found.num_rows)
            end_on_its_way.set()
        return found

    monkeypatch.setattr(reader, "read", ask)
    batch = client.map(picky, range(8)).wait(WAIT_S)
    found = ledger_progress(reader, batch.id)
    assert (asked[0], asked[-1]) == (0, 1)
    assert (found.status, found.counts) == (BatchState.PARTIAL, {"succeeded": 6, "failed": 2})


def test_a_manager_that_does_not_come_to_write_the_end_down_is_not_waited_for(
    client, reader, end_on_its_way, monkeypatch
):
    monkeypatch.setattr(ledger_progress_module, "END_S", 0.0)
    batch = client.map(picky, range(8)).wait(WAIT_S)
    read = ledger_progress(reader, batch.id)
    assert (read.status, read.counts) == (BatchState.RUNNING, {"succeeded": 6, "failed": 2})


def test_a_batch_that_was_redriven_is_not_asked_again_though_every_job_has_an_outcome(client, reader, make_gate):
    gate = make_gate(is_open=True)
    batch = client.map(lambda x: gate(x) / 0, [1], fail_fast=False).wait(WAIT_S)
    assert ledger_progress(reader, batch.id).status == BatchState.PARTIAL
    gate.close()
    begun = time.monotonic()
    assert batch.retry_failed() == 1
    assert ledger_progress(reader, batch.id).status == BatchState.RUNNING
    assert time.monotonic() - begun < WAIT_S
    gate.open()
    batch.wait(WAIT_S)


def test_a_running_batch_counts_what_is_committed(client, reader, make_gate):
    gate = make_gate()
    client.queue("running").set_policy(concurrency=1)  # each item is reported before the next one begins
    batch = client.map(lambda x: x if x < 3 else gate(x), range(5), queue="running")
    gate.await_items()
    rows = batch.iter_results()
    for _ in range(3):
        next(rows)
    read = ledger_progress(reader, batch.id)
    assert not read.status.is_terminal
    assert read.counts == {"succeeded": 3, "queued": 2}
    assert read.total == 5
    gate.open()
    batch.wait(WAIT_S)


def test_an_unknown_batch_is_said_to_be_unknown(reader):
    with pytest.raises(UnknownId, match=r"There is no batch 'aaaaaaaa' in the ledger under .*client\.batches\(\)"):
        batch_row(reader, "aaaaaaaa")
    with pytest.raises(UnknownId):
        ledger_progress(reader, "aaaaaaaa")
