"""How clients and workers reach a manager: in this process, or through Ray."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Protocol, TypeVar

from dfbatch.actors.messages import Beat, Control, Exchange, ExchangeReply, Hello, HelloReply
from dfbatch.errors import ManagerRecovering, ManagerUnavailable

_T = TypeVar("_T")
PATIENCE_S = 40.0
"""A killed manager is back in 4-5 s plus replay; callers wait this long before they give up."""


class ManagerLink(Protocol):
    """One try of one call. Raises ManagerUnavailable or ManagerRecovering when it may be tried again."""

    def call(self, method: str, *arguments: Any, timeout_s: float = 30.0) -> Any:
        """The answer of ``method``, or the error it raised; waits at most ``timeout_s`` seconds for it."""


def patiently(call: Callable[[], _T], patience_s: float = PATIENCE_S) -> _T:
    """Repeat an idempotent call until the manager answers, or patience ends with ManagerUnavailable."""
    until = time.monotonic() + patience_s
    delay = 0.05
    while True:
        try:
            return call()
        except (ManagerRecovering, ManagerUnavailable) as error:
            if time.monotonic() > until:
                raise ManagerUnavailable(
                    f"The manager did not answer for {patience_s:g} s ({error}). Committed results are safe in the "
                    f"ledger; connect again to start a new manager."
                ) from error
            time.sleep(delay)
            delay = min(delay * 1.5, 1.0)


class LocalLink:
    """Calls a Manager that runs on an event loop of another thread of this process."""

    def __init__(self, manager: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._manager = manager
        self._loop = loop

    def call(self, method: str, *arguments: Any, timeout_s: float = 30.0) -> Any:
        future = self.begin(method, arguments)
        try:
            return future.result(timeout_s)
        except CancelledError:
            raise ManagerUnavailable("The manager of this process was stopped.") from None
        except FutureTimeout:
            if not future.done():
                future.cancel()
            raise ManagerUnavailable(f"The manager did not answer '{method}' within {timeout_s:g} s.") from None

    def begin(self, method: str, arguments: tuple[Any, ...]) -> Future[Any]:
        """The call on its way. Raises ManagerUnavailable if there is nobody to take it."""
        if self._loop.is_closed():
            raise ManagerUnavailable("The manager of this process was stopped.")
        return asyncio.run_coroutine_threadsafe(getattr(self._manager, method)(*arguments), self._loop)


class LinkedManager:
    """What a worker sees of its manager, over any link. One try a call; the worker has its own patience."""

    def __init__(self, link: ManagerLink) -> None:
        self._link = link

    def hello(self, message: Hello) -> HelloReply:
        reply: HelloReply = self._link.call("hello", message)
        return reply

    def exchange(self, message: Exchange) -> ExchangeReply:
        reply: ExchangeReply = self._link.call("exchange", message)
        return reply

    def heartbeat(self, beat: Beat) -> Control:
        control: Control = self._link.call("heartbeat", beat, timeout_s=10.0)
        return control

    def hand_back(self, worker: str, lease_id: int) -> None:
        self._link.call("hand_back", worker, lease_id)

    def leave(self, worker: str, incarnation: str) -> None:
        self._link.call("leave", worker, incarnation, timeout_s=5.0)
