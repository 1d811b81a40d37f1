"""A job is a future over one item."""

import asyncio
import builtins
import threading

import pytest

import dfbatch
from dfbatch.core.states import JobState
from dfbatch.errors import InvalidInput, JobCancelled, JobError, JobExpired, JobFailed, UnknownId
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

WAIT_S = 60.0


@pytest.fixture(scope="module")
def client(module_ledger_path):
    with InProcess(module_ledger_path) as client:
        yield client


class Shop:
    """A verifier with arguments."""

    def __init__(self, price):
        self.price = price

    def __call__(self, item):
        return self.price * item


def test_submit_gives_the_value_that_the_verifier_returned(client):
    job = client.submit(lambda x: x + 1, 41)
    assert job.result(timeout=WAIT_S) == 42
    assert job.exception() is None
    assert job.done()
    assert job.status is JobState.SUCCEEDED
    assert client.submit(lambda x: {"a": x, "b": [x]}, 1).result(WAIT_S) == {"a": 1, "b": [1]}
    assert client.submit(lambda x: None, 1).result(WAIT_S) is None
    assert client.submit(Shop, 3, init={"price": 7}).result(WAIT_S) == 21


def test_the_error_of_a_job_is_raised_where_its_result_is_asked_for(client):
    def divide(x):
        return 1 / x

    job = client.submit(divide, 0)
    with pytest.raises(JobFailed, match=rf"Job {job.id} failed: ZeroDivisionError: division by zero") as caught:
        job.result(WAIT_S)
    error = caught.value
    assert error.error_type == "ZeroDivisionError"
    assert "in divide" in error.traceback_text
    assert (error.job_id, error.batch_id, error.attempts) == (job.id, job.batch_id, 1)
    assert isinstance(job.exception(), JobFailed)
    assert job.status is JobState.FAILED
    assert job.progress().status == "failed"


def test_waiting_for_a_job_may_end_before_its_work(client, gate):
    job = client.submit(gate, 5)
    gate.await_items()
    with pytest.raises(dfbatch.TimeoutError, match=rf"Job {job.id} is running after 0\.05 s; it goes on") as caught:
        job.result(timeout=0.05)
    assert isinstance(caught.value, builtins.TimeoutError)
    assert job.running()
    assert not job.done()
    gate.open()
    assert job.result(WAIT_S) == 5


def test_one_job_of_many_ends_without_the_others(client, make_gate):
    slow = make_gate()
    batch = client.map(lambda x: slow(x) if x == 1 else x, range(4), queue="one-of-many")
    slow.await_items()
    assert batch[0].result(WAIT_S) == 0
    assert not batch.done()
    assert not batch[1].done()
    slow.open()
    assert batch[1].result(WAIT_S) == 1


def test_a_job_that_waits_can_be_cancelled_alone(client):
    """Its queue is paused, or a worker might have fetched it ahead."""
    client.queue("waits").pause()
    batch = client.map(lambda x: x, range(3), queue="waits")
    batch[1].cancel()
    with pytest.raises(JobCancelled, match=rf"Job {batch.id}-1 was cancelled: Cancelled by its handle\."):
        batch[1].result(WAIT_S)
    assert batch[1].cancelled()
    client.queue("waits").resume()
    assert batch.wait(WAIT_S).counts() == {"succeeded": 2, "cancelled": 1}
    assert batch.status == "partial"


def test_a_job_that_runs_keeps_its_outcome(client, gate):
    job = client.submit(gate, 9)
    gate.await_items()
    job.cancel()
    gate.open()
    assert job.result(WAIT_S) == 9


def test_a_job_that_a_worker_has_fetched_ahead_is_cancelled_before_the_item_at_hand_ends(ledger_path, gate):
    """One worker, six jobs: chunks of two and of one. It is at the first of the first chunk."""
    with InProcess(ledger_path, workers=1) as alone:
        batch = alone.map(gate, range(6))
        gate.await_items()
        assert _when(batch[2].running, bool), "it is fetched ahead"
        batch[2].cancel()
        with pytest.raises(JobCancelled, match=r"Cancelled by its handle\."):
            batch[2].result(WAIT_S)
        assert batch[0].running()
        gate.open()
        assert batch.wait(WAIT_S).counts() == {"succeeded": 5, "cancelled": 1}
        assert sorted(gate.seen) == [0, 1, 3, 4, 5], "what came back with it ran, each once"


