"""The verifiers that a worker has loaded."""

import pytest

from dfbatch.actors.messages import WorkOrder
from dfbatch.actors.verifier_code import pack
from dfbatch.actors.verifier_store import KEPT, VerifierStore
from dfbatch.errors import VerifierUnusable
from dfbatch.ledger import blobs
from dfbatch.ledger.storage import open_storage


@pytest.fixture
def storage(ledger_path):
    return open_storage(ledger_path)


@pytest.fixture
def store(storage):
    return VerifierStore(storage)


def order_for(storage, verifier, init=None):
    sha = blobs.put(storage, pack(verifier, init).data, "verifiers")
    return WorkOrder("k3f2m9qx", "map", sha, "v", "value", {})


class Named:
    model_fingerprint = 77

    def __init__(self, gate, name):
        gate(name)
        self.name = name

    def __call__(self, item, ctx):
        return f"{self.name} {item}"


def test_a_verifier_is_loaded_once_and_told_about(storage, store, make_gate):
    gate = make_gate(is_open=True)
    order = order_for(storage, Named, {"gate": gate, "name": "a"})
    loaded = store.get(order)
    assert store.get(order) is loaded
    assert gate.seen == ["a"]
    assert loaded.call("x", None) == "a x"
    assert (loaded.vectorised, loaded.takes_context, loaded.model_fingerprint) == (False, True, "77")
    assert loaded.blob_location("f00d").endswith("/blobs/f00d")


def test_the_last_few_stay_and_the_oldest_goes(storage, store, make_gate):
    gate = make_gate(is_open=True)
    orders = [order_for(storage, Named, {"gate": gate, "name": k}) for k in range(KEPT + 1)]
    for order in orders:
        store.get(order)
    store.get(orders[-1])
    assert gate.seen == list(range(KEPT + 1))
    store.get(orders[0])
    assert gate.seen == [*range(KEPT + 1), 0]


def test_what_cannot_be_constructed_is_tried_once(storage, store, make_gate):
    gate = make_gate(is_open=True)

    class Broken:
        def __init__(self):
            gate("tried")
            raise OSError("no model")

        def __call__(self, item):
            return item

    order = order_for(storage, Broken)
    for _ in range(3):
        with pytest.raises(VerifierUnusable, match="OSError: no model"):
            store.get(order)
    assert gate.seen == ["tried"]


def test_code_that_is_missing_or_has_changed_is_not_run(storage, store, ledger_path):
    missing = WorkOrder("k3f2m9qx", "map", "0" * 64, "v", "value", {})
    with pytest.raises(VerifierUnusable, match="The verifier of batch k3f2m9qx cannot be read"):
        store.get(missing)
    order = order_for(storage, len)
    (ledger_path / "verifiers" / order.verifier_sha).write_bytes(b"something else")
    with pytest.raises(VerifierUnusable, match="has changed since it was written"):
        store.get(order)
