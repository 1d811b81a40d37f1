"""The worker's loop, against a real manager, and against none."""

import asyncio
import threading

import pytest

from dfbatch.actors import breakers, worker_calls
from dfbatch.actors import patience as patience_module
from dfbatch.actors import worker as worker_module
from dfbatch.actors.held_work import EARLY_KEPT, HeldWork
from dfbatch.actors.messages import Control, Exchange, ExchangeReply, HelloReply
from dfbatch.actors.outbox import MOST_UNCONFIRMED, Outbox
from dfbatch.actors.patience import Patience
from dfbatch.actors.position_mark import PositionMark
from dfbatch.actors.worker import Worker
from dfbatch.core.breaker_policy import BreakerPolicy
from dfbatch.core.breaker_seen import CONSTRUCTION
from dfbatch.errors import ClientClosed, LedgerFenced, ManagerRecovering, ManagerUnavailable
from dfbatch.testing import InProcess

pytestmark = pytest.mark.integration

WAIT_S = 60.0


def test_a_worker_works_and_leaves_when_there_is_nothing_to_do(life, switch, start_worker, until, monkeypatch):
    monkeypatch.setattr(worker_calls, "PARK_S", 0.3)
    switch.life = one = life(workers=(0, 0))
    batch = one.client.map(lambda x: x + 1, range(100))
    worker = start_worker(switch)
    assert batch.results(WAIT_S).values() == list(range(1, 101))
    assert set(batch.results()["worker_id"].to_pylist()) == {"w"}
    worker._idle_s = 0.2  # only now, or a pause of the machine before the work would count
    until(lambda: one.client.workers() == [])
    assert worker.wait_left(WAIT_S)


def test_a_worker_that_is_stopped_hands_the_rest_back(life, switch, start_worker, gate):
    switch.life = one = life(workers=(0, 0))
    first = start_worker(switch, "first")
    batch = one.client.map(gate, range(40))
    gate.await_items()
    first.stop()
    gate.open()
    assert first.wait_left(WAIT_S)
    assert len(gate.seen) == 1, "it went on after it was told to stop"
    start_worker(switch, "second")
    assert batch.results(WAIT_S).values() == list(range(40))
    assert sorted(gate.seen) == list(range(40))
    assert set(batch.results()["worker_id"].to_pylist()) == {"first", "second"}


def test_an_idle_worker_leaves_at_once_when_it_is_told_to(life, switch, start_worker, until, monkeypatch):
    monkeypatch.setattr(worker_calls, "PARK_S", 10 * WAIT_S)
    call = switch.call
    monkeypatch.setattr(switch, "call", lambda *what, timeout_s=30.0: call(*what, timeout_s=10 * WAIT_S))
    switch.life = one = life(workers=(0, 0))
    worker = start_worker(switch)
    until(lambda: one.client.workers() != [] and worker._parked)
    worker.stop()
    assert worker.wait_left(WAIT_S), "it sat in a parked call"
    assert one.client.workers() == []


def test_an_idle_worker_waits_in_one_call_for_the_end_of_a_manager_that_stops(
    life, switch, start_worker, until, monkeypatch
):
    """Workers of ``dfbatch worker`` stay when a manager ends, for the next one: they are not the pool's to let go."""
    monkeypatch.setattr(worker_calls, "PARK_S", 10 * WAIT_S)
    switch.life = one = life(workers=(0, 0))
    start_worker(switch)
    until(lambda: one.client.workers() != [])
    asked, turns, going_on, close, exchange = [], [], threading.Event(), one.pool.close, one.manager.exchange

    async def slow_close():
        await close()
        while not going_on.is_set():
            await asyncio.sleep(0.01)
            turns.append(one.manager.status)

    async def counted(message):
        asked.append(one.manager.status)
        return await exchange(message)

    one.pool.close, one.manager.exchange = slow_close, counted
    ending = one.link().begin("shutdown", ())
    try:
        until(lambda: turns.count("stopping") > 30)
        assert len(asked) <= 1, f"it asked {len(asked)} times"
    finally:
        going_on.set()
        ending.result(WAIT_S)
    switch.life = two = life(workers=(0, 0))
    assert two.client.map(lambda x: x + 1, [1]).results(WAIT_S).values() == [2]


def test_a_worker_leaves_nothing_behind(life, switch, start_worker, tmp_path, until):
    switch.life = one = life(workers=(0, 0))
    worker = start_worker(switch)
    until(lambda: one.client.workers() != [])
    assert (tmp_path / "w.mark").exists()
    worker.stop()
    worker.wait_left(WAIT_S)
    assert not (tmp_path / "w.mark").exists()


