"""From what was handed in to a batch: everything is durable before the id is known."""

import json
from pathlib import Path

import pytest

from dfbatch.core.resource_shape import ResourceShape
from dfbatch.errors import InvalidInput, StorageInUse
from dfbatch.ledger import blobs
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
    return LedgerReader(open_storage(client.storage_path))


def test_once_the_id_is_known_another_process_reads_all_of_it(client, reader, gate):
    """Rows, items, bytes and code: a crash the moment after loses nothing."""
    batch = client.map(gate, [{"a": 1}, {"a": 2}], name="n", key="k", queue="q", priority=4, tags=["t"])
    (row,) = [row for row in reader.batches().to_pylist() if row["batch_id"] == batch.id]
    assert (row["name"], row["key"], row["queue"], row["priority"], row["n_jobs"]) == ("n", "k", "q", 4, 2)
    assert row["kind"] == "map"
    assert json.loads(row["options"])["tags"] == ["t"]
    assert reader.read("jobs", batch_id=batch.id).num_rows == 0, "items stand in their inputs"
    stored = reader.read(row["inputs"], batch_id=batch.id).column("input").to_pylist()
    assert [item["item"] for item in stored] == [{"a": 1}, {"a": 2}]
    assert len(blobs.get(open_storage(client.storage_path), row["verifier_sha"], "verifiers")) > 0
    gate.open()
    batch.wait(WAIT_S)


def test_bytes_given_by_value_are_in_the_ledger_by_their_address(client, reader):
    batch = client.verify([b"these are no media", b"nor are these"])
    shas = reader.read("jobs", batch_id=batch.id).column("blob").to_pylist()
    found = [blobs.get(open_storage(client.storage_path), sha) for sha in shas]
    assert found == [b"these are no media", b"nor are these"]
    assert batch.wait(WAIT_S).counts() == {"failed": 2}


def test_the_same_code_is_stored_once(client, reader):
    def work(item):
        return item

    shas = set()
    for _ in range(3):
        batch = client.map(work, [1])
        shas.update(r["verifier_sha"] for r in reader.batches().to_pylist() if r["batch_id"] == batch.id)
        batch.wait(WAIT_S)
    assert len(shas) == 1


@pytest.mark.parametrize(("name", "value"), [("num_gpus", 1), ("num_cpus", 4), ("memory", 1 << 30)])
def test_a_verifier_that_declares_resources_runs_on_workers_of_its_own_shape(client, name, value):
    verifier = type("Hungry", (), {"__call__": lambda self, item: item, name: value})
    assert client.map(verifier, [1]).results(WAIT_S).values() == [1]
    shape = ResourceShape.of({name: value}).key
    assert shape in {worker["shape"] for worker in client.workers()} - {"default"}


@pytest.mark.parametrize(("name", "value"), [("num_gpus", -1), ("num_cpus", 1.5), ("memory", "4g"), ("resources", 3)])
def test_resources_that_cannot_be_are_refused_at_the_call(client, name, value):
    verifier = type("Wrong", (), {"__call__": lambda self, item: item, name: value})
    with pytest.raises(InvalidInput, match=rf"^verifier\.{name}: "):
        client.map(verifier, [1])
    with pytest.raises(InvalidInput, match=rf"^{name}: "):
        client.map(len, ["item"], **{name: value})


def test_an_option_wins_over_what_the_verifier_declares(client):
    verifier = type("Hungry", (), {"__call__": lambda self, item: item, "num_cpus": "many", "num_gpus": 8})
    batch = client.map(verifier, [1], num_cpus=2, num_gpus=0)
    assert batch.results(WAIT_S).values() == [1]
    (row,) = [row for row in client._session.reader.batches().to_pylist() if row["batch_id"] == batch.id]
    assert json.loads(row["options"])["resources"] == {"num_cpus": 2}


def test_one_cpu_is_what_a_worker_has(client):
    verifier = type("Modest", (), {"__call__": lambda self, item: item, "num_cpus": 1})
    assert client.map(verifier, [1]).results(WAIT_S).values() == [1]


def test_a_reader_submits_nothing_and_stores_nothing(client, monkeypatch):
    monkeypatch.setattr(client._session, "link", None)
    monkeypatch.setattr(client._session, "held_by", "Somebody else manages it.")
    verifiers = Path(client.storage_path) / "verifiers"
    before = sorted(verifiers.iterdir())
    with pytest.raises(StorageInUse, match="Somebody else"):
        client.map(lambda x: x * 12345, [1])
    assert sorted(verifiers.iterdir()) == before
