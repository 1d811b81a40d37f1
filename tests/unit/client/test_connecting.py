"""Connecting: the same arguments give the same client, and a ledger in use is read only."""

import socket
import subprocess
import sys
import threading
import warnings

import pytest

import dfbatch
from dfbatch.client import client as client_module
from dfbatch.client import connecting
from dfbatch.client.connecting import Connected, ReadOnlyWarning
from dfbatch.core.states import BatchState, JobState
from dfbatch.errors import ClientClosed, DifferentConnection, InvalidInput, StorageInUse, StorageUnusable
from dfbatch.ledger.lock import MANAGER_FILE, LedgerLock, ManagerInfo
from dfbatch.ledger.storage import open_storage
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

WAIT_S = 60.0


@pytest.fixture(autouse=True)
def nothing_open(monkeypatch):
    monkeypatch.setattr(client_module, "_connections", {})


class NoLink:
    """A manager that nobody calls in these tests."""

    def call(self, method, *arguments, timeout_s=30.0):
        raise AssertionError(method)


@pytest.fixture
def reached(monkeypatch):
    """Stands in for Ray; lists what was reached."""
    calls = []

    def reach(settings, resume):
        calls.append((settings, resume))
        return Connected(NoLink(), open_storage(settings.storage_path), "cluster")

    monkeypatch.setattr(client_module, "reach", reach)
    return calls


def test_the_same_arguments_give_the_same_client(reached, tmp_path, monkeypatch):
    client = dfbatch.connect(storage_path=tmp_path / "a", workers=2)
    assert dfbatch.connect(storage_path=tmp_path / "a", workers=2) is client
    monkeypatch.chdir(tmp_path)
    assert dfbatch.connect(storage_path="a") is client
    assert dfbatch.connect() is client
    assert len(reached) == 1


def test_other_arguments_raise_and_name_the_difference(reached, tmp_path):
    client = dfbatch.connect(storage_path=tmp_path / "a", workers=2)
    for name, value in {"storage_path": tmp_path / "b", "workers": (1, 4), "namespace": "n", "address": "h:1"}.items():
        with pytest.raises(DifferentConnection, match=rf"A client with {name}=.*or leave {name} out"):
            dfbatch.connect(**{name: value})
    assert dfbatch.connect() is client


def test_after_close_another_client_is_made(reached, tmp_path):
    first = dfbatch.connect(storage_path=tmp_path / "a")
    first.close()
    first.close()
    second = dfbatch.connect(storage_path=tmp_path / "b", resume=True)
    assert second is not first
    assert [resume for _, resume in reached] == [False, True]
    for call in (
        lambda: first.map(len, [1]),
        first.batches,
        first.health,
        lambda: first.attach("k3f2m9qx"),
        first.last,
    ):
        with pytest.raises(ClientClosed, match=r"Call dfbatch\.connect\(\) for a new one"):
            call()
    assert repr(first).startswith("<dfbatch.Client closed")