def test_a_verifier_that_fails_to_load_is_not_loaded_again_for_every_chunk(
    life, switch, start_worker, make_gate, monkeypatch
):
    rests = BreakerPolicy(minimum_calls=1, window_calls=1, open_s=600.0, open_max_s=600.0, probes=1)
    monkeypatch.setitem(breakers._POLICIES, CONSTRUCTION, rests)
    tried = make_gate(is_open=True)

    class Broken:
        def __init__(self):
            tried(1)
            raise OSError("no model")

        def __call__(self, item):
            return item

    switch.life = one = life(workers=(0, 0))
    start_worker(switch)
    batch = one.client.map(Broken, range(500)).wait(WAIT_S)
    assert batch.status == "failed"
    assert tried.seen == [1]


def test_two_batches_take_turns_on_one_worker_without_loading_anew(life, switch, start_worker, make_gate):
    made = make_gate(is_open=True)

    class Counts:
        def __init__(self, name):
            made(name)

        def __call__(self, item):
            return item

    switch.life = one = life(workers=(0, 0))
    start_worker(switch)
    batches = [one.client.map(Counts, range(400), init={"name": name}) for name in ("a", "b")]
    for batch in batches:
        batch.wait(WAIT_S)
    assert sorted(made.seen) == ["a", "b"]


def test_a_fault_of_ours_fails_the_rest_of_a_chunk_and_not_the_worker(life, switch, start_worker, monkeypatch):
    from dfbatch.actors import item_run

    real = item_run.outcomes_of

    def broken(chunk, positions, *args, **more):
        if chunk.indices[0] == 0:
            raise AssertionError("dfbatch is broken")
        return real(chunk, positions, *args, **more)

    monkeypatch.setattr(item_run, "outcomes_of", broken)
    switch.life = one = life(workers=(0, 0))
    start_worker(switch)
    batch = one.client.map(lambda x: x, range(200), fail_fast=False).wait(WAIT_S)
    failed = batch.failures()
    assert 0 < len(failed) < 200
    assert set(failed["error_type"].to_pylist()) == {"AssertionError"}
    assert "dfbatch is broken" in failed[0]["error_message"]


# ------------------------------------------------------------------------------------------- without a manager


class Scripted:
    """A manager port that answers from a list."""

    def __init__(self, hello=(), exchange=()):
        self._answers = {"hello": list(hello), "exchange": list(exchange)}
        self.calls = []

    def _answer(self, name, default):
        self.calls.append(name)
        answers = self._answers[name]
        answer = answers.pop(0) if answers else default
        if isinstance(answer, Exception):
            raise answer
        return answer

    def hello(self, message):
        return self._answer("hello", HelloReply(1, frozenset()))

    def exchange(self, message):
        return self._answer("exchange", ExchangeReply(Control(1, leave=True)))

    def heartbeat(self, beat):
        return Control(1)

    def hand_back(self, worker, lease_id):
        raise AssertionError("it held nothing")

    def leave(self, worker, incarnation):
        self.calls.append("leave")


def worker_on(port, tmp_path, **options):
    return Worker("w", port, None, PositionMark(tmp_path, "w"), **options)


def test_a_worker_is_patient_with_a_manager_that_recovers(tmp_path):
    port = Scripted(hello=[ManagerRecovering(0.01), ManagerUnavailable("away"), LedgerFenced("events", 1, 2)])
    worker_on(port, tmp_path).run()
    assert port.calls == ["hello"] * 4 + ["exchange", "leave"]


def test_a_worker_that_is_not_known_any_more_says_hello_again(tmp_path):
    port = Scripted(exchange=[ExchangeReply(Control(1, say_hello=True))])
    worker_on(port, tmp_path).run()
    assert port.calls == ["hello", "exchange", "hello", "exchange", "leave"]


def test_a_worker_whose_manager_stays_away_leaves_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(patience_module, "LOST_MANAGER_S", 0.05)
    monkeypatch.setattr(patience_module, "LAST_PATIENCE_S", 0.1)
    port = Scripted(hello=[ManagerUnavailable("gone for good")] * 10_000)
    worker = worker_on(port, tmp_path)
    worker.run()
    assert worker.wait_left(0)
    assert "leave" not in port.calls


def test_an_error_that_no_retry_mends_ends_the_worker_and_is_not_swallowed(tmp_path):
    worker = worker_on(Scripted(hello=[ClientClosed("wrong door")]), tmp_path)
    with pytest.raises(ClientClosed):
        worker.run()
    assert worker.wait_left(0)


# --------------------------------------------------------------------------------------------------- patience


