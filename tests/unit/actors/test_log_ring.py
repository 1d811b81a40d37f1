"""What a worker keeps of what its verifiers say, until the manager is told."""

from __future__ import annotations

import logging

import pytest

from dfbatch.actors import log_ring
from dfbatch.actors.context import JobContext
from dfbatch.actors.log_ring import LINES_PER_S, LONGEST_LINE, MOST_BYTES, MOST_LINES, LogRing

JOB = ("k3f2m9qx", 3, 1)
OTHER = ("k3f2m9qx", 4, 1)


def texts(ring: LogRing) -> list[str]:
    return [line.text for line in ring.take()]


def test_lines_come_out_once_in_order_with_their_job() -> None:
    ring = LogRing()
    ring.add(JOB, "one\ntwo")
    ring.add(OTHER, "three")
    assert [(line[:3], line.text) for line in ring.take()] == [(JOB, "one"), (JOB, "two"), (OTHER, "three")]
    assert ring.take() == ()


def test_a_flood_leaves_the_newest_lines_and_says_how_many_are_missing() -> None:
    ring = LogRing()
    for k in range(10 * MOST_LINES):
        ring.add(JOB, f"line {k}")
    taken = texts(ring)
    assert len(taken) <= MOST_LINES + 1
    assert taken[0] == f"... {9 * MOST_LINES:,} lines left out"
    assert taken[-1] == f"line {10 * MOST_LINES - 1}"


def test_bytes_are_bounded_too_and_a_long_line_is_cut() -> None:
    ring = LogRing()
    for _ in range(MOST_LINES):
        ring.add(JOB, "x" * 10 * LONGEST_LINE)
    taken = texts(ring)
    assert sum(map(len, taken)) <= MOST_BYTES
    assert taken[-1].endswith("... (20,000 characters)")


def test_lines_of_a_job_that_failed_survive_what_others_say() -> None:
    ring = LogRing()
    ring.add(JOB, "why it fails")
    ring.keep(JOB)
    for k in range(2 * MOST_LINES):
        ring.add(OTHER, f"line {k}")
    assert texts(ring)[0] == "why it fails"


def test_no_more_is_sent_than_a_manager_can_bear(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(log_ring.time, "monotonic", lambda: now[0])
    ring = LogRing()
    n_sent = 0
    for _ in range(100):
        for k in range(100):
            ring.add(JOB, f"line {k}")
        n_sent += len(ring.take())
        now[0] += 0.01
    assert n_sent <= 2 * LINES_PER_S + 100


class TestContext:
    def test_its_logger_writes_into_the_ring_from_info_on_with_the_traceback(self) -> None:
        context = JobContext(*JOB, begun=1.0)
        context.log.debug("nobody asked")
        context.log.info("read %d bytes", 7)
        try:
            raise ValueError("bad")
        except ValueError:
            context.log.exception("failed")
        taken = texts(context.said)
        assert taken[:2] == ["INFO read 7 bytes", "ERROR failed"]
        assert taken[-1] == "ValueError: bad"

    def test_between_jobs_nothing_is_kept(self) -> None:
        context = JobContext()
        context.log.warning("loading")
        assert context.said.take() == ()

    def test_two_workers_of_one_process_do_not_mix(self) -> None:
        one, two = JobContext(*JOB, begun=1.0), JobContext(*OTHER, begun=1.0)
        one.log.info("mine")
        assert two.said.take() == ()
        assert len(one.said.take()) == 1

    def test_a_record_that_cannot_be_formatted_ends_nothing(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logging, "raiseExceptions", False)
        context = JobContext(*JOB, begun=1.0)
        context.log.info("%d", "no number")
        assert context.said.take() == ()
        assert "Traceback" not in capsys.readouterr().err