def test_threads_that_connect_at_once_share_one_client(reached, tmp_path):
    barrier, found = threading.Barrier(4), []

    def connect():
        barrier.wait()
        found.append(dfbatch.connect(storage_path=tmp_path / "a"))

    threads = [threading.Thread(target=connect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert len(set(map(id, found))) == 1
    assert len(reached) == 1


def test_a_client_closes_at_the_end_of_its_block(reached, tmp_path):
    with dfbatch.connect(storage_path=tmp_path / "a") as client:
        assert not client.closed
        assert "cluster" in repr(client)
    assert client.closed


def test_wrong_arguments_are_said_before_anything_is_reached(reached, tmp_path):
    with pytest.raises(InvalidInput, match="workers"):
        dfbatch.connect(storage_path=tmp_path, workers=-1)
    assert reached == []


def test_a_storage_path_that_cannot_be_used_is_said_at_once(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageUnusable):
        dfbatch.connect(storage_path=tmp_path / "file")


# ------------------------------------------------------------------------------------------- a ledger in use


def test_a_ledger_that_is_managed_elsewhere_can_be_read(ledger_path, make_gate):
    gate = make_gate()
    with InProcess(ledger_path) as owner:
        ended = owner.map(lambda x: x + 1, range(5), name="ended").wait(WAIT_S)
        open_batch = owner.map(gate, range(3))
        gate.await_items()
        with pytest.warns(ReadOnlyWarning, match=f"managed by process .* on {socket.gethostname()}.*can only read"):
            reader = dfbatch.connect(storage_path=ledger_path)
        assert dfbatch.connect(storage_path=ledger_path) is reader
        assert reader.read_only
        assert "read-only" in repr(reader)
        assert reader.last().id == open_batch.id
        assert reader.batches()["batch_id"].to_pylist() == owner.batches()["batch_id"].to_pylist()
        seen = reader.attach(ended.id).wait(WAIT_S)  # its end is told to the ledger a moment later
        assert seen.status is BatchState.SUCCEEDED
        assert seen.results().values() == [1, 2, 3, 4, 5]
        assert seen[2].result() == 3
        assert seen[2].status is JobState.SUCCEEDED
        _check_that_control_is_refused(reader, open_batch.id)
        running = reader.attach(open_batch.id)
        assert not running.done()
        assert running[1].status is JobState.QUEUED
        gate.open()
        assert running.wait(WAIT_S).results().values() == [0, 1, 2], "a reader sees the end too"
        assert running.counts() == open_batch.counts()


def _check_that_control_is_refused(reader, batch_id):
    batch = reader.attach(batch_id)
    for control in (
        batch.pause,
        batch.resume,
        batch.cancel,
        batch.retry_failed,
        batch[0].cancel,
        lambda: reader.map(len, ["a"]),
        lambda: reader.submit(len, "a"),
        reader.queue("default").pause,
        lambda: reader.scale(0, 1),
        reader.health,
    ):
        with pytest.raises(StorageInUse, match="work in that process, or close its client first; or use another"):
            control()


def test_once_the_owner_has_gone_a_reader_may_become_the_owner(ledger_path, monkeypatch):
    with InProcess(ledger_path) as owner:
        owner.map(lambda x: x, [1]).wait(WAIT_S)
        with pytest.warns(ReadOnlyWarning):
            reader = dfbatch.connect(storage_path=ledger_path)
    reached = []

    def reach(settings, resume):
        reached.append(settings.storage_path)
        return Connected(NoLink(), open_storage(settings.storage_path), "cluster")

    monkeypatch.setattr(client_module, "reach", reach)
    again = dfbatch.connect(storage_path=ledger_path)
    assert again is not reader
    assert not again.read_only
    assert len(reached) == 1


def info_of(mode, owner_pid, host):
    return ManagerInfo("dfbatch", 1, "", 0, host, mode, "a", 0.0, "0", "s", owner_pid)


def dead_pid():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait(WAIT_S)
    return process.pid


def test_a_lock_of_a_dying_kernel_is_waited_for(ledger_path, monkeypatch):
    monkeypatch.setattr(connecting, "DYING_S", WAIT_S)
    storage = open_storage(ledger_path)
    lock = LedgerLock(storage)
    assert lock.try_acquire()
    storage.replace(MANAGER_FILE, info_of("embedded", dead_pid(), socket.gethostname()).encode())
    threading.Timer(0.2, lock.release).start()
    assert connecting._holder(storage) is None


@pytest.mark.parametrize(("mode", "host"), [("embedded", "elsewhere"), ("cluster", "here")])
def test_a_lock_of_the_living_is_not(ledger_path, mode, host):
    storage = open_storage(ledger_path)
    lock = LedgerLock(storage)
    assert lock.try_acquire()
    host = socket.gethostname() if host == "here" else host
    storage.replace(MANAGER_FILE, info_of(mode, 0, host).encode())
    assert connecting._holder(storage).mode == mode
    lock.release()
    assert connecting._holder(storage) is None


def test_a_lock_without_a_name_is_respected(ledger_path):
    storage = open_storage(ledger_path)
    lock = LedgerLock(storage)
    assert lock.try_acquire()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReadOnlyWarning)
        assert dfbatch.connect(storage_path=ledger_path).read_only
    lock.release()
