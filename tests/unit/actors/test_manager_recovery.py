"""A manager may die at any moment: the next one goes on where the ledger ends."""

import json
import threading
from collections import Counter

import pytest

from dfbatch import Retry
from dfbatch.core.states import BatchState
from dfbatch.errors import LedgerFenced, StorageInUse
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.storage import open_storage
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

WAIT_S = 60.0


def rows_by_job(path, batch_id):
    """How many terminal rows each (job, generation) has in the ledger."""
    table = LedgerReader(open_storage(path)).read("results", batch_id=batch_id)
    return Counter(zip(table.column("job_index").to_pylist(), table.column("generation").to_pylist(), strict=True))


def events_of(path, batch_id, kind):
    """The details of the events of one kind that are durable, in their order."""
    rows = (
        LedgerReader(open_storage(path))
        .read("events", batch_id=batch_id)
        .sort_by([("epoch", "ascending"), ("seq", "ascending")])
    )
    return [json.loads(row["detail"]) for row in rows.to_pylist() if row["kind"] == kind]


def await_rows(batch, n):
    """Returns the indices of ``n`` jobs whose outcomes are durable."""
    rows = batch.iter_results()
    return [next(rows)["job_index"] for _ in range(n)]


def test_committed_work_is_not_done_again_and_every_job_gets_one_row(life, make_gate, ledger_path):
    quick, slow = make_gate(is_open=True), make_gate()
    first = life(workers=1)
    batch = first.client.map(lambda x: slow(x) if x >= 30 else quick(x), range(60))
    done = await_rows(batch, 10)
    slow.await_items()
    first.crash()
    slow.open()
    second = life()
    again = second.client.attach(batch.id)
    assert again.results(WAIT_S).values() == list(range(60))
    assert rows_by_job(ledger_path, batch.id) == {(k, 0): 1 for k in range(60)}
    assert all(quick.seen.count(k) == 1 for k in done)
    assert second.client.health()["epoch"] == 2


def test_what_waited_for_a_retry_still_knows_its_tries(life, make_gate, until):
    gate, later = make_gate(is_open=True), make_gate()

    def flaky(item, ctx):
        gate((item, ctx.attempt))
        if ctx.attempt > 1:
            later()  # a manager that is slow to die gets no further than this
        if ctx.attempt < 3:
            raise ConnectionResetError("again")
        return ctx.attempt

    first = life()
    batch = first.client.map(flaky, [0], retry=Retry(max_attempts=3, initial_s=0.5, factor=1, jitter=0))
    gate.await_items(1)
    reader = LedgerReader(open_storage(batch.storage_path))
    until(lambda: len(reader.read("attempts", batch_id=batch.id)))
    first.crash()
    later.open()
    again = life().client.attach(batch.id)
    assert again.results(WAIT_S).values() == [3]
    assert [attempt for _, attempt in gate.seen] in ([1, 2, 3], [1, 2, 2, 3]), "a try was forgotten"


def test_a_kernel_that_died_leaves_its_batches_paused(life, make_gate):
    gate = make_gate()
    first = life(session="kernel 1", workers=1)
    batch = first.client.map(gate, range(3))
    gate.await_items()
    first.crash()
    gate.open()
    second = life(session="kernel 2")
    again = second.client.attach(batch.id)
    assert again.status is BatchState.PAUSED
    assert again.progress().reason == "interrupted"
    second.crash()
    third = life(session="kernel 3")
    assert third.client.attach(batch.id).status is BatchState.PAUSED
    assert third.client.attach(batch.id).resume().results(WAIT_S).values() == [0, 1, 2]


def test_resume_goes_on_with_what_the_kernel_left(life, make_gate):
    gate = make_gate()
    first = life(session="kernel 1", workers=1)
    interrupted = first.client.map(gate, range(3))
    gate.await_items()
    asked = first.client.map(gate, [7], queue="asked").pause()
    first.crash()
    gate.open()
    second = life(session="kernel 2", resume=True)
    assert second.client.attach(interrupted.id).results(WAIT_S).values() == [0, 1, 2]
    assert second.client.attach(asked.id).status is BatchState.PAUSED, "who was paused by hand stays so"


def test_an_orderly_end_is_an_interruption_too(ledger_path, gate):
    with InProcess(ledger_path, workers=1) as client:
        batch = client.map(gate, range(5))
        gate.await_items()
        batch.pause()
        gate.open()
    with InProcess(ledger_path, resume=True) as client:
        again = client.attach(batch.id)
        assert again.status is BatchState.PAUSED
        assert again.resume().results(WAIT_S).values() == list(range(5))
    assert len(gate.seen) == 5


