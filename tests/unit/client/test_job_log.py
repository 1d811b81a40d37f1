"""``job.log(tail=)``: what a job said, while it runs, afterwards, and from the ledger when it failed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfbatch.client.client import Client
from dfbatch.client.job import Job
from dfbatch.core.retry import Retry
from dfbatch.errors import InvalidInput, TransientError, UnknownId
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with InProcess(tmp_path / "ledger", workers=1) as found:
        yield found


def talk(item, ctx):
    for k in range(item):
        ctx.log.info("line %d", k)
    if item == 3:
        raise ValueError("bad")
    return item


def test_a_job_that_has_ended_gives_its_last_lines(client: Client) -> None:
    batch = client.map(talk, [0, 1, 120]).wait(60)
    assert len(batch[2].log(tail=None).splitlines()) == 120
    assert batch[0].log() == ""
    assert batch[1].log() == "INFO line 0"
    assert batch[2].log().splitlines() == [f"INFO line {k}" for k in range(70, 120)]
    assert batch[2].log(tail=2) == "INFO line 118\nINFO line 119"
    assert batch[2].log(tail=0) == ""


def test_a_job_that_runs_says_what_it_has_said_so_far(client: Client, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")

    def wait(item, ctx):
        import os
        import time

        ctx.log.info("begun")
        while not os.path.exists(gate):
            time.sleep(0.01)
        return item

    job = client.submit(wait, 1)
    deadline = time.monotonic() + 60
    pause = time.sleep
    while job.log() != "INFO begun":
        assert time.monotonic() < deadline
        pause(0.02)
    (tmp_path / "gate").touch()
    assert job.result(60) == 1


def test_all_tries_are_there(client: Client) -> None:
    def flaky(item, ctx):
        ctx.log.info("try %d", ctx.attempt)
        if ctx.attempt == 1:
            raise TransientError("later")
        return item

    job = client.submit(flaky, 1, retry=Retry(initial_s=0.01))
    job.result(60)
    assert job.log() == "INFO try 1\nINFO try 2"


def test_the_last_lines_of_a_failed_job_are_in_the_ledger(tmp_path: Path) -> None:
    with InProcess(tmp_path / "ledger") as client:
        batch = client.map(talk, [3, 2], fail_fast=False).wait(60)
    with InProcess(tmp_path / "ledger") as client:
        again = client.attach(batch.id)
        assert again[0].log(tail=2) == "INFO line 1\nINFO line 2"
        assert again[1].log() == ""
        client._session.link = None  # as a client that only reads
        assert again[0].log() == "INFO line 0\nINFO line 1\nINFO line 2"


@pytest.mark.parametrize("tail", [-1, 1.5, "5", True])
def test_a_tail_that_is_none_is_refused(client: Client, tail: object) -> None:
    job = client.submit(talk, 1)
    with pytest.raises(InvalidInput, match="tail"):
        job.log(tail=tail)  # type: ignore[arg-type]


def test_a_job_that_is_not_there_is_unknown(client: Client) -> None:
    batch = client.map(talk, [1]).wait(60)
    with pytest.raises(UnknownId):
        Job(client._session, batch.id, 5).log()
    with pytest.raises(UnknownId):
        Job(client._session, "00000000", 0).log()


def test_failures_without_a_word_write_nothing(client: Client) -> None:
    def fail(item):
        raise ValueError("bad")

    batch = client.map(fail, range(5), fail_fast=False).wait(60)
    assert batch[0].log() == ""
    assert "job_log" not in client._session.reader.read("events", batch_id=batch.id)["kind"].to_pylist()
