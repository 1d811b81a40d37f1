"""News of jobs reach the manager in order, once, and with the outcomes of their jobs; memory for them is bounded."""

from __future__ import annotations

import itertools
import threading

import pytest

from dfbatch.actors import patience as patience_module
from dfbatch.actors import worker as worker_module
from dfbatch.actors.context import JobContext
from dfbatch.actors.job_news import MOST_TOLD, MOST_UNTOLD, JobNews, NewsHeard
from dfbatch.actors.link import LinkedManager
from dfbatch.actors.log_ring import LINES_PER_S
from dfbatch.actors.messages import Control, ExchangeReply, HelloReply
from dfbatch.actors.position_mark import PositionMark
from dfbatch.actors.verifier_store import VerifierStore
from dfbatch.actors.worker import Worker
from dfbatch.errors import LedgerFenced, ManagerRecovering, ManagerUnavailable
from dfbatch.ledger.last_words import last_words
from dfbatch.ledger.storage import open_storage

JOB = ("k3f2m9qx", 3, 1)
WAIT_S = 60.0


@pytest.fixture
def context():
    return JobContext(batch_id="k3f2m9qx")


@pytest.fixture
def news(context):
    return JobNews(context)


def texts(brought):
    return [line.text for news in brought for line in news.logs]


# ----------------------------------------------------------------------------------------- what messages bring


def test_each_message_brings_all_that_the_manager_may_not_have(context, news):
    context.said.add(JOB, "one")
    first = news.take()
    context.said.add(JOB, "two")
    second = news.take()
    assert (texts(first), texts(second)) == (["one"], ["one", "two"])
    news.confirm(first)
    assert texts(news.take()) == ["two"]
    news.confirm(second)
    assert news.take() == ()


def test_in_whichever_order_messages_come_each_line_is_heard_once_and_in_order(context, news):
    messages = []
    for text in ("one", "two", "three"):
        context.said.add(JOB, text)
        messages.append(news.take())
    for order in itertools.permutations(messages):
        heard = NewsHeard()
        assert texts(n for message in order for n in heard.fresh("i1", message)) == ["one", "two", "three"]


def test_an_answer_that_comes_late_confirms_nothing_that_was_not_brought(context, news):
    context.said.add(JOB, "one")
    first = news.take()
    context.said.add(JOB, "two")
    news.confirm(news.take())
    context.said.add(JOB, "three")
    news.take()
    news.confirm(first)
    news.confirm(())
    assert texts(news.take()) == ["three"]


def test_a_step_is_told_as_it_is_and_as_it_was_before(context, news):
    context.progress(1, 10, "scan")
    news.take()
    context.progress(9, 10, "scan")
    assert [step.done for parcel in news.take() for step in parcel.steps] == [1, 9]


def test_a_hello_brings_what_was_told_before_too_to_a_manager_that_may_not_know_it(context, news):
    heard = NewsHeard()
    for text in ("one", "two"):
        context.said.add(JOB, text)
        news.confirm(brought := news.take())
        heard.fresh("i1", brought)
    context.said.add(JOB, "three")
    assert texts(news.take_for_hello()) == ["one", "two", "three"]
    assert texts(heard.fresh("i1", news.take_for_hello())) == ["three"]
    assert texts(NewsHeard().fresh("i1", news.take_for_hello())) == ["one", "two", "three"]


def test_another_process_begins_to_count_anew(context):
    heard = NewsHeard()
    for incarnation in ("i1", "i2"):
        context.said.add(JOB, incarnation)
        assert texts(heard.fresh(incarnation, JobNews(context).take())) == [incarnation]


def test_what_waits_for_a_manager_that_is_away_is_bounded_and_the_newest_stays(context, news):
    n = 3 * MOST_UNTOLD
    for k in range(n):
        context.said.add(JOB, f"line {k}")
        context.said._tokens = LINES_PER_S
        news.take()
    assert len(texts(news.take())) == MOST_UNTOLD
    news.confirm(news.take())
    assert texts(news.take())[-1] == f"line {n - 1}"
    assert len(texts(news.take_for_hello())) <= MOST_TOLD + MOST_UNTOLD


def test_a_manager_remembers_the_processes_it_heard_last(context, monkeypatch):
    monkeypatch.setattr("dfbatch.actors.job_news.MOST_HEARD", 2)
    heard = NewsHeard()
    context.said.add(JOB, "one")
    brought = JobNews(context).take()
    for incarnation in ("i1", "i2", "i3"):
        heard.fresh(incarnation, brought)
    assert heard.fresh("i3", brought) == heard.fresh("i2", brought) == []
    assert heard.fresh("i1", brought) != []


# --------------------------------------------------------------------------------------------------- messages


