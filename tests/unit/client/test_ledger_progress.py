"""Progress read from the ledger agrees with what the manager said."""

import threading

import pytest

from dfbatch.client.ledger_progress import batch_row, ledger_progress
from dfbatch.core.states import BatchState
from dfbatch.errors import UnknownId
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.storage import open_storage
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

WAIT_S = 60.0


@pytest.fixture(scope="module")
def client(module_ledger_path):
    with InProcess(module_ledger_path) as client:
        yield client


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
    read = _once_noted(reader, batch)
    assert (read.batch_id, read.name, read.status, read.queue) == (batch.id, "picky", BatchState.PARTIAL, "q")
    assert read.counts == said.counts == {"succeeded": 6, "failed": 2}
    assert read.total == said.total == 8
    assert read.errors == said.errors == {"KeyError": 2}
    assert read.done == 8
    assert read.elapsed_s == pytest.approx(said.elapsed_s, abs=1.0)


def _once_noted(reader, batch):
    """The end is noted in the ledger a moment after the last outcome."""
    patience = threading.Event()
    for _ in range(5000):
        read = ledger_progress(reader, batch.id)
        if read.status.is_terminal:
            return read
        patience.wait(0.01)
    raise AssertionError(f"{batch} never ended in the ledger")


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
