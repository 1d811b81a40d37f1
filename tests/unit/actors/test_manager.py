"""The manager as its callers meet it: submits, refusing storage, workers that die."""

import asyncio
import errno
import threading
from concurrent.futures import CancelledError
from dataclasses import replace

import pytest

import dfbatch
from dfbatch.actors import metrics_sampler, queue_calls
from dfbatch.actors.messages import Beat, Exchange, Hello, Submit
from dfbatch.actors.verifier_code import pack
from dfbatch.core import liveness
from dfbatch.core.states import BatchState
from dfbatch.errors import DfbatchError, KeyConflict, ManagerUnavailable, StorageRefused, UnknownId
from dfbatch.ledger import blobs
from dfbatch.ledger.disk import Disk
from dfbatch.ledger.item_codec import encode_items
from dfbatch.version import __version__

pytestmark = pytest.mark.integration

WAIT_S = 60.0


def double(item):
    return 2 * item


def submit_of(values, submit_id, **more):
    """A submit as the client makes it."""
    inputs = encode_items(values)
    packed = pack(double)
    return Submit(
        submit_id=submit_id,
        kind="map",
        n_jobs=len(inputs),
        jobs=None,
        inputs=inputs,
        items="value",
        verifier=b"",
        verifier_name=packed.name,
        verifier_fingerprint=packed.fingerprint,
        options={},
        content=str(values),
        client_version=__version__,
        **more,
    )


def hand_in(life, message):
    """Two steps, as the client takes them: the code first, then the rows."""
    sha = blobs.put(life.client._session.storage, pack(double).data, "verifiers")
    return life.link().call("submit", message, sha)


# ---------------------------------------------------------------------------------------------------- submit


def test_a_submit_that_is_repeated_gives_the_same_batch(life):
    one = life()
    message = submit_of([1, 2], "s1")
    first = hand_in(one, message)
    assert hand_in(one, message) == first
    assert hand_in(one, replace(message, submit_id="s2")) != first
    one.crash()
    assert hand_in(life(), message) == first


class SyncFails(Disk):
    """While ``failing`` is set, the entries of ``batches`` get their names, but their folder cannot be synced."""

    def __init__(self):
        self.failing = threading.Event()

    def sync_folder(self, path):
        if self.failing.is_set() and path.endswith("batches/_delta_log"):
            raise OSError(errno.EIO, "Input/output error")
        super().sync_folder(path)


@pytest.fixture
def half_written(life, until):
    """``(life, disk, call)``: a submit ``s1`` of two items that is in the log, but cannot be made durable."""
    begun = life()
    disk = begun.manager.opened.writer.storage._disk = SyncFails()
    sha = blobs.put(begun.client._session.storage, pack(double).data, "verifiers")
    disk.failing.set()
    call = begun.link().begin("submit", (submit_of([1, 2], "s1"), sha))
    until(lambda: begun.manager.state.storage_refusing)
    yield begun, disk, call
    disk.failing.clear()


def submit_ids(life):
    return life.client._session.reader.read("batches").column("submit_id").to_pylist()


def test_a_submit_that_is_written_but_not_durable_is_neither_refused_nor_acknowledged(half_written):
    begun, disk, call = half_written
    assert submit_ids(begun) == ["s1"]
    repeat = begun.link().begin("submit", (submit_of([1, 2], "s1"), "0" * 64))
    with pytest.raises(StorageRefused):
        hand_in(begun, submit_of([3], "s2"))
    assert not call.done()
    assert not repeat.done()
    disk.failing.clear()
    batch_id = call.result(WAIT_S)
    assert repeat.result(WAIT_S) == batch_id
    assert begun.client.attach(batch_id).results(WAIT_S).values() == [2, 4]
    assert submit_ids(begun) == ["s1"]
    assert hand_in(begun, submit_of([3], "s2")) != batch_id


