"""Feeding a streamed batch: slices as fast as they are worked off, signs of life, and a seal at the end."""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from dfbatch.client.session import Session
from dfbatch.client.sources import Payload, Stream
from dfbatch.core.policy import BatchPolicy
from dfbatch.core.states import JobState
from dfbatch.errors import (
    DfbatchError,
    InvalidInput,
    ManagerError,
    ProducerLost,
    QueueFull,
    StorageRefused,
)
from dfbatch.ledger import blobs

MOST_WAITING = 50_000
"""A streamed batch takes no more while this many of its jobs wait: that is the back-pressure on its source."""
BEAT_S = 5.0
"""A sign of life at least this often; the policy gives up after many times as long."""
LOST_MANAGER_S = 300.0
"""A manager that stays away for so long is not fed any more."""
_PAUSE_S = 0.1
_WAITING = (JobState.QUEUED, JobState.SCHEDULED, JobState.PAUSED, JobState.RETRYING)
_logger = logging.getLogger("dfbatch.client")


class Feeder:
    """Reads one stream, and hands it slice by slice to the manager.

    Two threads: one reads and extends, one tells the manager that this process lives and sees to it that a source
    that hangs does not keep its batch open for ever.
    """

    def __init__(self, session: Session, stream: Stream) -> None:
        self._session = session
        self._stream = stream
        self._reader = secrets.token_hex(8)
        self._batch_id: str | None = None
        self._n = 0
        self._patience_s = float("inf")
        self._beat_s = BEAT_S
        self._reads_since: float | None = None
        """Monotonic: since when the source has been asked for its next slice; None while it has not."""
        self._lost: str | None = None
        self._ended = threading.Event()
        self._finishing = threading.Lock()
        self._keeper = threading.Thread(target=self._keep_alive, name="dfbatch-feeder-life", daemon=True)

    def first(self) -> Payload:
        """The first slice. Raises InvalidInput if there is none, and what the source raises."""
        if self._stream.reads_dataset:
            self._keeper.start()
        try:
            payload = self._next()
        except BaseException:
            self.close()
            raise
        if payload is None:
            self.close()
            raise InvalidInput("source", "is a stream without a single item", "Give at least one")
        self._store_blobs(payload)
        return payload

    def close(self) -> None:
        """Read no more, and say so."""
        self._ended.set()
        self._stream.close()
        self._say_that_it_is_read(False)

    def start(self, batch_id: str, n: int, policy: BatchPolicy) -> None:
        """Go on in threads: the batch has its first ``n`` jobs."""
        self._batch_id, self._n, self._patience_s = batch_id, n, policy.source_silence_s
        self._beat_s = min(BEAT_S, policy.producer_silence_s / 4, policy.source_silence_s / 4)
        if not self._keeper.is_alive():
            self._keeper.start()
        threading.Thread(target=self._feed, name=f"dfbatch-feed-{batch_id}", daemon=True).start()

    # ------------------------------------------------------------------------------ the thread that reads

    def _feed(self) -> None:
        reason: str | None = None
        try:
            while not self._ended.is_set() and (payload := self._next()) is not None:
                self._hand_over(payload)
        except ProducerLost as error:
            reason = str(error)
        except BaseException as error:
            reason = f"The source raised {type(error).__name__}: {error}"
            if isinstance(error, DfbatchError):
                reason = str(error)
        finally:
            self._ended.set()
        self._finish(self._lost or reason)

    def _next(self) -> Payload | None:
        """The next slice of the source; None at its end."""
        self._reads_since = time.monotonic()
        self._say_that_it_is_read(True)
        try:
            payload = next(self._stream, None)
        finally:
            self._reads_since = None
        return payload

    def _store_blobs(self, payload: Payload) -> None:
        """Bytes given by value are in the ledger before the jobs that name them."""
        for data in payload.new_blobs.values():
            blobs.put(self._session.storage, data)

    def _hand_over(self, payload: Payload) -> None:
        session, batch_id = self._session, self._batch_id
        self._patiently(lambda: self._store_blobs(payload))
        self._wait_for_room()
        if not self._ended.is_set():
            extend = ("extend", batch_id, payload.n, self._n, payload.jobs(), payload.inputs)
            self._n = self._patiently(lambda: session.call(*extend))

    def _wait_for_room(self) -> None:
        """Back-pressure: a Dataset that is not read meanwhile leaves its CPU to the workers."""
        full = False
        while not self._ended.is_set() and self._patiently(self._n_waiting) > MOST_WAITING:
            if not full:
                full = True
                self._say_that_it_is_read(False)
            self._ended.wait(_PAUSE_S)

    def _n_waiting(self) -> int:
        assert self._batch_id is not None
        counts = self._session.progress(self._batch_id).counts
        return sum(counts.get(state, 0) for state in _WAITING)

    def _patiently(self, call: Callable[[], Any]) -> Any:
        """Repeat a call while there is no room, the storage refuses, or the manager is away."""
        until = time.monotonic() + LOST_MANAGER_S
        while True:
            try:
                return call()
            except (QueueFull, StorageRefused):
                until = time.monotonic() + LOST_MANAGER_S
            except ManagerError:
                if time.monotonic() > until:
                    raise
            if self._ended.wait(_PAUSE_S * 5):
                raise ProducerLost(self._lost or "The stream was closed.")

    def _finish(self, reason: str | None) -> None:
        """Seal the batch. One that was cancelled, or given up by the manager, is sealed already."""
        if not self._finishing.acquire(blocking=False):
            return
        self._stream.close()
        if reason is not None and not self._session.closed:
            _logger.warning("Batch %s takes no more: %s", self._batch_id, reason)
        try:
            self._session.call("seal", self._batch_id, reason, patience_s=LOST_MANAGER_S)
        except DfbatchError as error:
            if not self._session.closed:
                _logger.error("Batch %s could not be sealed: %s", self._batch_id, error)
        self._say_that_it_is_read(False)

    # ---------------------------------------------------------------------- the thread that says it lives

    def _keep_alive(self) -> None:
        while not self._ended.wait(self._beat_s):
            if self._session.closed:
                self._ended.set()
                return
            if not self._source_lives():
                return
            with contextlib.suppress(DfbatchError):  # the manager is away: the next beat may reach it
                if self._reads_since is not None:
                    self._say_that_it_is_read(True)
                if self._batch_id is not None and not self._session.call("feeding", self._batch_id, patience_s=BEAT_S):
                    self._ended.set()
                    self._stream.close()

    def _source_lives(self) -> bool:
        """False, and the batch sealed, if the source has handed out nothing for longer than the policy allows."""
        since = self._reads_since
        if self._batch_id is None or since is None or time.monotonic() - since <= self._patience_s:
            return True
        self._lost = (
            f"producer_lost: the source handed out nothing for {self._patience_s:g} s. "
            f"The {self._n:,} jobs it had handed out are finished."
        )
        self._ended.set()
        self._finish(self._lost)
        return False

    def _say_that_it_is_read(self, goes_on: bool) -> None:
        if self._stream.reads_dataset and not self._session.closed:
            with contextlib.suppress(DfbatchError):
                self._session.call("reading_dataset", self._reader, goes_on, patience_s=1.0)
