"""Verifiers that the test holds and lets go, and that tell the test what they saw."""

import importlib.util
import os
import sys
import threading
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dfbatch.samples import SampleSet, make_samples

LONGEST_S = 100.0
MOMENT_S = 0.02


def _same(key):
    """Verifiers are pickled even within one process; this is how they find the object of the test again."""
    return sys.__dict__["dfbatch_test_gates"][key]


class Gate:
    """Called in a verifier with its item, it waits until the test opens it, and gives the item back.

    ``seen`` lists the items that came, in their order. A gate may be made ``open`` from the start.
    """

    def __init__(self, is_open: bool = False):
        self._key = uuid.uuid4().hex
        sys.__dict__.setdefault("dfbatch_test_gates", {})[self._key] = self
        self._opened = threading.Event()
        self._came = threading.Semaphore(0)
        self.seen: list = []
        if is_open:
            self.open()

    def __reduce__(self):
        return _same, (self._key,)

    def __call__(self, item=None):
        self.seen.append(item)
        self._came.release()
        assert self._opened.wait(LONGEST_S), "the test did not open its gate"
        return item

    def open(self):
        self._opened.set()

    def close(self):
        self._opened.clear()

    def await_items(self, n=1):
        """Returns when ``n`` more items have come."""
        for _ in range(n):
            assert self._came.acquire(timeout=LONGEST_S), f"only {len(self.seen)} items came: {self.seen}"

    def forget(self):
        self.open()
        del sys.__dict__["dfbatch_test_gates"][self._key]


@pytest.fixture
def make_gate() -> Iterator:
    """Makes gates; those still closed are opened at the end of the test."""
    gates = []

    def make(is_open=False):
        gates.append(Gate(is_open))
        return gates[-1]

    yield make
    for gate in gates:
        gate.forget()


@pytest.fixture
def gate(make_gate):
    return make_gate()


@pytest.fixture(scope="module")
def brisk() -> Iterator[None]:
    """Managers, workers and clients of this process that tick, gather and look again after a moment.

    What they do is the same, and how long they pause by themselves is tested with time as an argument. They do not
    wait for the medium either: power failures are tested in test_durability.py.
    """
    from dfbatch.actors import committer, held_work, manager, worker
    from dfbatch.client import batch, client, feeding, session, sources, waiting
    from dfbatch.core import pool_size, sharing
    from dfbatch.ledger.disk import Disk

    pauses = {
        committer: "GATHER_S",
        manager: "TICK_S",
        held_work: "ASK_AGAIN_S",
        pool_size: "GROW_S",
        batch: "_STREAM_POLL_S",
        client: "_LOOK_S",
        feeding: "_PAUSE_S",
        session: "_POLL_S",
        waiting: "_POLL_S",
    }
    with pytest.MonkeyPatch.context() as patch:
        for module, name in pauses.items():
            patch.setattr(module, name, MOMENT_S)
        patch.setattr(manager, "RECOVERY_GRACE_S", 0.3)
        patch.setattr(committer, "gather_s", lambda n_rows, small_commit_s: MOMENT_S)
        patch.setattr(sources, "SliceReader", partial(sources.SliceReader, slice_s=MOMENT_S))
        patch.setattr(worker, "HEARTBEAT_S", 3 * MOMENT_S)
        patch.setattr(sharing, "LONG_S", 5 * MOMENT_S)
        patch.setattr(Disk, "_sync", staticmethod(lambda path, flags: os.stat(path)))
        yield


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> SampleSet:
    """The sample folder, made once for all tests; none of them may change it."""
    return make_samples(tmp_path_factory.mktemp("samples"))


class S3:
    """A server that speaks S3, with one bucket. ``uri(name)`` is a place for a ledger on it."""

    def __init__(self, server):
        self.server = server

    def uri(self, name="ledger"):
        return f"s3://bucket/case/{name}?endpoint_override=127.0.0.1:{self.server.port}&scheme=http&region=eu-1"

    def files(self, name="ledger"):
        names = sorted(key.removeprefix(f"case/{name}/") for _, key in self.server.objects)
        return [key for key in names if not key.endswith("/")]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """An object store of its own for this test; see s3_server.py for what it can do."""
    spec = importlib.util.spec_from_file_location("s3_server", Path(__file__).with_name("s3_server.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    server = module.S3Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield S3(server)
    server.shutdown()
    server.server_close()
    thread.join()
