"""Waiting for several handles, as concurrent.futures does."""

import pytest

import dfbatch
from dfbatch.client.waiting import FIRST_COMPLETED
from dfbatch.errors import InvalidInput
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

WAIT_S = 60.0


@pytest.fixture(scope="module")
def client(module_ledger_path):
    with InProcess(module_ledger_path) as client:
        yield client


def test_handles_come_as_they_end(client, gate):
    slow = client.submit(gate, 1)
    gate.await_items()
    quick = client.submit(lambda x: x, 2)
    found = dfbatch.as_completed([slow, quick, slow], timeout=WAIT_S)
    assert next(found) == quick
    gate.open()
    assert list(found) == [slow]


def test_a_batch_stands_for_its_jobs(client):
    batch = client.map(lambda x: x, range(20))
    assert sorted(job.result() for job in dfbatch.as_completed(batch, timeout=WAIT_S)) == list(range(20))


def test_as_completed_may_run_out_of_time(client, gate):
    job = client.submit(gate, 1)
    with pytest.raises(dfbatch.TimeoutError, match=r"Not all jobs ended within 0\.1 s; they go on"):
        list(dfbatch.as_completed([job], timeout=0.1))
    gate.open()
    job.result(WAIT_S)


def test_wait_parts_what_has_ended_from_what_has_not(client, gate):
    slow, quick = client.submit(gate, 1), client.map(lambda x: x, [1, 2])
    done, not_done = dfbatch.wait([slow, quick], timeout=WAIT_S, return_when=FIRST_COMPLETED)
    assert (done, not_done) == ({quick}, {slow})
    assert dfbatch.wait([slow], timeout=0).not_done == {slow}
    gate.open()
    assert dfbatch.wait([slow, quick], timeout=WAIT_S) == ({slow, quick}, set())
    assert dfbatch.wait(slow).done == {slow}
    assert dfbatch.wait([]) == (set(), set())


def test_a_failed_job_is_one_that_has_ended(client):
    job = client.submit(lambda x: 1 / 0, 1)
    assert dfbatch.wait([job], timeout=WAIT_S).done == {job}


def test_return_when_is_checked():
    with pytest.raises(InvalidInput, match="return_when: 'SOON' is neither FIRST_COMPLETED nor ALL_COMPLETED"):
        dfbatch.wait([], return_when="SOON")