def test_pause_priority_and_cancel_hold_in_the_next_life(life, make_gate):
    gate = make_gate()
    first = life(workers=1)
    held = first.client.map(gate, [0])
    gate.await_items()
    paused = first.client.map(lambda x: x, range(3)).pause()
    cancelled = first.client.map(lambda x: x, range(4))
    cancelled.cancel()
    urgent = first.client.map(lambda x: x, [1]).set_priority(9)
    first.crash()
    gate.open()
    client = life().client
    assert client.attach(cancelled.id).wait(WAIT_S).counts() == {"cancelled": 4}
    assert client.attach(urgent.id).wait(WAIT_S).counts() == {"succeeded": 1}
    assert client.attach(held.id).wait(WAIT_S).counts() == {"succeeded": 1}
    assert client.attach(paused.id).status is BatchState.PAUSED
    assert client.attach(paused.id).resume().wait(WAIT_S).counts() == {"succeeded": 3}


def test_a_redrive_survives_with_its_history(life, make_gate, ledger_path):
    gate = make_gate()

    def fails_first(item, ctx):
        if not gate._opened.is_set():
            raise ValueError(f"{item} is not ready")
        return item

    first = life()
    batch = first.client.map(fails_first, range(4), fail_fast=False).wait(WAIT_S)
    assert batch.counts() == {"failed": 4}
    first.client.queue("default").pause()
    assert batch.retry_failed(where=lambda row: row["job_index"] < 3) == 3
    first.crash()
    gate.open()
    second = life()
    second.client.queue("default").resume()
    again = second.client.attach(batch.id)
    assert again.wait(WAIT_S).counts() == {"succeeded": 3, "failed": 1}
    expected = {(0, 0): 1, (1, 0): 1, (2, 0): 1, (3, 0): 1, (0, 1): 1, (1, 1): 1, (2, 1): 1}
    assert rows_by_job(ledger_path, batch.id) == expected


def test_a_submit_that_is_repeated_after_a_crash_gives_the_same_batch(life):
    first = life()
    batch = first.client.map(lambda x: x, [1, 2], key="k").wait(WAIT_S)
    (row,) = first.client._session.reader.read("batches", batch_id=batch.id).to_pylist()
    first.crash()
    second = life()
    assert second.manager.state.submit_ids[row["submit_id"]] == batch.id
    assert second.client.map(lambda x: x, [1, 2], key="other") != batch
    assert second.client.attach(batch.id).status is BatchState.SUCCEEDED


def test_a_batch_that_ended_before_its_end_was_noted_ends_again(life, refuse, until):
    """Every outcome is durable, ``batch_finished`` is not: the next manager draws the conclusion."""
    first = life()
    batch = first.client.map(lambda x: x, range(5)).wait(WAIT_S)
    first.crash()
    second = life()
    reader = second.client._session.reader
    until(lambda: second.client.attach(batch.id).done())
    until(lambda: {r["status"] for r in reader.batches().to_pylist()} == {"succeeded"})
    assert second.client.attach(batch.id).results().values() == list(range(5))


def test_the_stream_of_a_dead_kernel_is_sealed(life, make_gate):
    door, gate = make_gate(), make_gate(is_open=True)

    def items():
        yield from range(3)
        yield door(3)

    first = life(session="kernel 1")
    batch = first.client.map(gate, items())
    gate.await_items(3)
    first.crash()
    second = life(session="kernel 2", resume=True)
    again = second.client.attach(batch.id)
    again.wait(WAIT_S)
    assert len(again) == 3
    assert again.results().values() == [0, 1, 2]
    door.open()


# ------------------------------------------------------------------------------------------ workers that live on


def test_running_work_is_kept_by_a_worker_that_outlives_its_manager(
    life, switch, start_worker, gate, until, ledger_path
):
    switch.life = first = life(workers=(0, 0))
    worker = start_worker(switch)
    batch = first.client.map(gate, range(5))
    gate.await_items()
    until(lambda: len(worker._work.chunks()) == 2)  # nothing is on its way to it
    switch.life = None
    first.crash()
    switch.life = second = life(workers=(0, 0))
    gate.open()
    assert second.client.attach(batch.id).results(WAIT_S).values() == list(range(5))
    assert sorted(gate.seen) == list(range(5)), "an item was worked twice"
    assert rows_by_job(ledger_path, batch.id) == {(k, 0): 1 for k in range(5)}


class Slow:
    """A way to the manager on which the first answer to ``exchange`` that brings a chunk takes its time."""

    def __init__(self, switch):
        self._switch = switch
        self.came, self.go_on = threading.Event(), threading.Event()

    def call(self, method, *arguments, timeout_s=30.0):
        answer = self._switch.call(method, *arguments, timeout_s=timeout_s)
        if method == "exchange" and answer.chunk is not None:
            self.came.set()
            assert self.go_on.wait(WAIT_S)
        return answer


