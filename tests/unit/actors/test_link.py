"""The way to a manager of this process, and patience with one that restarts."""

import asyncio
import threading

import pytest

from dfbatch.actors.link import LinkedManager, LocalLink, patiently
from dfbatch.errors import ManagerRecovering, ManagerUnavailable, QueueFull


class Manager:
    """Answers, refuses, or takes its time."""

    async def double(self, x):
        return 2 * x

    async def refuse(self):
        raise QueueFull("q", 1, 1, 1)

    async def sleep(self):
        await asyncio.Event().wait()

    async def leave(self, worker, incarnation):
        return f"{worker} {incarnation}"


@pytest.fixture
def loop():
    found = asyncio.new_event_loop()
    thread = threading.Thread(target=found.run_forever, daemon=True)
    thread.start()
    yield found
    found.call_soon_threadsafe(found.stop)
    thread.join(60)
    if not found.is_closed():
        found.close()


def test_calls_are_answered_with_values_and_errors_as_they_are(loop):
    link = LocalLink(Manager(), loop)
    assert link.call("double", 21) == 42
    with pytest.raises(QueueFull):
        link.call("refuse")


def test_a_call_that_is_not_answered_in_time_may_be_made_again(loop):
    link = LocalLink(Manager(), loop)
    with pytest.raises(ManagerUnavailable, match=r"did not answer 'sleep' within 0\.05 s"):
        link.call("sleep", timeout_s=0.05)
    assert link.call("double", 1) == 2


def test_a_call_whose_manager_ends_meanwhile_says_so(loop):
    link = LocalLink(Manager(), loop)

    def cancel_all():
        calls = asyncio.all_tasks(loop)
        for task in calls:
            task.cancel()
        if not calls:  # it is not here yet
            loop.call_later(0.01, cancel_all)

    loop.call_soon_threadsafe(cancel_all)
    with pytest.raises(ManagerUnavailable, match="The manager of this process was stopped"):
        link.call("sleep")


def test_nobody_is_called_on_a_loop_that_is_closed():
    closed = asyncio.new_event_loop()
    closed.close()
    with pytest.raises(ManagerUnavailable, match="was stopped"):
        LocalLink(Manager(), closed).call("double", 1)


def test_a_worker_speaks_through_any_link(loop):
    LinkedManager(LocalLink(Manager(), loop)).leave("w", "i")


def answers(*given):
    left = list(given)

    def call():
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return call


def test_patience_outlasts_a_restart():
    assert patiently(answers(ManagerUnavailable("away"), ManagerRecovering(0.1), 7)) == 7


def test_patience_ends_and_says_where_the_work_is():
    with pytest.raises(ManagerUnavailable, match=r"for 0 s \(away\)\. Committed results are safe in the\s+ledger"):
        patiently(answers(*[ManagerUnavailable("away")] * 100), patience_s=0.0)


def test_other_errors_need_no_patience():
    with pytest.raises(QueueFull):
        patiently(answers(QueueFull("q", 1, 1, 1), 7))