def test_what_became_of_a_submit_that_was_not_durable_is_told_by_the_next_life(half_written, life):
    begun, disk, call = half_written
    begun.crash()
    with pytest.raises((DfbatchError, CancelledError)) as told:
        call.result(WAIT_S)
    assert not isinstance(told.value, StorageRefused), "nobody may say that nothing was accepted"
    disk.failing.clear()
    second = life()
    batch_id = second.link().call("submit", submit_of([1, 2], "s1"), "0" * 64)
    assert second.client.attach(batch_id).results(WAIT_S).values() == [2, 4]
    assert submit_ids(second) == ["s1"]


def test_a_manager_that_stops_does_not_say_that_nothing_was_accepted_unless_it_knows(half_written):
    begun, _, call = half_written
    begun.link().call("shutdown", timeout_s=60.0)
    with pytest.raises((ManagerUnavailable, CancelledError)):
        call.result(WAIT_S)


def test_a_worker_that_cannot_be_asked_for_costs_neither_submits_nor_ticks(life, monkeypatch, until):
    """Ray refuses some environments only when an actor is asked for."""
    monkeypatch.setattr(metrics_sampler, "SAMPLE_S", 0.2)
    monkeypatch.setattr(metrics_sampler, "LOOK_S", 0.05)
    one = life(workers=(0, 0))

    def broken(demands):
        raise TypeError("runtime_env['pip'] must be of type str or List[str]")

    monkeypatch.setattr(one.pool, "reconcile", broken)
    batch = one.client.map(double, [1], key="k")
    assert one.client.map(double, [1], key="k").id == batch.id, "its submit is not answered"
    sampled = one.manager.sampled_at
    until(lambda: one.manager.sampled_at != sampled)
    until(lambda: "runtime_env" in one.client.health()["reason"])
    monkeypatch.undo()
    until(lambda: one.client.health()["reason"] == "")


def door_before_commits(writer):
    """Commits wait until it is open."""
    door, commit = threading.Event(), writer.commit
    writer.commit = lambda group: (door.wait(WAIT_S), commit(group))
    return door


def test_the_repeat_of_a_submit_waits_for_its_rows(life, refuse, until):
    """Acknowledged means durable for the second call too, however fast it comes."""
    one = life()
    door = door_before_commits(refuse(one))
    message, found = submit_of([1], "s1"), []
    threads = [threading.Thread(target=lambda: found.append(hand_in(one, message))) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: one.manager._arriving)
    assert found == []
    door.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert len(found) == 3
    assert len(set(found)) == 1


def test_of_submits_that_come_at_the_same_moment_none_is_answered_before_its_rows_are_there(life, refuse, until):
    """The loop takes them all up before it goes on with the first."""
    one = life()
    door = door_before_commits(refuse(one))
    message = submit_of([1], "s1")
    sha = blobs.put(one.client._session.storage, pack(double).data, "verifiers")

    async def three():
        calls = [asyncio.ensure_future(one.manager.submit(message, sha)) for _ in range(3)]
        for _ in range(100):
            await asyncio.sleep(0)
        early = [call for call in calls if call.done()]
        door.set()
        return early, await asyncio.gather(*calls)

    early, found = asyncio.run_coroutine_threadsafe(three(), one._loop).result(WAIT_S)
    assert early == []
    assert len(set(found)) == 1


def test_a_key_is_known_for_as_long_as_its_batch_is_in_the_ledger(life):
    one = life()
    first = hand_in(one, submit_of([1, 2], "s1", key="k"))
    one.client.attach(first).wait(WAIT_S)
    one.crash()
    two = life()
    assert hand_in(two, submit_of([1, 2], "s2", key="k")) == first
    with pytest.raises(KeyConflict, match=f"'k' belongs to batch {first}"):
        hand_in(two, submit_of([3], "s3", key="k"))


def test_a_call_about_a_batch_that_is_not_there_says_so(life):
    link = life().link()
    for call in (("pause", "aaaaaaaa"), ("cancel", "aaaaaaaa"), ("job", "aaaaaaaa", 0), ("progress", "aaaaaaaa")):
        with pytest.raises(UnknownId, match="aaaaaaaa"):
            link.call(*call)
    with pytest.raises(UnknownId, match=r"There is no batch 'aaaaaaaa' in this ledger"):
        link.call("redrive", "aaaaaaaa")