def test_a_chunk_that_was_on_its_way_when_its_manager_died_is_not_run_beside_that_of_the_next_one(
    life, switch, start_worker, gate, until
):
    """The heartbeat has told the next manager what the worker holds, and that was not among it."""
    slow = Slow(switch)
    switch.life = first = life(workers=(0, 0))
    batch = first.client.map(gate, range(4))
    worker = start_worker(slow)
    assert slow.came.wait(WAIT_S)
    switch.life = None
    first.crash()
    switch.life = second = life(workers=(0, 0))
    until(lambda: second.client.workers() != [])
    slow.go_on.set()
    gate.await_items()
    until(lambda: len(worker._work.chunks()) == 2)
    gate.open()
    assert second.client.attach(batch.id).results(WAIT_S).values() == list(range(4))
    assert sorted(gate.seen) == list(range(4)), "an item was worked twice"


def test_outcomes_that_were_not_durable_are_sent_again(
    life, switch, start_worker, make_gate, refuse, until, ledger_path
):
    gate = make_gate()
    switch.life = first = life(workers=(0, 0))
    batch = first.client.map(gate, range(8))
    writer = refuse(first)
    worker = start_worker(switch)
    gate.await_items(1)
    # Only now: a manager whose storage refuses before the first lease grants none.
    writer.refusing.set()
    gate.open()
    until(lambda: first.client.health()["backlog_rows"] > 0)
    assert batch.results(partial=True).to_arrow().num_rows == 0
    switch.life = None
    first.crash()
    switch.life = second = life(workers=(0, 0))
    assert second.client.attach(batch.id).results(WAIT_S).values() == list(range(8))
    assert sorted(gate.seen) == list(range(8)), "an item was worked twice"
    assert rows_by_job(ledger_path, batch.id) == {(k, 0): 1 for k in range(8)}
    until(lambda: worker._work.outbox.is_empty)


# ----------------------------------------------------------------------------------------------- two managers


def test_a_second_manager_is_kept_out_while_the_first_holds_the_lock(life, ledger_path):
    first = life()
    with pytest.raises(StorageInUse, match="held by another process"), InProcess(ledger_path):
        pass
    assert first.client.map(lambda x: x, [1]).results(WAIT_S).values() == [1]


def test_a_manager_that_was_replaced_ends_for_good_and_writes_nothing(life, gate, until, ledger_path):
    """As on storage without locks: the newer epoch wins, and each job still has one row."""
    first = life(workers=1)
    batch = first.client.map(gate, range(4))
    gate.await_items()
    first.manager.opened.lock.release()
    second = life(workers=1)
    gate.open()
    assert second.client.attach(batch.id).results(WAIT_S).values() == list(range(4))
    until(lambda: first.manager.status == "fenced")
    sentence = "This ledger belongs to the manager of epoch 2 by now; the one of epoch 1 .* has ended.*Connect again"
    with pytest.raises(LedgerFenced, match=sentence):
        first.link().call("pause", batch.id)
    about = first.link().call("describe")
    assert (about.status, about.reason) == ("fenced", str(first.manager.fenced))
    assert rows_by_job(ledger_path, batch.id) == {(k, 0): 1 for k in range(4)}


def test_a_cancelled_job_stays_cancelled_in_the_next_life(life, make_gate, ledger_path):
    gate = make_gate()
    first = life(workers=1)
    batch = first.client.map(gate, range(3))
    gate.await_items()
    batch[0].cancel()  # it runs
    batch[2].cancel()  # it waits
    assert events_of(ledger_path, batch.id, "jobs_cancelled") == [{"ranges": [[0, 1]]}, {"ranges": [[2, 3]]}]
    first.crash()
    gate.open()
    again = life().client.attach(batch.id).wait(WAIT_S)
    assert [job.status.value for job in again] == ["cancelled", "succeeded", "cancelled"]
    assert gate.seen == [0, 1], "the manager that was killed had promised not to run the last one"
    assert rows_by_job(ledger_path, batch.id) == {(k, 0): 1 for k in range(3)}


def test_a_cancelled_job_that_was_redriven_is_run_in_the_next_life(life, make_gate, until):
    gate = make_gate(is_open=True)
    first = life()
    first.client.queue("default").pause()
    batch = first.client.map(gate, range(2))
    batch[1].cancel()
    until(batch[1].done)
    assert first.link().call("redrive", batch.id) == 1
    batch[0].cancel()
    first.crash()
    second = life()
    second.client.queue("default").resume()
    assert second.client.attach(batch.id).wait(WAIT_S).counts() == {"cancelled": 1, "succeeded": 1}
    assert gate.seen == [1]


def test_cancelling_a_job_that_has_ended_writes_nothing(life, ledger_path):
    batch = life().client.map(lambda x: x, range(2)).wait(WAIT_S)
    batch[0].cancel()
    assert batch[0].result(WAIT_S) == 0
    assert events_of(ledger_path, batch.id, "jobs_cancelled") == []
