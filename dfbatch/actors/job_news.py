"""Steps and log lines of jobs on their way to the manager: in order, each once, and with the outcomes of their jobs.

Two threads of a worker send messages, and one may overtake the other. So what a
message takes from the context is numbered and goes with every further message until
the manager has answered one of them; the manager drops the numbers it has had.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable

from dfbatch.actors.context import JobContext
from dfbatch.actors.messages import News

MOST_UNTOLD = 2_000
"""Steps and lines on their way; beyond it the context keeps what is new, within bounds of its own."""
MOST_TOLD = 500
"""The newest of those that arrived are kept for a manager that does not know them: the next one."""
MOST_HEARD = 10_000
"""Processes of workers whose numbers a manager remembers."""


class JobNews:
    """What a worker tells of its jobs. From any thread."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._untold: deque[News] = deque()
        self._told: deque[News] = deque()
        self._n_untold = self._n_told = self._number = 0

    def take(self) -> tuple[News, ...]:
        """All that the manager is not known to have, in order: every message must bring all of it."""
        with self._lock:
            if self._n_untold < MOST_UNTOLD:
                steps, lines = self._context.take_steps(), self._context.said.take()
                if steps or lines:
                    self._number += 1
                    self._untold.append(News(self._number, steps, lines))
                    self._n_untold += len(steps) + len(lines)
            return tuple(self._untold)

    def take_for_hello(self) -> tuple[News, ...]:
        """The same, and the newest of what other messages have brought: perhaps to a manager that is gone."""
        untold = self.take()
        with self._lock:
            first = untold[0].number if untold else self._number + 1
            return (*(news for news in self._told if news.number < first), *untold)

    def confirm(self, brought: tuple[News, ...]) -> None:
        """The manager has these, and so all before them."""
        if not brought:
            return
        with self._lock:
            while self._untold and self._untold[0].number <= brought[-1].number:
                news = self._untold.popleft()
                self._told.append(news)
                self._n_untold -= _size(news)
                self._n_told += _size(news)
            while self._n_told > MOST_TOLD:
                self._n_told -= _size(self._told.popleft())


class NewsHeard:
    """How far a manager has heard each process of a worker."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, int] = OrderedDict()

    def fresh(self, incarnation: str, brought: Iterable[News]) -> list[News]:
        """Those not heard before, which are heard from now on."""
        newest = self._newest.get(incarnation, 0)
        fresh = [news for news in brought if news.number > newest]
        if fresh:
            self._newest[incarnation] = fresh[-1].number
            self._newest.move_to_end(incarnation)
            while len(self._newest) > MOST_HEARD:
                self._newest.popitem(last=False)
        return fresh


def _size(news: News) -> int:
    return len(news.steps) + len(news.logs)