def test_a_streamed_slice_counts_once_however_often_it_is_sent(life):
    one = life()
    one.client.queue("default").pause()
    batch_id = hand_in(one, replace(submit_of([1, 2], "s1"), sealed=False))
    more = encode_items([3, 4, 5])
    assert one.link().call("extend", batch_id, 3, 2, None, more) == 5
    assert one.link().call("extend", batch_id, 3, 2, None, more) == 5
    with pytest.raises(dfbatch.InvalidInput, match="has 5 jobs and cannot be extended at 9"):
        one.link().call("extend", batch_id, 3, 9, None, more)
    one.link().call("seal", batch_id)
    one.link().call("seal", batch_id)
    with pytest.raises(dfbatch.InvalidInput, match="cannot be extended at 5"):
        one.link().call("extend", batch_id, 1, 5, None, encode_items([6]))
    one.client.queue("default").resume()
    assert one.client.attach(batch_id).results(WAIT_S).values() == [2, 4, 6, 8, 10]


def test_the_items_of_a_batch_that_has_ended_leave_the_memory_of_the_manager(life, until):
    one = life()
    batch = one.client.map(lambda item: len(item), ["x" * 100_000] * 20)
    assert batch.results(WAIT_S).values() == [100_000] * 20
    until(lambda: not len(one.manager.payload_memory))


def test_all_open_batches_together_keep_no_more_items_than_one_manager_may(life, until, monkeypatch):
    """Two megabytes each; what made room is read from the ledger, and nobody notices."""
    one = life(workers=(0, 0))
    memory = one.manager.payload_memory
    monkeypatch.setattr(memory, "_max_bytes", 5_000_000)
    batches = [one.client.map(lambda item: len(item), ["x" * 100_000] * 20) for _ in range(4)]
    one.manager.readers.submit(int).result(WAIT_S)  # what was seeded before is there
    assert len(memory) == 2
    assert memory.n_bytes > 4_000_000
    one.client.scale(0, 2)
    for batch in batches:
        assert batch.results(WAIT_S).values() == [100_000] * 20
    until(lambda: memory.n_bytes == 0)


def test_what_is_read_back_for_a_second_generation_is_complete(life, make_gate):
    """A batch that left the memory of the manager is redriven from the ledger alone."""
    gate = make_gate()

    def needs(item, ctx):
        if not gate._opened.is_set():
            raise ValueError("closed")
        return item

    one = life()
    batch = one.client.map(needs, range(3), fail_fast=False).wait(WAIT_S)
    one.crash()
    gate.open()
    two = life()
    again = two.client.attach(batch.id)
    assert again.status is BatchState.PARTIAL
    assert again.retry_failed() == 3
    assert again.results(WAIT_S).values() == [0, 1, 2]


# --------------------------------------------------------------------------------------------------- storage


def test_while_storage_refuses_nothing_is_lost_and_everybody_is_told(life, refuse, make_gate, until):
    gate = make_gate()
    one = life()
    writer = refuse(one)
    batch = one.client.map(gate, range(40))
    gate.await_items(1)
    writer.refusing.set()
    gate.open()  # the first outcome is refused already
    until(lambda: "No space left" in one.client.health()["reason"])
    until(lambda: one.client.health()["backlog_rows"] > 0)
    for refused in (lambda: one.client.map(gate, [7]), batch.pause, batch.cancel):
        with pytest.raises(StorageRefused, match=r"refuses writes \(No space left.*Make room or mend the storage"):
            refused()
    assert not batch.done()
    writer.refusing.clear()
    assert batch.results(WAIT_S).values() == list(range(40))
    until(lambda: one.client.health()["reason"] == "")
    assert sorted(gate.seen) == list(range(40)), "an item was worked twice"
    assert one.client.map(gate, [7]).results(WAIT_S).values() == [7]