class Forgetful:
    """A manager that fails its first calls of a kind that bring news as it is told, and takes the rest in.

    A fault is an error to raise, or "hello" for a manager that does not know the
    worker: another one, which has heard nothing.
    """

    def __init__(self, heartbeat=(), exchange=()):
        self._faults = {"heartbeat": list(heartbeat), "exchange": list(exchange)}
        self.steps, self.lines, self.refused, self.heard = [], [], 0, NewsHeard()
        self.over, self._one_at_a_time = threading.Event(), threading.Lock()

    def _take(self, kind, message):
        if self._faults[kind] and message.news:
            fault = self._faults[kind].pop(0)
            self.refused += 1
            if isinstance(fault, Exception):
                raise fault
            with self._one_at_a_time:
                self.steps, self.lines, self.heard = [], [], NewsHeard()
            return Control(1, say_hello=True)
        self._hear(message)
        return Control(1, leave=self.over.is_set())

    def _hear(self, message):
        with self._one_at_a_time:
            news = self.heard.fresh(message.incarnation, message.news)
            self.steps += [report.done for parcel in news for report in parcel.steps]
            self.lines += texts(news)

    def hello(self, message):
        self._hear(message)
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
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        until(lambda: worker.vitals().has_met)
        with worker._work.condition:
            worker.context.batch_id = "k3f2m9qx"
            worker.context.progress(7, 10, "scan")
            worker.context.said.add(JOB, "one\ntwo")
            for report in reports:
                worker._work.report(report)
        until(told)
        port.over.set()
        thread.join(60)
        assert worker.wait_left(0)

    return begin


@pytest.mark.integration
def test_what_a_heartbeat_could_not_bring_comes_with_the_next_one(run, monkeypatch):
    monkeypatch.setattr(worker_module, "HEARTBEAT_S", 0.02)
    away = (ManagerRecovering(0.01), ManagerUnavailable("away"), LedgerFenced("events", 1, 2), "hello")
    port = Forgetful(heartbeat=away)
    run(port, lambda: port.lines)
    assert port.refused == len(away), "something was lost on the way"
    assert (port.lines, port.steps) == (["one", "two"], [7])


@pytest.mark.integration
def test_what_an_exchange_brought_to_a_manager_that_knows_nobody_is_brought_again(run, runner, make_chunk, monkeypatch):
    monkeypatch.setattr(worker_module, "HEARTBEAT_S", 0.02)
    port = Forgetful(heartbeat=[ManagerUnavailable("away")], exchange=["hello"])
    run(port, lambda: port.lines, *runner.run(lambda x: x, make_chunk([1])))
    assert port.refused >= 1
    assert (port.lines, port.steps) == (["one", "two"], [7])


@pytest.mark.integration
def test_what_is_left_goes_with_the_goodbye(run, monkeypatch):
    monkeypatch.setattr(worker_module, "HEARTBEAT_S", 60.0)
    port = Forgetful()
    run(port, lambda: True)
    assert (port.lines, port.steps) == (["one", "two"], [7])


@pytest.mark.integration
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
                self.with_outcomes |= bool(message.news)
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


class Overtaken(LinkedManager):
    """A way to the manager on which a heartbeat with news waits until the outcome of the job is there."""

    def __init__(self, link):
        super().__init__(link)
        self.has_outcome, self.on_its_way, self.arrived = threading.Event(), threading.Event(), threading.Event()

    def exchange(self, message):
        reply = super().exchange(message)
        if message.outcomes:
            self.has_outcome.set()
        return reply

    def heartbeat(self, beat):
        if beat.news and not self.has_outcome.is_set():
            self.on_its_way.set()
            assert self.has_outcome.wait(WAIT_S)
            try:
                return super().heartbeat(beat)
            finally:
                self.arrived.set()
        return super().heartbeat(beat)


@pytest.mark.integration
def test_an_outcome_that_overtakes_a_heartbeat_brings_what_that_one_carries(
    life, tmp_path, ledger_path, until, gate, monkeypatch
):
    monkeypatch.setattr(worker_module, "HEARTBEAT_S", 0.02)
    one = life(workers=(0, 0))

    def fail(item, ctx):
        ctx.progress(1, 2, "scan")
        ctx.log.info("why it fails")
        gate(item)
        raise ValueError("bad")

    port = Overtaken(one.link())
    worker = Worker("w", port, VerifierStore(open_storage(ledger_path)), PositionMark(tmp_path, "w"), idle_s=None)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        batch = one.client.map(fail, [1], fail_fast=False)
        assert port.on_its_way.wait(WAIT_S)
        gate.open()
        batch.wait(WAIT_S)
        assert batch[0].log() == "INFO why it fails"
        until(lambda: last_words(one.client._session.reader, batch.id, 0))
        assert last_words(one.client._session.reader, batch.id, 0) == ["INFO why it fails"]
        assert [(step["step"], step["status"]) for step in batch[0].progress().steps] == [("scan", "failed")]
        assert port.arrived.wait(WAIT_S)
        assert batch[0].log() == "INFO why it fails", "the heartbeat that came late brought it again"
    finally:
        worker.stop()
        thread.join(WAIT_S)


@pytest.mark.integration
def test_the_last_words_of_a_job_whose_outcome_a_dead_manager_had_are_in_the_ledger(
    life, switch, start_worker, refuse, until, gate
):
    def fail(item, ctx):
        gate(item)
        ctx.log.info("why it fails")
        raise ValueError("bad")

    switch.life = one = life(workers=(0, 0))
    batch = one.client.map(fail, [1], fail_fast=False)
    start_worker(switch)
    gate.await_items()
    refuse(one).refusing.set()  # only now: while it refuses, nothing is leased
    gate.open()
    until(lambda: one.manager.log_book.of(batch.id, 0, 0) and one.manager.committing.backlog_rows)
    switch.life = None
    one.crash()
    switch.life = two = life(workers=(0, 0))
    again = two.client.attach(batch.id).wait(WAIT_S)
    assert again[0].log() == "INFO why it fails"
    until(lambda: last_words(two.client._session.reader, batch.id, 0))
    assert last_words(two.client._session.reader, batch.id, 0) == ["INFO why it fails"]
