"""The card that follows a batch while the notebook goes on."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from dfbatch.client.displays.live_card import LiveCard
from dfbatch.core.progress import ProgressSnapshot
from dfbatch.core.states import BatchState
from dfbatch.errors import ClientClosed

RUNNING = ProgressSnapshot("k3f2m9qx", None, BatchState.RUNNING, 100, {"succeeded": 40})
ENDED = replace(RUNNING, status=BatchState.SUCCEEDED, counts={"succeeded": 100})


class Board:
    """A display that remembers what was painted, and by which thread."""

    def __init__(self) -> None:
        self.painted: list[tuple[ProgressSnapshot, str]] = []
        self.closed = threading.Event()

    def update(self, snapshot: ProgressSnapshot) -> None:
        self.painted.append((snapshot, threading.current_thread().name))

    def close(self, snapshot: ProgressSnapshot) -> None:
        self.update(snapshot)
        self.closed.set()

    def say(self, text: str) -> None:
        raise AssertionError(text)


@pytest.fixture
def board() -> Board:
    return Board()


def test_the_card_is_made_in_the_calling_thread_and_repainted_from_its_own(board: Board) -> None:
    answers = iter([RUNNING, ENDED])
    card = LiveCard(lambda _: next(answers), board).start()
    assert board.closed.wait(60)
    card.stop(60.0)
    assert [snapshot for snapshot, _ in board.painted] == [RUNNING, ENDED]
    assert [thread for _, thread in board.painted] == [threading.current_thread().name, "dfbatch-card-k3f2m9qx"]
    assert not card.is_live


def test_a_batch_that_has_ended_gets_a_static_card_and_no_thread(board: Board) -> None:
    card = LiveCard(lambda _: ENDED, board).start()
    assert board.closed.is_set()
    assert not card.is_live


def test_a_card_that_is_stopped_paints_its_last_moment(board: Board) -> None:
    asked = threading.Event()

    def poll(max_wait_s: float) -> ProgressSnapshot:
        if max_wait_s:
            asked.set()
        return RUNNING

    card = LiveCard(poll, board).start()
    assert asked.wait(60)
    card.stop(60.0)
    assert board.closed.is_set()
    assert not card.is_live


def test_a_client_that_is_closed_ends_the_card_quietly(board: Board) -> None:
    def poll(max_wait_s: float) -> ProgressSnapshot:
        if max_wait_s:
            raise ClientClosed("closed")
        return RUNNING

    LiveCard(poll, board).start()
    assert board.closed.wait(60)
    assert board.painted[-1][0] is RUNNING
