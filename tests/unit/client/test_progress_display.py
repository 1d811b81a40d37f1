"""Waiting with a display: it ends when the batch does, and leaves the screen in order however it ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dfbatch.client.progress_display import watch
from dfbatch.clock import ManualClock
from dfbatch.core.progress import ProgressSnapshot
from dfbatch.core.states import BatchState

RUNNING = ProgressSnapshot("k3f2m9qx", None, BatchState.RUNNING, 100, {"succeeded": 40})
ENDED = replace(RUNNING, status=BatchState.SUCCEEDED, counts={"succeeded": 100})


class Recorder:
    """A display that remembers."""

    def __init__(self) -> None:
        self.updates: list[ProgressSnapshot] = []
        self.closed: list[ProgressSnapshot] = []
        self.said: list[str] = []

    def update(self, snapshot: ProgressSnapshot) -> None:
        self.updates.append(snapshot)

    def close(self, snapshot: ProgressSnapshot) -> None:
        self.closed.append(snapshot)

    def say(self, text: str) -> None:
        self.said.append(text)


class Manager:
    """Answers polls from a script; a poll takes ``takes_s``, or as long as it may."""

    def __init__(self, script: list[ProgressSnapshot | type[BaseException]], takes_s: float | None = None) -> None:
        self.clock = ManualClock()
        self.asked: list[float] = []
        self.paused_s = 0.0
        self._script = script
        self._takes_s = takes_s

    def poll(self, max_wait_s: float) -> ProgressSnapshot:
        self.asked.append(max_wait_s)
        self.clock.advance(max_wait_s if self._takes_s is None else self._takes_s)
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(step, ProgressSnapshot):
            return step
        raise step

    def pause(self, seconds: float) -> None:
        self.paused_s += seconds
        self.clock.advance(seconds)

    def watch(self, display: Recorder, timeout_s: float | None = None) -> ProgressSnapshot:
        return watch(self.poll, display, timeout_s, clock=lambda: self.clock.now().mono, pause=self.pause)


@pytest.fixture
def shown() -> Recorder:
    return Recorder()


def test_watching_ends_with_the_batch_and_paints_its_end(shown: Recorder) -> None:
    assert Manager([RUNNING, RUNNING, ENDED]).watch(shown) is ENDED
    assert shown.updates == [RUNNING, RUNNING]
    assert shown.closed == [ENDED]


def test_a_batch_that_had_ended_before_shows_nothing(shown: Recorder) -> None:
    """``results()`` after ``wait()`` does not paint the same card again."""
    assert Manager([ENDED]).watch(shown) is ENDED
    assert (shown.updates, shown.closed) == ([], [])


def test_a_timeout_gives_the_last_snapshot_and_closes_the_display(shown: Recorder) -> None:
    manager = Manager([RUNNING])
    start = manager.clock.now().mono
    assert manager.watch(shown, timeout_s=3.0) is RUNNING
    assert manager.clock.now().mono - start == pytest.approx(3.0)
    assert shown.closed == [RUNNING]


def test_a_timeout_of_zero_asks_once(shown: Recorder) -> None:
    manager = Manager([RUNNING])
    assert manager.watch(shown, timeout_s=0) is RUNNING
    assert manager.asked == [0.0]


def test_a_manager_that_answers_at_once_is_not_asked_without_end(shown: Recorder) -> None:
    manager = Manager([RUNNING], takes_s=0.0)
    manager.watch(shown, timeout_s=1.0)
    assert len(manager.asked) <= 22


def test_the_end_is_told_without_a_pause(shown: Recorder) -> None:
    manager = Manager([RUNNING, ENDED], takes_s=0.0)
    manager.watch(shown)
    assert manager.paused_s == 0.0


def test_an_interrupt_tells_the_way_back_and_goes_on_to_the_caller(shown: Recorder) -> None:
    with pytest.raises(KeyboardInterrupt):
        Manager([RUNNING, KeyboardInterrupt]).watch(shown)
    assert shown.closed == [RUNNING]
    assert 'client.attach("k3f2m9qx").wait()' in shown.said[0]
    assert 'client.attach("k3f2m9qx").cancel()' in shown.said[0]


def test_a_poll_that_fails_closes_the_display_first(shown: Recorder) -> None:
    with pytest.raises(ConnectionError):
        Manager([RUNNING, ConnectionError]).watch(shown)
    assert shown.closed == [RUNNING]
    assert shown.said == []


def test_a_display_that_fails_does_not_end_the_wait(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Recorder):
        tries = 0

        def update(self, snapshot: ProgressSnapshot) -> None:
            self.tries += 1
            raise RuntimeError("no comm")

    broken = Broken()
    assert Manager([RUNNING, RUNNING, RUNNING, ENDED]).watch(broken) is ENDED
    assert broken.tries == 1
    assert "no longer be shown" in caplog.text
