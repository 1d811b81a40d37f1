"""Chunks, marks and managers for the tests of the actors. No Ray here."""

import asyncio
import contextlib
import threading
import time

import numpy as np
import pyarrow as pa
import pytest

from dfbatch.actors import item_run, patience, vector_run
from dfbatch.actors.context import JobContext
from dfbatch.actors.item_run import ItemRun
from dfbatch.actors.link import LinkedManager, LocalLink
from dfbatch.actors.messages import Chunk, WorkOrder
from dfbatch.actors.position_mark import PositionMark
from dfbatch.actors.time_limit import TimeLimit
from dfbatch.actors.vector_run import VectorRun
from dfbatch.actors.verifier_code import entry_point
from dfbatch.actors.verifier_store import LoadedVerifier, VerifierStore
from dfbatch.actors.worker import Worker
from dfbatch.errors import ManagerUnavailable, StorageRefused
from dfbatch.ledger.item_codec import encode_items
from dfbatch.ledger.storage import open_storage
from dfbatch.testing import InProcess
from dfbatch.testing import in_process as in_process_module


def chunk_of(values, *, first=0, lease_id=7, attempts=0, options=None):
    """A lease of one job per value, jobs ``first`` and following, of the batch k3f2m9qx."""
    inputs = encode_items(values)
    n = len(values)
    struct = pa.StructArray.from_arrays([c.combine_chunks() for c in inputs.columns], fields=list(inputs.schema))
    nothing = pa.nulls(n, pa.string())
    indices = np.arange(first, first + n, dtype=np.int64)
    table = pa.table({"job_index": indices, "uri": nothing, "blob": nothing, "filename": nothing, "input": struct})
    order = WorkOrder("k3f2m9qx", "map", "0" * 64, "test", "value", options or {})
    zeros = np.zeros(n, np.int16)
    return Chunk(lease_id, order, table, indices, zeros, zeros + np.int16(attempts), False, 60.0)


class Runner:
    """Runs a verifier over chunks as a worker does."""

    def __init__(self, folder):
        self.mark = PositionMark(folder, "w")
        self.context = JobContext()
        self.recall_after = None
        self.n_asked = 0

    def is_recalled(self):
        self.n_asked += 1
        return self.recall_after is not None and self.n_asked > self.recall_after

    def load(self, verifier):
        call, vectorised, takes_context = entry_point(verifier)
        return LoadedVerifier(call, vectorised, takes_context, None, lambda sha: f"/blobs/{sha}")

    def run(self, verifier, chunk):
        """The reports that the run yields, one after another."""
        yield from self.run_loaded(self.load(verifier), chunk)

    def run_loaded(self, loaded, chunk):
        kind = VectorRun if loaded.vectorised else ItemRun
        yield from kind(chunk, loaded, self.mark, self.context, self.is_recalled, TimeLimit(None, None)).outcomes()


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """Reports come at the end of a run, however long the machine takes for it."""
    for module in (item_run, vector_run):
        monkeypatch.setattr(module, "FLUSH_S", float("inf"))
    return Runner(tmp_path)


@pytest.fixture
def make_chunk():
    return chunk_of


class DeadWriter:
    """The ledger of a manager that is gone: nothing gets there any more."""

    def next_commit_id(self):
        return 1

    def commit(self, group):
        raise StorageRefused("This manager is dead.")

    def maintain(self, now_wall):
        return False


class MortalLink(LocalLink):
    """Leads to a manager that may die; from then on nobody takes a call."""

    def begin(self, method, arguments):
        with DOOR:
            if self._manager.status == "dead":
                raise ManagerUnavailable("This manager is dead.")
            return super().begin(method, arguments)


DOOR = threading.Lock()


class Life(InProcess):
    """One life of a manager. Lives of one ``session`` are restarts of one manager, as on a cluster."""

    def __init__(self, path, *, session="one", **options):
        super().__init__(path, session=session, **options)

    def link(self):
        return MortalLink(self.manager, self._loop)

    def crash(self):
        """End without a word: nothing more is written, no call is answered, the lock is free."""
        manager, committer = self.manager, self.manager.committing
        committer._report = committer._refusing = lambda *_: None
        committer._writer = DeadWriter()
        lock = manager.opened.lock
        with DOOR:
            manager.status = "dead"
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result(60)
        self.client.close()
        for worker in self.pool._workers.values():
            worker.stop()
        committer.stop()
        manager.readers.shutdown(wait=False)
        lock.release()
        self._end()

    def __exit__(self, *error):
        if self.manager.status != "dead":
            super().__exit__(*error)
        for thread in self.pool._threads:
            thread.join(60)


async def _cancel_all():
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def life(ledger_path, monkeypatch, brisk):
    """Begins lives on one ledger; those that go on are ended at the end of the test."""
    monkeypatch.setattr(patience, "LAST_PATIENCE_S", 0.1)
    monkeypatch.setattr(in_process_module, "LocalLink", MortalLink)
    with contextlib.ExitStack() as stack:

        def begin(**options):
            found = Life(ledger_path, **options)
            stack.enter_context(found)
            return found

        yield begin


class Switch:
    """A link that leads to whichever life there is, and nowhere between two lives."""

    def __init__(self):
        self.life = None

    def call(self, method, *arguments, timeout_s=30.0):
        if self.life is None:
            raise ManagerUnavailable("between two lives")
        return self.life.link().call(method, *arguments, timeout_s=timeout_s)


@pytest.fixture
def switch():
    return Switch()


@pytest.fixture
def start_worker(ledger_path, tmp_path):
    """Starts workers of their own: threads that outlive a manager, as actors do."""
    workers, threads = [], []

    def start(switch, name="w", **options):
        worker = Worker(
            name,
            LinkedManager(switch),
            VerifierStore(open_storage(ledger_path)),
            PositionMark(tmp_path, name),
            **{"idle_s": None, **options},
        )
        thread = threading.Thread(target=worker.run, name=name, daemon=True)
        thread.start()
        workers.append(worker)
        threads.append(thread)
        return worker

    yield start
    for worker in workers:
        worker.stop()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


class Refuses:
    """A writer whose storage refuses while ``refusing`` is set."""

    def __init__(self, writer):
        self._writer = writer
        self.refusing = threading.Event()

    def commit(self, group):
        if self.refusing.is_set():
            raise StorageRefused("No space left on device.")
        self._writer.commit(group)

    def __getattr__(self, name):
        return getattr(self._writer, name)


@pytest.fixture
def refuse():
    """Puts a writer that can be made to refuse into a life, and returns it."""

    def put(life):
        writer = Refuses(life.manager.committing._writer)
        life.manager.committing._writer = writer
        return writer

    return put


@pytest.fixture
def until():
    """Waits until a condition holds; a test that waits in vain fails."""

    def wait(condition, limit_s=60.0):
        patience = threading.Event()
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, "it did not come about"
            patience.wait(0.01)

    return wait