def test_a_submit_that_storage_refuses_leaves_nothing_behind(life, refuse, until):
    one = life()
    one.client.queue("default").set_policy(max_length=3)
    until(lambda: one.client.health()["backlog_rows"] == 0)  # other rows are kept, and refuse submits for a while
    writer = refuse(one)
    writer.refusing.set()
    with pytest.raises(StorageRefused):
        one.client.map(double, [1, 2, 3], key="k")
    writer.refusing.clear()
    assert one.client.batches().num_rows == 0
    assert one.client.map(double, [4, 5, 6], key="k").results(WAIT_S).values() == [8, 10, 12]


def test_rows_that_no_table_takes_cost_no_other_batch_its_own(life, refuse, until, monkeypatch):
    """A fault of ours in one report must not take those that are committed with it."""
    one = life()
    writer = refuse(one)
    commit = writer.commit

    def picky(group):
        results = group.tables.get("results")
        if results is not None and "poison" in results.column("error_message").to_pylist():
            raise TypeError("no table takes this")
        commit(group)

    writer.commit = picky

    def maybe(item):
        if item == "bad":
            raise ValueError("poison")
        return item

    one.client.queue("q").pause()
    bad = one.client.map(maybe, ["bad"], queue="q")
    good = [one.client.map(maybe, [k], queue="q") for k in range(5)]
    one.client.queue("q").resume()
    for k, batch in enumerate(good):
        assert batch.results(WAIT_S).values() == [k]
    until(lambda: "no table takes this" in one.client.health()["reason"])
    assert not bad.done()
    monkeypatch.setattr(queue_calls, "ROWS_PATIENCE_S", 0.5)
    with pytest.raises(StorageRefused, match=f"last outcomes of batch {bad.id} yet, so nothing was changed"):
        bad.retry_failed()
    one.client.queue("q").set_policy(max_length=9)  # stood behind it


# --------------------------------------------------------------------------------------------------- workers


def hello(life, name="w", incarnation="i1", **story):
    return life.link().call("hello", Hello(name, incarnation, "default", "node", 1, __version__, **story))


def lease(life, name="w", incarnation="i1"):
    reply = life.link().call("exchange", Exchange(name, incarnation, life.manager.state.epoch, (), True, False))
    return reply.chunk


def test_a_worker_that_the_manager_does_not_know_is_asked_to_say_hello(life):
    one = life(workers=(0, 0))
    reply = one.link().call("exchange", Exchange("w", "i1", 1, (), True, True))
    assert reply.control.say_hello
    assert reply.chunk is None
    hello(one)
    wrong_epoch = one.link().call("exchange", Exchange("w", "i1", 99, (), True, False))
    assert wrong_epoch.control.say_hello


def test_the_marked_item_of_a_dead_worker_runs_alone_and_is_remembered(life, until):
    one = life(workers=(0, 0))
    hello(one)
    batch = one.client.map(double, range(64))
    chunk = lease(one)
    assert len(chunk.indices) > 2
    at = int(chunk.indices[1])
    hello(one, incarnation="i2", mark=(chunk.lease_id, at))
    reader = one.client._session.reader
    until(lambda: len(reader.read("attempts", batch_id=batch.id)) == 1)
    (row,) = reader.read("attempts", batch_id=batch.id).to_pylist()
    assert (row["job_index"], row["suspect"], row["charged"], row["error_type"]) == (at, True, False, "WorkerCrash")
    alone = lease(one, incarnation="i2")
    assert (alone.indices.tolist(), alone.solo) == ([at], True)
    one.crash()
    two = life(workers=(0, 0))
    hello(two, "other")
    found = []
    until(lambda: found.append(lease(two, "other")) or found[-1] is not None)
    assert (found[-1].indices.tolist(), found[-1].solo) == ([at], True), "the next manager has forgotten it"