def test_a_job_expires_with_the_deadline_of_its_batch(client, gate):
    held = client.map(gate, [0, 1])
    gate.await_items(2)
    job = client.submit(lambda x: x, 1, deadline_s=0.3)
    with pytest.raises(JobExpired, match="expired: the deadline of its batch passed"):
        job.result(WAIT_S)
    assert isinstance(job.exception(), JobError)
    assert not job.cancelled()
    gate.open()
    held.wait(WAIT_S)


def test_steps_and_percent_are_followed_while_the_job_runs(client, gate):
    def stepwise(item, ctx):
        ctx.progress(1, 4, "open")
        ctx.progress(3, 4, "examine")
        gate(ctx.job_id)
        return ctx.attempt

    job = client.submit(stepwise, 1)
    gate.await_items()
    assert gate.seen == [job.id]
    progress = _when(job.progress, lambda p: p.step == "examine")
    assert (progress.status, progress.percent, progress.job_id) == ("in_progress", 75.0, job.id)
    gate.open()
    assert job.result(WAIT_S) == 1
    ended = job.progress()
    assert (ended.status, ended.percent) == ("completed", 100.0)


def _when(call, fits):
    """The first answer that fits; steps travel with heartbeats, one a second."""
    patience = threading.Event()
    for _ in range(3000):
        found = call()
        if fits(found):
            return found
        patience.wait(0.02)
    raise AssertionError(f"never came: {found}")


def test_callbacks_and_await(client, gate):
    called = threading.Event()
    job = client.submit(gate, 3)
    job.add_done_callback(lambda ended: called.set() if ended.done() else None)
    gate.open()
    assert called.wait(WAIT_S)

    async def wait_for(handle):
        return await handle

    assert asyncio.run(wait_for(job)) == 3


def test_a_job_is_found_again_by_its_id(client):
    job = client.submit(lambda x: x, 8)
    again = client.attach(job.id.upper())
    assert again == job
    assert hash(again) == hash(job)
    assert again.result(WAIT_S) == 8
    assert repr(again) == f"<Job {job.id} succeeded>"
    with pytest.raises(UnknownId, match=rf"has 1 jobs; there is no job '{job.batch_id}-7'"):
        client.attach(f"{job.batch_id}-7")
    with pytest.raises(InvalidInput, match="no job id like"):
        client.attach("what is this")
    with pytest.raises(UnknownId):
        client.attach("zzzzzzzz-0")


def test_a_transient_error_is_tried_again_and_the_tries_are_kept(client, make_gate):
    gate = make_gate(is_open=True)

    def flaky(item, ctx):
        gate(ctx.attempt)
        if ctx.attempt < 3:
            raise ConnectionResetError("the line broke")
        return ctx.attempt

    retry = dfbatch.Retry(max_attempts=3, initial_s=0.01)
    job = client.submit(flaky, 1, retry=retry)
    assert job.result(WAIT_S) == 3
    assert gate.seen == [1, 2, 3]
    assert job.row()["attempts"] == 3
    tries = client._session.reader.read("attempts", batch_id=job.batch_id).to_pylist()
    assert [(t["attempt"], t["error_type"], t["charged"]) for t in tries] == [
        (1, "ConnectionResetError", True),
        (2, "ConnectionResetError", True),
    ]
    assert all(t["retry_at"] is not None for t in tries)


def test_tries_end_where_the_policy_says(client, make_gate):
    gate = make_gate(is_open=True)

    def never(item):
        gate(item)
        raise ConnectionResetError("the line is down")

    job = client.submit(never, 1, retry=dfbatch.Retry(max_attempts=2, initial_s=0.01))
    with pytest.raises(JobFailed, match="failed after 2 attempts: ConnectionResetError: the line is down"):
        job.result(WAIT_S)
    assert len(gate.seen) == 2
    patient = client.submit(never, 1, retry=dfbatch.Retry(max_attempts=2, give_up_on=[ConnectionError]))
    assert patient.exception(WAIT_S).attempts == 1
