"""Items kept in memory, of all open batches together: one bound, and what was used longest ago goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

import pyarrow as pa

MOST_BYTES = 256 << 20
"""For a whole manager, however many batches are open; half of Ray's object store, where new submits may lie."""
SHELF_BYTES = 64 << 20
"""For one table of one batch, so that a giant one leaves room for others."""
_Key = TypeVar("_Key", bound=Hashable)


class PayloadMemory:
    """The shelves of one manager. Used by one thread.

    ``max_bytes`` bounds all of them together. Of the batch that was leased from last the newest table on each shelf
    stays, whatever its size: the next lease would only read it again.
    """

    def __init__(self, max_bytes: int = MOST_BYTES) -> None:
        self.n_bytes = 0
        self._max_bytes = max_bytes
        self._shelves: OrderedDict[Shelf[Any], None] = OrderedDict()
        """Those that hold something, the one used longest ago first."""

    def __len__(self) -> int:
        return len(self._shelves)

    def used(self, shelf: Shelf[Any]) -> None:
        """The shelf was asked for something that it holds."""
        self._shelves.move_to_end(shelf)

    def added(self, shelf: Shelf[Any], n_bytes: int) -> None:
        """So much was put on the shelf: what was used longest ago makes room."""
        self.n_bytes += n_bytes
        self._shelves[shelf] = None
        self._shelves.move_to_end(shelf)
        if self.n_bytes <= self._max_bytes:
            return
        for other in list(self._shelves):
            n_stay = 1 if other.batch_id == shelf.batch_id else 0
            while self.n_bytes > self._max_bytes and len(other) > n_stay:
                other.drop_oldest()

    def removed(self, shelf: Shelf[Any], n_bytes: int) -> None:
        """So much was taken from the shelf, by whoever it was."""
        self.n_bytes -= n_bytes
        if not len(shelf):
            self._shelves.pop(shelf, None)


class Shelf(Generic[_Key]):
    """Tables with items of one batch by key, in ``memory``; at most ``max_bytes``, but at least the newest one."""

    def __init__(self, memory: PayloadMemory, batch_id: str, max_bytes: int = SHELF_BYTES) -> None:
        self.batch_id = batch_id
        self.n_bytes = 0
        self._memory = memory
        self._max_bytes = max_bytes
        self._tables: OrderedDict[_Key, tuple[pa.Table, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tables)

    def kept(self) -> list[_Key]:
        """Keys of all tables, the one used longest ago first."""
        return list(self._tables)

    def get(self, key: _Key) -> pa.Table | None:
        """The table, which counts as used now; None if it is not here, or not any more."""
        found = self._tables.get(key)
        if found is None:
            return None
        self._tables.move_to_end(key)
        self._memory.used(self)
        return found[0]

    def put(self, key: _Key, table: pa.Table) -> None:
        """Keep the table as the newest one, in place of another of that key."""
        if key in self._tables:
            self._drop(key)
        n_bytes = table.nbytes
        self._tables[key] = table, n_bytes
        self.n_bytes += n_bytes
        self._memory.added(self, n_bytes)
        while self.n_bytes > self._max_bytes and len(self._tables) > 1:
            self.drop_oldest()

    def drop_oldest(self) -> None:
        """Forget the table used longest ago. Raises StopIteration if there is none."""
        self._drop(next(iter(self._tables)))

    def clear(self) -> None:
        """Forget all tables."""
        while self._tables:
            self.drop_oldest()

    def _drop(self, key: _Key) -> None:
        _, n_bytes = self._tables.pop(key)
        self.n_bytes -= n_bytes
        self._memory.removed(self, n_bytes)
