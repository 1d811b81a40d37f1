"""A batch is a future over many jobs."""

import asyncio
import builtins
import pickle
import threading
from pathlib import Path

import pyarrow.compute as pc
import pytest

import dfbatch
from dfbatch.core.states import BatchState, JobState
from dfbatch.errors import BatchFailed, InvalidInput, UnknownId
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

WAIT_S = 60.0


@pytest.fixture(scope="module")
def client(module_ledger_path):
    with InProcess(module_ledger_path) as client:
        yield client


def odd_fails(item):
    if item % 2:
        raise ValueError(f"{item} is odd")
    return item * 10


@pytest.fixture(scope="module")
def mixed(client):
    """Ten jobs, every other one failed."""
    return client.map(odd_fails, range(10), name="mixed").wait(WAIT_S)


def test_results_come_in_the_order_of_the_items(client):
    batch = client.map(lambda x: x * 2, range(1000))
    assert batch.results(timeout=WAIT_S).values() == [2 * x for x in range(1000)]
    assert batch.status is BatchState.SUCCEEDED
    assert batch.counts() == {"succeeded": 1000}
    assert batch.done()
    assert not batch.running()
    assert not batch.cancelled()


def test_some_failures_make_a_partial_batch_with_every_row_there(mixed):
    assert mixed.status is BatchState.PARTIAL
    assert mixed.counts() == {"succeeded": 5, "failed": 5}
    results = mixed.results()
    assert len(results) == 10
    assert results["status"].to_pylist() == ["succeeded", "failed"] * 5
    assert results.values() == [0, None, 20, None, 40, None, 60, None, 80, None]
    row = results[3]
    assert (row["error_type"], row["error_message"], row["attempts"]) == ("ValueError", "3 is odd", 1)
    assert "odd_fails" in row["traceback"]
    assert "dfbatch/actors" not in row["traceback"]
    assert row["started_at"] <= row["finished_at"]
    assert row["queued_at"] <= row["started_at"]


def test_failures_are_the_failed_rows(mixed):
    assert mixed.failures()["job_index"].to_pylist() == [1, 3, 5, 7, 9]
    assert [str(group) for group in mixed.results().errors()] == ["5 x ValueError: 1 is odd"]


def test_raise_for_failures_tells_of_the_first(mixed, client):
    with pytest.raises(BatchFailed, match=rf"5 of 10 jobs .* The first: {mixed.id}-1: ValueError: 1 is odd"):
        mixed.raise_for_failures()
    fine = client.map(lambda x: x, [1])
    assert fine.raise_for_failures() is fine


def test_a_batch_is_a_sequence_of_jobs(mixed):
    assert len(mixed) == 10
    assert mixed[-1].id == mixed[9].id == f"{mixed.id}-9"
    assert [job.id for job in mixed] == [f"{mixed.id}-{k}" for k in range(10)]
    for outside in (10, -11):
        with pytest.raises(IndexError, match=rf"has 10 jobs; there is no job {outside}"):
            mixed[outside]


def test_waiting_may_end_before_the_work(client, gate):
    batch = client.map(gate, [1, 2])
    gate.await_items()
    with pytest.raises(dfbatch.TimeoutError, match=r"is running with 0 of 2 jobs done after 0\.05 s\. It goes on") as e:
        batch.wait(timeout=0.05)
    assert isinstance(e.value, builtins.TimeoutError)
    with pytest.raises(builtins.TimeoutError):
        batch.results(timeout=0)
    assert batch.running()
    assert not batch.done()
    gate.open()
    assert batch.wait(WAIT_S) is batch


def test_partial_results_are_what_is_committed(client, make_gate):
    first, rest = make_gate(is_open=True), make_gate()
    client.queue("partial").set_policy(concurrency=1)  # each item is reported before the next one begins

    def two_parts(item):
        return first(item) if item < 3 else rest(item)

    batch = client.map(two_parts, range(6), queue="partial")
    rest.await_items()
    stream = batch.iter_results()
    early = [next(stream)["job_index"] for _ in range(3)]
    assert sorted(early) == [0, 1, 2]
    assert batch.results(partial=True)["job_index"].to_pylist() == [0, 1, 2]
    assert not batch.done()
    rest.open()
    late = [row["job_index"] for row in stream]
    assert sorted(early + late) == list(range(6))
    assert batch.done()


def test_results_stream_each_job_once_with_its_output(client):
    batch = client.map(lambda x: {"double": 2 * x}, range(500))
    rows = list(batch.iter_results())
    assert sorted(row["job_index"] for row in rows) == list(range(500))
    assert all(row["output"]["double"] == 2 * row["job_index"] for row in rows)
    assert len(list(batch.iter_results())) == 500


def test_callbacks_run_after_the_end_whenever_they_are_added(client, gate):
    called = threading.Event()
    seen = []

    def note(ended):
        seen.append((ended, ended.status))
        called.set()

    batch = client.map(gate, [1])
    batch.add_done_callback(note)
    gate.await_items()
    assert not called.is_set()
    gate.open()
    assert called.wait(WAIT_S)
    called.clear()
    batch.add_done_callback(note)
    assert called.wait(WAIT_S)
    assert seen == [(batch, BatchState.SUCCEEDED)] * 2


def test_awaiting_a_batch_gives_its_results(client):
    async def both():
        one, two = client.map(lambda x: x, [1]), client.map(lambda x: x, [2])
        return [results.values() for results in await asyncio.gather(_await(one), _await(two))]

    async def _await(batch):
        return await batch

    assert asyncio.run(both()) == [[1], [2]]


