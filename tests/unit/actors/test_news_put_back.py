"""News of jobs that a message could not bring to the manager go with the next one: bounded, in order, once."""

from __future__ import annotations

import threading

import pytest

from dfbatch.actors import context as context_module
from dfbatch.actors import patience as patience_module
from dfbatch.actors import worker as worker_module
from dfbatch.actors.context import JobContext
from dfbatch.actors.log_ring import MOST_BYTES, MOST_KEPT, MOST_LINES, LogRing
from dfbatch.actors.messages import Control, ExchangeReply, HelloReply, StepReport
from dfbatch.actors.position_mark import PositionMark
from dfbatch.actors.worker import Worker
from dfbatch.errors import LedgerFenced, ManagerRecovering, ManagerUnavailable

pytestmark = pytest.mark.integration

JOB = ("k3f2m9qx", 3, 1)
OTHER = ("k3f2m9qx", 4, 1)


def texts(lines):
    return [line.text for line in lines]


# -------------------------------------------------------------------------------------------------- log lines


def test_lines_that_were_not_sent_come_before_what_was_said_since():
    ring = LogRing()
    ring.add(JOB, "one\ntwo")
    first = ring.take()
    ring.add(OTHER, "three")
    second = ring.take()
    ring.add(JOB, "four")
    ring.put_back(second)
    ring.put_back(first)
    assert texts(ring.take()) == ["one", "two", "three", "four"]
    assert ring.take() == ()