class Sleeper:
    """In place of ``time``: it passes while somebody sleeps, and at no other time."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_patience_is_short_once_the_worker_is_leaving(monkeypatch):
    monkeypatch.setattr(patience_module, "time", Sleeper())
    monkeypatch.setattr(patience_module, "LAST_PATIENCE_S", 0.05)
    stopping = threading.Event()
    stopping.set()
    tries = []

    def away():
        tries.append(1)
        raise ManagerUnavailable("away")

    assert Patience(stopping).call(away) is None
    assert len(tries) == 4, "one at once, and one every 0.02 s until the patience is over"


def test_each_answer_renews_patience(monkeypatch):
    monkeypatch.setattr(patience_module, "LOST_MANAGER_S", 0.0)
    found = Patience(threading.Event())
    assert found.is_over
    monkeypatch.setattr(patience_module, "LOST_MANAGER_S", 60.0)
    assert not found.is_over
    assert found.call(lambda: "answer") == "answer"


# ----------------------------------------------------------------------------------------- outbox and held work


def report(make_chunk, runner, values=(1, 2), lease_id=7):
    (outcomes,) = runner.run(lambda x: x, make_chunk(list(values), lease_id=lease_id))
    return outcomes


def test_reports_are_numbered_and_kept_until_they_are_confirmed(make_chunk, runner):
    outbox = Outbox()
    first, second = report(make_chunk, runner), report(make_chunk, runner)
    outbox.add(first)
    outbox.add(second)
    assert [o.seq for o in outbox.take_unsent()] == [1, 2]
    assert not outbox.has_unsent
    assert not outbox.is_empty
    outbox.confirm(1)
    assert [o.seq for o in outbox.unconfirmed()] == [2]
    outbox.confirm(0)
    outbox.confirm(2)
    assert outbox.is_empty


def test_what_was_not_received_goes_again_before_what_is_newer(make_chunk, runner):
    outbox = Outbox()
    outbox.add(report(make_chunk, runner))
    sent = outbox.take_unsent()
    outbox.add(report(make_chunk, runner))
    outbox.put_back(sent)
    assert [o.seq for o in outbox.take_unsent()] == [1, 2]
    outbox.put_back(sent)
    outbox.received(outbox.unconfirmed())
    assert outbox.take_unsent() == ()


def test_the_open_part_of_a_chunk_is_what_has_no_outcome_yet(make_chunk, runner):
    chunk = make_chunk([1, 2, 3, 4], first=10)
    outbox = Outbox()
    assert outbox.open_part(chunk).indices.tolist() == [10, 11, 12, 13]
    runner.recall_after = 1
    (outcomes,) = runner.run(lambda x: x, chunk)
    outbox.add(outcomes)
    assert outbox.open_part(chunk).indices.tolist() == [11, 12, 13]
    assert outbox.close_lease(chunk.lease_id) == 1
    assert outbox.close_lease(chunk.lease_id) == 0


def test_a_worker_holds_two_chunks_and_no_more(make_chunk):
    work = HeldWork(threading.Event())
    assert work.has_room(-1.0)
    work.add(make_chunk([1], lease_id=1))
    assert work.has_room(-1.0)
    work.add(make_chunk([2], lease_id=2))
    assert not work.has_room(-1.0)
    running = work.next_chunk()
    assert running.lease_id == 1
    assert not work.has_room(-1.0)
    assert [c.lease_id for c in work.chunks()] == [1, 2]
    assert work.finish(running) == "stopping", "nothing of it was answered"
    assert work.has_room(-1.0)


def test_beside_a_chunk_that_runs_alone_nothing_is_fetched(make_chunk):
    work = HeldWork(threading.Event())
    chunk = make_chunk([1])
    chunk.solo = True
    work.add(chunk)
    work.next_chunk()
    assert not work.has_room(-1.0)


def test_a_full_outbox_stops_the_fetching(make_chunk, runner):
    work = HeldWork(threading.Event())
    for _ in range(MOST_UNCONFIRMED):
        work.report(report(make_chunk, runner))
    assert work.outbox.is_full
    assert not work.has_room(-1.0)
    work.obey(Control(1, durable_seq=MOST_UNCONFIRMED))
    assert work.has_room(-1.0)


@pytest.mark.parametrize(
    ("reason", "cancelled"),
    [("paused", False), ("yield", False), ("queue paused", False), ("jobs cancelled", False), ("Cancelled.", True)],
)
def test_a_recall_concerns_the_rest_and_only_a_cancel_the_item_at_hand(make_chunk, reason, cancelled):
    work = HeldWork(threading.Event())
    chunk = make_chunk([1, 2], lease_id=3)
    work.add(chunk)
    work.obey(Control(1, recalled={3: reason, 99: "another's"}))
    assert work.is_recalled(chunk)
    assert work.is_cancelled(chunk) is cancelled
    assert work.next_chunk() is chunk
    assert work.finish(chunk) == reason


def test_a_recall_that_overtakes_its_chunk_is_not_forgotten(make_chunk):
    """The heartbeat is answered while the exchange is still reading the items of the chunk."""
    work = HeldWork(threading.Event())
    work.obey(Control(1, recalled={3: "yield"}))
    chunk = make_chunk([1, 2], lease_id=3)
    work.add(chunk)
    assert work.is_recalled(chunk)
    assert work.take_recalled() == [chunk]
    assert work.holds_no_chunk()


def test_recalls_of_chunks_that_never_come_are_forgotten(make_chunk):
    work = HeldWork(threading.Event())
    for lease_id in range(10_000):
        work.obey(Control(1, recalled={lease_id: "yield"}))
    assert len(work._early) == EARLY_KEPT


def test_an_exchange_is_plain_data():
    import pickle

    message = Exchange("w", "i", 1, (), True, False)
    assert pickle.loads(pickle.dumps(message)).worker == "w"


class TestDrain:
    def test_what_was_fetched_ahead_goes_back_before_the_item_at_hand_has_ended(
        self, life, switch, start_worker, gate, until
    ):
        switch.life = one = life(workers=(0, 0))
        worker = start_worker(switch, "first")
        batch = one.client.map(gate, range(400))
        gate.await_items()
        until(lambda: one.client.workers()[0]["leases"] == 2)
        worker.stop()
        until(lambda: [(w["state"], w["leases"]) for w in one.client.workers()] == [("draining", 1)])
        assert worker.vitals().state == "draining"
        assert not worker.wait_left(0)
        gate.open()
        assert worker.wait_left(WAIT_S)
        start_worker(switch, "second")
        assert batch.results(WAIT_S).values() == list(range(400))
        assert sorted(gate.seen) == list(range(400)), "some items were run twice"

    def test_its_heart_beats_until_it_has_left(self, life, switch, start_worker, gate, until, monkeypatch):
        monkeypatch.setattr(worker_module, "HEARTBEAT_S", 0.02)
        switch.life = one = life(workers=(0, 0))
        worker = start_worker(switch)
        one.client.map(gate, range(3))
        gate.await_items()
        worker.stop()
        begin = worker.vitals().beat_at
        until(lambda: worker.vitals().beat_at > begin + 0.1)
        gate.open()
        assert worker.wait_left(WAIT_S)

    def test_one_that_leaves_at_once_reports_what_is_finished_and_gives_back_the_rest(
        self, life, switch, start_worker, make_gate, until
    ):
        quick, slow = make_gate(is_open=True), make_gate()
        switch.life = one = life(workers=(0, 0))
        worker = start_worker(switch, "first")
        batch = one.client.map(lambda x: quick(x) if x < 5 else slow(x), range(9))
        slow.await_items()
        # Nothing of what it has reported is on its way any more.
        until(lambda: worker._work.outbox.is_empty and not worker._work._sending)
        worker.leave_now()
        assert one.client.workers() == []
        until(lambda: batch.counts() == {"succeeded": 5, "queued": 4})
        start_worker(switch, "second")
        slow.open()
        assert batch.results(WAIT_S).values() == list(range(9))
        assert sorted(quick.seen) == [0, 1, 2, 3, 4], "finished items were run again"
        assert worker.wait_left(WAIT_S)
        assert [w["worker"] for w in one.client.workers()] == ["second"], "the first came back after its goodbye"


# ---------------------------------------------------------------------------- quick items and a slow one


def test_what_a_worker_has_done_is_known_while_it_is_at_a_slow_item(life, switch, start_worker, make_gate, until):
    """The first chunk of 40 jobs are ten, of which the last one takes long."""
    quick, slow = make_gate(is_open=True), make_gate()
    switch.life = one = life(workers=(0, 0))
    worker = start_worker(switch, "first")
    batch = one.client.map(lambda x: slow(x) if x == 9 else quick(x), range(40))
    slow.await_items()
    until(lambda: batch.counts().get("succeeded") == 9)
    assert worker._work.running.indices.tolist() == list(range(10))
    slow.open()
    assert batch.results(WAIT_S).values() == list(range(40))
    assert sorted(quick.seen + slow.seen) == list(range(40))


# -------------------------------------------------------------------------------------------------- renewal


def test_a_worker_renews_itself_between_chunks_and_nothing_is_lost_or_repeated(ledger_path, tmp_path):
    """Each thread stands for a process: the pool starts another one for the one that left."""
    traces = str(tmp_path)

    def note(item):
        import threading

        with open(f"{traces}/{threading.current_thread().name}.trace", "a") as file:
            file.write(f"{item}\n")
        return item

    with InProcess(ledger_path, workers=1) as client:
        batch = client.map(note, range(2_000), recycle_after_items=700).wait(60)
        assert batch.counts() == {"succeeded": 2_000}
        assert batch.results().values() == list(range(2_000))
    ran = [path.read_text().split() for path in tmp_path.glob("*.trace")]
    assert sorted(int(item) for items in ran for item in items) == list(range(2_000))
    assert len(ran) >= 2
