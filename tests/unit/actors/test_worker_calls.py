"""What workers ask the manager: each answer goes to the process that asked, and to no other of its name."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from dfbatch.actors import worker_calls
from dfbatch.actors.messages import Beat, Exchange, Hello
from dfbatch.version import __version__

pytestmark = pytest.mark.integration

PATIENCE_S = 60.0


@pytest.fixture
def kept():
    """A call that the manager keeps, made beside the test. Gives its future."""
    with ThreadPoolExecutor(1) as threads:
        yield lambda life, method, message: threads.submit(life.link().call, method, message)


@pytest.fixture(autouse=True)
def calls_are_kept_long(monkeypatch):
    monkeypatch.setattr(worker_calls, "PARK_S", PATIENCE_S)
    monkeypatch.setattr(worker_calls, "KEEP_BEAT_S", PATIENCE_S)


def hello(life, incarnation, **story):
    return life.link().call("hello", Hello("w", incarnation, "default", "node", 1, __version__, **story))


def exchange(incarnation, epoch, idle):
    return Exchange("w", incarnation, epoch, (), True, idle)


def test_work_does_not_go_to_a_call_whose_process_is_gone(life, kept, until):
    """It waited for work when its process died; with the work in its hands, that would be nobody's for a minute."""
    one = life(workers=(0, 0))
    epoch = hello(one, "i1").epoch
    waiting = kept(one, "exchange", exchange("i1", epoch, True))
    until(lambda: one.manager.state.workers["w"].wants)
    hello(one, "i2")
    left = waiting.result(PATIENCE_S / 2)
    assert left.chunk is None
    assert left.control.say_hello, "should it live after all, it hears that it was replaced"
    one.client.map(abs, range(5))
    chunk = one.link().call("exchange", exchange("i2", epoch, False)).chunk
    assert chunk.indices.tolist()[0] == 0, "it was given to nobody before"


def test_a_heartbeat_of_a_process_that_is_gone_takes_no_recall_along(life, kept, until):
    one = life(workers=(0, 0))
    epoch = hello(one, "i1").epoch
    one.client.map(abs, range(5))
    chunk = one.link().call("exchange", exchange("i1", epoch, False)).chunk
    beating = kept(one, "heartbeat", Beat("w", "i1", epoch, (chunk.lease_id,)))
    until(lambda: "w" in one.manager.beats)
    hello(one, "i2")
    assert beating.result(PATIENCE_S / 2).say_hello
    again = one.client.map(abs, range(5), priority=5)
    held = one.link().call("exchange", exchange("i2", epoch, False)).chunk
    again.cancel()
    control = one.link().call("heartbeat", Beat("w", "i2", epoch, (held.lease_id,)))
    assert set(control.recalled) == {held.lease_id}
