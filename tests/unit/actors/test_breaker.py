"""The breaker that a verifier holds: calls, blocks, fallbacks, threads, and whose fault an error is."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dfbatch.actors.breaker import Breaker, dependencies_of
from dfbatch.core.breaker_policy import BreakerPolicy
from dfbatch.core.circuit_breaker import BreakerState, CircuitBreaker
from dfbatch.errors import BreakerOpen, MediaTruncated


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    policy = BreakerPolicy(minimum_calls=3, open_s=5.0, jitter=0.0, probes=2)
    return Breaker("scorer", CircuitBreaker(policy, np.random.default_rng(0)), clock)


def down(*_):
    raise OSError("down")


def fail(breaker, n=3):
    for _ in range(n):
        with pytest.raises(OSError, match="down"):
            breaker.call(down)


def test_a_call_passes_its_arguments_and_its_value(breaker):
    assert breaker.call(lambda a, b=0: (a, b), 1, b=2) == (1, 2)
    with breaker as entered:
        assert entered is breaker
    assert breaker.metrics()["succeeded"] == 2


def test_it_opens_refuses_probes_and_closes(breaker, clock):
    fail(breaker)
    assert breaker.state is BreakerState.OPEN
    with pytest.raises(BreakerOpen) as caught:
        breaker.call(lambda: 1)
    assert (caught.value.name, caught.value.retry_after_s) == ("scorer", 5.0)
    with pytest.raises(BreakerOpen), breaker:
        pytest.fail("it let a block through")
    clock.now += 5.0
    assert breaker.state is BreakerState.HALF_OPEN
    assert [breaker.call(lambda: 1), breaker.call(lambda: 1)] == [1, 1]
    assert breaker.state is BreakerState.CLOSED


def test_errors_of_a_block_count_and_go_on(breaker):
    for _ in range(3):
        with pytest.raises(OSError, match="down"), breaker:
            down()
    assert breaker.state is BreakerState.OPEN


def test_errors_about_the_item_do_not_count_and_give_the_permit_back(breaker, clock):
    fail(breaker)
    clock.now += 5.0
    for _ in range(20):
        with pytest.raises(MediaTruncated), breaker:
            raise MediaTruncated("cut off")
    with pytest.raises(KeyboardInterrupt):
        breaker.call(lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert breaker.state is BreakerState.HALF_OPEN
    assert [breaker.call(lambda: 1), breaker.call(lambda: 1)] == [1, 1]
    assert breaker.state is BreakerState.CLOSED


def test_a_rule_of_the_users_that_fails_does_not_keep_the_permit(clock):
    policy = BreakerPolicy(minimum_calls=1, probes=1, jitter=0.0, record_on=lambda error: 1 / error.args[0] > 0)
    breaker = Breaker("s", CircuitBreaker(policy, np.random.default_rng(0)), clock)

    def raise_with(x):
        raise ValueError(x)

    with pytest.raises(ValueError, match="1"):
        breaker.call(raise_with, 1)
    clock.now += 5.0
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            breaker.call(raise_with, 0)
    assert breaker.call(lambda: "probe") == "probe"
    breaker.rules.validate()


def test_a_fallback_stands_in_for_what_failed_or_was_refused(breaker):
    assert [breaker.call(down, fallback=None) for _ in range(3)] == [None] * 3
    assert breaker.state is BreakerState.OPEN
    assert breaker.call(down, fallback=0.5) == 0.5
    assert breaker.call(down, fallback=lambda error: type(error).__name__) == "BreakerOpen"


def test_a_fallback_hides_no_error_about_the_item(breaker):
    with pytest.raises(TypeError):
        breaker.call(len, 7, fallback=0)


def test_an_operator_forces_it_open_and_resets_it(breaker):
    breaker.force_open()
    with pytest.raises(BreakerOpen):
        breaker.call(lambda: 1)
    breaker.reset()
    assert breaker.call(lambda: 1) == 1
    assert repr(breaker) == "<Breaker 'scorer': closed>"


def test_blocks_may_be_nested_and_meet_in_threads(breaker):
    with breaker, breaker:
        pass
    gate = threading.Barrier(8)

    def work(k):
        gate.wait(60)
        for n in range(200):
            with breaker:
                assert breaker.call(lambda n=n: n + k) == n + k

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert breaker.metrics()["succeeded"] == 2 + 8 * 200 * 2
    breaker.rules.validate()


def test_threads_get_no_more_probes_than_there_are_permits(breaker, clock):
    fail(breaker)
    clock.now += 5.0
    inside, leave = threading.Semaphore(0), threading.Event()

    def probe():
        inside.release()
        return leave.wait(60)

    with ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(breaker.call, probe) for _ in range(2)]
        assert inside.acquire(timeout=60)
        assert inside.acquire(timeout=60)
        refused = [pool.submit(breaker.call, probe) for _ in range(4)]
        assert all(isinstance(call.exception(60), BreakerOpen) for call in refused)
        leave.set()
        assert all(call.result(60) for call in calls)
    assert breaker.state is BreakerState.CLOSED


# ----------------------------------------------------------------------------- whose fault it is


def caught(action):
    try:
        action()
    except BaseException as error:
        return error
    return None


def test_an_error_tells_which_breakers_counted_it(breaker, clock):
    outer = Breaker("gateway", CircuitBreaker(BreakerPolicy(), np.random.default_rng(0)), clock)
    assert dependencies_of(caught(lambda: breaker.call(down))) == (("scorer",), False)
    assert dependencies_of(caught(lambda: outer.call(breaker.call, down))) == (("scorer", "gateway"), False)
    assert dependencies_of(ValueError("of its own")) == ((), False)
    assert dependencies_of(caught(lambda: breaker.call(len, 7))) == ((), False)


def test_wrapping_does_not_hide_it(breaker):
    def wrapped():
        try:
            breaker.call(down)
        except OSError as error:
            raise RuntimeError("scoring failed") from error

    def rid_of():
        try:
            breaker.call(down)
        except OSError:
            raise RuntimeError("something else") from None

    assert dependencies_of(caught(wrapped)) == (("scorer",), False)
    assert dependencies_of(caught(rid_of)) == ((), False)
    breaker.force_open()

    def refused():
        try:
            breaker.call(down)
        except BreakerOpen as error:
            raise RuntimeError("scoring failed") from error

    assert dependencies_of(caught(refused)) == (("scorer",), True)


def test_an_error_that_was_counted_still_pickles(breaker):
    error = caught(lambda: breaker.call(down))
    assert pickle.loads(pickle.dumps(error)).args == ("down",)
