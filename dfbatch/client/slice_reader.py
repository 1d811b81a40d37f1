"""Reads an iterator or a queue on a thread of its own and hands out bounded slices of its elements."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

SLICE_ITEMS = 10_000
SLICE_BYTES = 32 * 1024 * 1024
SLICE_S = 0.5
"""A slice ends at the first of these: items, bytes, or seconds since its first item came."""


class SliceReader:
    """Reads an iterator on a thread of its own and hands out its elements in bounded slices.

    At most one slice is read ahead, which is the back-pressure. The thread starts with the first ``take``.
    """

    def __init__(
        self,
        elements: Callable[[Callable[[], bool]], Iterator[Any]],
        weigh: Callable[[Any], int] | None = None,
        most_items: int = SLICE_ITEMS,
        most_bytes: int = SLICE_BYTES,
        slice_s: float = SLICE_S,
    ) -> None:
        self._elements = elements
        self._weigh = weigh or _weight
        self._most_items, self._most_bytes, self._slice_s = most_items, most_bytes, slice_s
        self._changed = threading.Condition()
        self._buffer: list[Any] = []
        self._weight = 0
        self._ended = self._closed = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def slices(self) -> Iterator[list[Any]]:
        """Lists of elements as they come, none of them empty. Raises what the source raises."""
        while True:
            elements = self.take()
            if not elements:
                return
            yield elements

    def take(self) -> list[Any]:
        """The next slice; empty at the end. Raises what the iterator raised, once all before it was taken."""
        self._start()
        with self._changed:
            self._changed.wait_for(lambda: self._buffer or self._ended)
            self._changed.wait_for(lambda: self._full or self._ended, timeout=self._slice_s)
            taken, self._buffer, self._weight = self._buffer, [], 0
            self._changed.notify_all()
            if not taken and self._error is not None:
                raise self._error
            return taken

    def close(self) -> None:
        """Read no more."""
        with self._changed:
            self._closed = self._ended = True
            self._buffer = []
            self._changed.notify_all()

    @property
    def _full(self) -> bool:
        return len(self._buffer) >= self._most_items or self._weight >= self._most_bytes

    def _start(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._read, name="dfbatch-stream", daemon=True)
            self._thread.start()

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            elements = self._elements(lambda: self._closed)
            for element in elements:
                if not self._keep(element):
                    break
            close = getattr(elements, "close", None)
            if close is not None:
                close()
        except BaseException as raised:
            error = raised
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify_all()

    def _keep(self, element: Any) -> bool:
        weight = self._weigh(element)
        with self._changed:
            self._changed.wait_for(lambda: not self._full or self._closed)
            if self._closed:
                return False
            self._buffer.append(element)
            self._weight += weight
            if len(self._buffer) == 1 or self._full:
                self._changed.notify_all()
            return True


def _weight(element: Any) -> int:
    """About how many bytes an element holds."""
    size = getattr(element, "nbytes", None)
    if isinstance(size, int):
        return size
    if isinstance(element, str | bytes | bytearray):
        return len(element)
    pixels = getattr(element, "size", None)
    if isinstance(pixels, tuple) and len(pixels) == 2:
        return int(pixels[0]) * int(pixels[1]) * 4
    return 64


def queue_elements(source: Any, stopped: Callable[[], bool], poll_s: float = 0.5) -> Iterator[Any]:
    """The elements of a queue until ``None`` comes out of it, or ``stopped()`` is true."""
    while not stopped():
        for element in _waiting(source, poll_s):
            if element is None:
                return
            yield element


def _waiting(source: Any, poll_s: float) -> list[Any]:
    try:
        found = [source.get(timeout=poll_s)]
    except queue.Empty:  # Ray's own Empty is a subclass of this one
        return []
    several = getattr(source, "get_nowait_batch", None)
    count = min(source.qsize(), SLICE_ITEMS) if several is not None else 0
    try:
        return found + several(count) if several is not None and count else found
    except queue.Empty:  # another consumer was quicker
        return found