def test_of_too_many_lines_the_oldest_go_and_are_counted():
    ring = LogRing()
    for k in range(MOST_LINES):
        ring.add(JOB, f"old {k}")
    unsent = ring.take()
    for k in range(MOST_LINES // 2):
        ring.add(JOB, f"new {k}")
    ring.put_back(unsent)
    ring._tokens = 2.0 * MOST_LINES
    taken = texts(ring.take())
    assert taken[0] == f"... {len(unsent) - MOST_LINES // 2:,} lines left out"
    assert taken[1] == f"old {len(unsent) - MOST_LINES // 2}"
    assert taken[-1] == f"new {MOST_LINES // 2 - 1}"


def test_bytes_stay_bounded_however_often_it_fails():
    ring = LogRing()
    for _ in range(20):
        for _ in range(MOST_LINES):
            ring.add(JOB, "x" * 1_000)
        ring.put_back(ring.take())
    assert sum(len(line.text) for line in ring._lines) == ring._n_bytes <= MOST_BYTES


def test_lines_of_a_job_that_failed_stay_safe_from_what_others_say():
    ring = LogRing()
    ring.add(JOB, "why it fails")
    ring.keep(JOB)
    ring.put_back(ring.take())
    for k in range(2 * MOST_LINES):
        ring.add(OTHER, f"line {k}")
    assert texts(ring.take())[0] == "why it fails"


def test_of_very_many_jobs_that_failed_the_newest_are_remembered():
    ring = LogRing()
    for k in range(3 * MOST_KEPT):
        ring.add(("k3f2m9qx", k, 1), f"of {k}")
        ring.keep(("k3f2m9qx", k, 1))
        ring.put_back(ring.take())
    assert texts(ring.take()) == [f"of {k}" for k in range(2 * MOST_KEPT, 3 * MOST_KEPT)]
    assert len(ring._failed) == MOST_KEPT


# ------------------------------------------------------------------------------------------------------ steps


def test_a_step_that_was_not_sent_is_told_as_it_is_now_with_its_first_time():
    context = JobContext(batch_id="k3f2m9qx")
    context.progress(1, 10, "scan")
    unsent = context.take_steps()
    context.progress(1, 2, "write")
    context.progress(9, 10, "scan")
    context.put_back(unsent, ())
    scan, write = context.take_steps()
    assert (scan.step, scan.done, write.step) == ("scan", 9, "write")
    assert scan.started_at == unsent[0].started_at
    assert context.take_steps() == ()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_messages_that_fail_in_any_order_leave_the_newest_news(order):
    context = JobContext(batch_id="k3f2m9qx")
    unsent = []
    for done in (1, 2):
        context.progress(done, 10, "scan")
        unsent.append(context.take_steps())
    for k in order:
        context.put_back(unsent[k], ())
    (scan,) = context.take_steps()
    assert scan.done == 2


def test_old_news_do_not_follow_newer_ones_that_were_sent():
    """Heartbeats and exchanges go two ways; the manager shows what it heard last."""
    context = JobContext(batch_id="k3f2m9qx")
    context.progress(1, 10, "scan")
    unsent = context.take_steps()
    context.progress(10, 10, "scan")
    assert [s.done for s in context.take_steps()] == [10]
    context.put_back(unsent, ())
    assert context.take_steps() == ()


def test_steps_put_back_wait_in_bounded_memory():
    context = JobContext(batch_id="k3f2m9qx")
    n = context_module.MOST_UNSENT
    context.put_back([StepReport("k3f2m9qx", k, 1, None, 1.0, 2.0, float(k), float(k)) for k in range(3 * n)], ())
    assert [s.job_index for s in context.take_steps()] == list(range(2 * n, 3 * n))
    assert len(context._taken) == n


# --------------------------------------------------------------------------------------------------- messages


class Forgetful:
    """A manager that fails its first calls of a kind as it is told, and takes the rest in.

    A fault is an error to raise, or "hello" for a manager that does not know the worker.
    """

    def __init__(self, heartbeat=(), exchange=()):
        self._faults = {"heartbeat": list(heartbeat), "exchange": list(exchange)}
        self.steps, self.lines, self.refused = [], [], 0
        self.over = threading.Event()

    def _take(self, kind, message):
        if self._faults[kind]:
            fault = self._faults[kind].pop(0)
            self.refused += bool(message.logs)
            if isinstance(fault, Exception):
                raise fault
            return Control(1, say_hello=True)
        self.steps += [report.done for report in message.steps]
        self.lines += texts(message.logs)
        return Control(1, leave=self.over.is_set())

    def hello(self, message):
        return HelloReply(1, frozenset())

    def heartbeat(self, beat):
        return self._take("heartbeat", beat)

    def exchange(self, message):
        control = self._take("exchange", message)
        if message.idle and not control.say_hello:
            assert self.over.wait(60)
            control = Control(1, leave=True)
        return ExchangeReply(control)

    def hand_back(self, worker, lease_id):
        raise AssertionError("it held nothing")

    def leave(self, worker, incarnation):
        self.over.set()


@pytest.fixture
def run(tmp_path, until):
    """Runs a worker with something to tell, until ``told`` says that it was told, and then to its end."""

    def begin(port, told, *reports):
        worker = Worker("w", port, None, PositionMark(tmp_path, "w"))
        for report in reports:
            worker._work.report(report)
        worker.context.batch_id = "k3f2m9qx"
        worker.context.progress(7, 10, "scan")
        worker.context.said.add(JOB, "one\ntwo")
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        until(told)
        port.over.set()
        thread.join(60)
        assert worker.wait_left(0)

    return begin


def test_what_a_heartbeat_could_not_bring_comes_with_the_next_one(run, monkeypatch):
    monkeypatch.setattr(worker_module, "HEARTBEAT_S", 0.02)
    away = (ManagerRecovering(0.01), ManagerUnavailable("away"), LedgerFenced("events", 1, 2), "hello")
    port = Forgetful(heartbeat=away)
    run(port, lambda: port.lines)
    assert port.refused == len(away), "something was lost on the way"
    assert (port.lines, port.steps) == (["one", "two"], [7])


def test_what_an_exchange_brought_to_a_manager_that_knows_nobody_is_brought_again(run, runner, make_chunk, monkeypatch):
    monkeypatch.setattr(worker_module, "HEARTBEAT_S", 0.02)
    port = Forgetful(heartbeat=[ManagerUnavailable("away")], exchange=["hello"])
    run(port, lambda: port.lines, *runner.run(lambda x: x, make_chunk([1])))
    assert port.refused >= 1
    assert (port.lines, port.steps) == (["one", "two"], [7])


def test_what_is_left_goes_with_the_goodbye(run, monkeypatch):
    monkeypatch.setattr(worker_module, "HEARTBEAT_S", 60.0)
    port = Forgetful()
    run(port, lambda: True)
    assert (port.lines, port.steps) == (["one", "two"], [7])


def test_what_an_exchange_was_given_up_with_goes_with_the_goodbye(tmp_path, runner, make_chunk, until, monkeypatch):
    """Outcomes too: the manager may be back by then."""
    monkeypatch.setattr(worker_module, "HEARTBEAT_S", 60.0)
    monkeypatch.setattr(patience_module, "LAST_PATIENCE_S", 0.05)
    brought = []

    class Away(Forgetful):
        with_outcomes = False

        def exchange(self, message):
            if not message.outcomes:
                self.over.wait(0.02)
                return ExchangeReply(Control(1))
            if threading.current_thread().name == "dfbatch-exchange":
                self.with_outcomes |= bool(message.logs)
                raise ManagerUnavailable("away")
            brought.extend(outcomes.seq for outcomes in message.outcomes)
            return ExchangeReply(self._take("exchange", message))

    port = Away()
    worker = Worker("w", port, None, PositionMark(tmp_path, "w"))
    (report,) = runner.run(lambda x: x, make_chunk([1]))
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    until(lambda: worker.vitals().has_met)
    with worker._work.condition:
        worker.context.said.add(JOB, "one")
        worker._work.report(report)
    until(lambda: port.with_outcomes)
    worker.stop()
    thread.join(60)
    assert (brought, port.lines) == ([1], ["one"])