def test_an_unsealed_stream_has_no_length_yet(client, make_gate):
    door, gate = make_gate(), make_gate(is_open=True)

    def items():
        yield 1
        yield door(2)

    batch = client.map(gate, items())
    with pytest.raises(TypeError, match="still being streamed in; its length is not known yet"):
        len(batch)
    assert bool(batch)
    assert batch.progress().fraction is None
    assert "streamed" in repr(batch) or batch.id in repr(batch)
    door.open()
    assert batch.wait(WAIT_S).results().values() == [1, 2]
    assert len(batch) == 2


def test_pausing_holds_the_rest_and_resuming_goes_on(client, gate):
    batch = client.map(gate, range(200), queue="paused")
    gate.await_items()
    assert batch.pause() is batch
    gate.open()
    with pytest.raises(dfbatch.TimeoutError, match="is paused"):
        batch.wait(0.3)
    assert batch.status is BatchState.PAUSED
    worked = len(gate.seen)
    assert worked < 200
    assert 0 < batch.counts()["paused"] <= 200 - worked
    assert batch[199].status is JobState.PAUSED
    assert batch.resume().results(timeout=WAIT_S).values() == list(range(200))
    assert sorted(gate.seen) == list(range(200)), "an item was worked twice"


def test_a_batch_that_has_ended_cannot_be_paused(mixed):
    with pytest.raises(InvalidInput, match="has ended as partial and cannot be paused"):
        mixed.pause()


def test_cancelling_keeps_what_was_done_and_tells_the_rest(client, gate):
    batch = client.map(gate, range(300))
    gate.await_items()
    assert batch.cancel() is batch
    gate.open()
    assert batch.wait(WAIT_S).status is BatchState.CANCELLED
    assert batch.cancelled()
    results = batch.results()
    assert len(results) == 300
    counts = results.counts()
    assert counts == batch.counts()
    assert counts["cancelled"] + counts.get("succeeded", 0) == 300
    assert counts["cancelled"] > 0
    assert results.filter(status="cancelled")[0]["error_message"] == "Cancelled by the user."
    batch.cancel()
    assert batch.counts() == counts


def test_a_verifier_may_look_whether_it_was_cancelled(client, make_gate):
    at_work, seen = make_gate(is_open=True), make_gate(is_open=True)

    def patient(item, ctx):
        import threading

        at_work(item)
        for _ in range(2000):
            if ctx.cancelled:
                break
            threading.Event().wait(0.01)
        seen(ctx.cancelled)

    batch = client.map(patient, [1])
    at_work.await_items()
    batch.cancel()
    seen.await_items()
    assert seen.seen == [True]
    batch.wait(WAIT_S)


def test_failed_jobs_run_again_and_their_first_story_is_kept(client, make_gate):
    gate = make_gate()

    def needs_gate(item):
        import threading  # the state of the test stands outside: the verifier itself does not change

        if item % 2 and not gate._opened.is_set():
            raise LookupError(f"{item} is not there yet")
        threading.Event()
        return item

    batch = client.map(needs_gate, range(6), retry=dfbatch.Retry(max_attempts=1)).wait(WAIT_S)
    assert batch.counts() == {"succeeded": 3, "failed": 3}
    gate.open()
    assert batch.retry_failed(where=pc.field("job_index") < 2) == 1
    assert batch.wait(WAIT_S).counts() == {"succeeded": 4, "failed": 2}
    assert batch.retry_failed(where=lambda row: row["error_message"].startswith("3")) == 1
    assert batch.wait(WAIT_S).counts() == {"succeeded": 5, "failed": 1}
    assert batch.retry_failed() == 1
    assert batch.wait(WAIT_S).status is BatchState.SUCCEEDED
    assert batch.retry_failed() == 0
    assert batch.results().values() == list(range(6))
    history = client._session.reader.results(batch.id, generation="all")
    first = [row for row in history.to_pylist() if row["generation"] == 0 and row["status"] == "failed"]
    assert [row["job_index"] for row in first] == [1, 3, 5]
    assert [row["error_type"] for row in first] == ["LookupError"] * 3
    assert len(history) == 9


def test_retry_failed_with_a_bad_condition_says_so(mixed):
    with pytest.raises(InvalidInput, match="is no mask of 5 bools"):
        mixed.retry_failed(where=[True])


def test_a_batch_keeps_its_name_and_shows_itself(mixed, client):
    assert mixed.name == "mixed"
    assert mixed.id in repr(mixed)
    assert "mixed" in repr(mixed)
    assert mixed.id in mixed._repr_html_()
    assert mixed.storage_path == client.storage_path
    assert mixed == client.attach(mixed.id)
    assert hash(mixed) == hash(client.attach(mixed.id.upper()))
    assert mixed != mixed[0]


def test_the_report_of_a_batch_is_one_file(mixed, tmp_path):
    path = mixed.report(tmp_path / "report.html")
    text = Path(path).read_text(encoding="utf-8")
    assert mixed.id in text
    assert "3 is odd" in text


def test_the_priority_of_a_batch_can_be_changed(client, gate):
    """What that does to the order is tested where one worker serves: in test_order_end_to_end and in the core."""
    batch = client.map(gate, range(4), priority=1)
    gate.await_items(1)
    assert batch.set_priority(3) is batch
    gate.open()
    assert batch.wait(WAIT_S).status == "succeeded"
    with pytest.raises(InvalidInput, match="priority: '7' is no whole number"):
        batch.set_priority("7")


def test_a_batch_that_is_not_there_is_unknown(client):
    with pytest.raises(UnknownId, match=r"There is no batch 'aaaaaaaa' .*client\.batches\(\) lists"):
        client.attach("aaaaaaaa")


def test_handles_do_not_pretend_to_pickle(mixed):
    with pytest.raises(TypeError):
        pickle.dumps(mixed)