def test_the_goodbye_of_an_earlier_process_does_not_send_its_successor_away(life):
    one = life(workers=(0, 0))
    hello(one, incarnation="i1")
    hello(one, incarnation="i2")
    one.link().call("leave", "w", "i1")
    assert [w["worker"] for w in one.client.workers()] == ["w"]
    one.link().call("leave", "w", "i2")
    assert one.client.workers() == []


def test_the_manager_answers_while_it_looks_up_the_name_of_an_item_that_hung(life, monkeypatch, until, tmp_path):
    one = life(workers=(0, 0))
    path = tmp_path / "a.bin"
    path.write_bytes(b"hangs")
    batch = one.client.verify([str(path)])
    hello(one)
    chunk = lease(one)
    payload = one.manager.desks[batch.id].payload
    read, asked, door, was_opened = type(payload).slice, threading.Event(), threading.Event(), []

    def slow(self, indices):
        asked.set()
        was_opened.append(door.wait(WAIT_S))
        return read(self, indices)

    monkeypatch.setattr(type(payload), "slice", slow)
    story = {"mark": (chunk.lease_id, 0), "timed_out": True, "stack": "Timeout ("}
    said = threading.Thread(target=lambda: hello(one, incarnation="i2", **story), daemon=True)
    said.start()
    assert asked.wait(WAIT_S)
    assert one.link().call("describe").status == "running"
    door.set()
    said.join(WAIT_S)
    assert was_opened == [True], "its event loop waited for the storage"
    reader = one.client._session.reader
    until(lambda: len(reader.read("attempts", batch_id=batch.id)) == 1)
    (row,) = reader.read("attempts", batch_id=batch.id).to_pylist()
    assert (row["job_index"], row["error_type"], row["charged"]) == (0, "ItemTimeout", True)


def test_nothing_is_kept_of_a_worker_that_vanished(life, monkeypatch, until):
    monkeypatch.setattr(liveness, "MARK_GRACE_S", 0.0)
    one = life(workers=(0, 0))
    manager = one.manager
    for k in range(20):
        hello(one, f"w{k}")
        one.link().call("heartbeat", Beat(f"w{k}", "i1", manager.state.epoch, (), (), None, 0))
    assert len(manager.wakes) == len(manager.beats) == len(manager.pids) == 20
    for k in range(20):
        one._loop.call_soon_threadsafe(manager.worker_died, f"w{k}", "i1", "its node is gone")
    until(lambda: not any((manager.wakes, manager.recalls, manager.durable_seq, manager.beats, manager.pids)))


def test_a_chunk_whose_items_cannot_be_read_goes_back(life, monkeypatch):
    one = life(workers=(0, 0))
    batch = one.client.map(double, range(4))
    hello(one)
    payload = one.manager.desks[batch.id].payload
    read = type(payload).slice
    monkeypatch.setattr(type(payload), "slice", lambda self, indices: 1 / 0)
    with pytest.raises(dfbatch.errors.ManagerRecovering, match=f"the items of batch {batch.id} cannot be read"):
        lease(one)
    monkeypatch.setattr(type(payload), "slice", read)
    assert lease(one).indices.tolist()[0] == 0


def test_a_submit_whose_caller_gives_up_is_there_all_the_same(life, refuse, until):
    """Its rows may be durable already; a repeat must find it, and not make another."""
    one = life()
    writer = refuse(one)
    door, commit = threading.Event(), writer.commit
    writer.commit = lambda group: (door.wait(WAIT_S), commit(group))
    message = submit_of([1, 2], "s1")
    sha = blobs.put(one.client._session.storage, pack(double).data, "verifiers")
    with pytest.raises(dfbatch.errors.ManagerUnavailable, match="did not answer 'submit'"):
        one.link().call("submit", message, sha, timeout_s=0.2)
    door.set()
    batch_id = hand_in(one, message)
    assert one.client.batches()["batch_id"].to_pylist() == [batch_id]
    assert one.client.attach(batch_id).results(WAIT_S).values() == [2, 4]
