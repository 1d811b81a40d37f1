"""What a worker knows of contents that were verified before: the index of the ledger, and the rows it leads to."""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from typing import Any

import numpy as np
import pyarrow as pa

from dfbatch.errors import DfbatchError
from dfbatch.ledger.columns import Int64s
from dfbatch.ledger.reading import LedgerReader
from dfbatch.ledger.reuse_index import Keys, ReuseIndex, empty_index, index_path, keys_of_hex, load_index
from dfbatch.ledger.reuse_rows import origin_rows, rows_from
from dfbatch.ledger.storage import Storage

NEIGHBOURS = 512
"""Rows read at once around an origin, because the next item probably comes from beside it."""
MOST_ROWS = 4096
LOOK_AGAIN_S = 5.0
"""How often an index on an object store is fetched anew."""
_TROUBLE = (DfbatchError, OSError, pa.ArrowException)
_logger = logging.getLogger("dfbatch.worker")


class ReuseMemory:
    """Answers for one verifier and model at a time. Used by one thread. Whatever goes wrong means only: not known."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._reader: LedgerReader | None = None
        self._who: tuple[str, str | None] = ("", None)
        self._index: ReuseIndex = empty_index()
        self._seen: Any = None
        self._rows: OrderedDict[str, tuple[pa.Table, int]] = OrderedDict()

    def begin(self, fingerprint: str, model_fingerprint: str | None) -> None:
        """Look whether the index has changed; another verifier or model forgets what was known."""
        if (fingerprint, model_fingerprint) != self._who:
            self._who = (fingerprint, model_fingerprint)
            self._seen = None
            self._rows.clear()
        stamp = self._stamp(fingerprint)
        if self._seen is None or stamp != self._seen:
            self._index, self._seen = load_index(self._storage, fingerprint), stamp

    def find(self, keys: Keys) -> list[tuple[Int64s, pa.Table]]:
        """``(positions in keys, rows)`` of what is known; see ``origin_rows``."""
        places, origins = self._index.find(keys)
        if not len(places):
            return []
        try:
            found = origin_rows(self._reading(), keys[places], origins, *self._who)
            return [(places[at], rows) for at, rows in found]
        except _TROUBLE as error:
            self._complain(error)
            return []

    def row(self, sha256: str) -> dict[str, Any] | None:
        """The row of one content, in hexadecimal, as a dict of ``COPIED`` and ``reused_from``; None if not known."""
        if sha256 not in self._rows:
            self._read_around(sha256)
        kept = self._rows.get(sha256)
        if kept is None:
            return None
        table, place = kept
        row: dict[str, Any] = table.slice(place, 1).to_pylist()[0]
        return row

    def _read_around(self, sha256: str) -> None:
        places, origins = self._index.find(keys_of_hex([sha256]))
        if not len(places):
            return
        try:
            rows = rows_from(self._reading(), origins[0], NEIGHBOURS, *self._who)
        except _TROUBLE as error:
            self._complain(error)
            return
        for place, sha in enumerate(rows.column("sha256").to_pylist()):
            self._rows[sha] = (rows, place)
            self._rows.move_to_end(sha)
        while len(self._rows) > MOST_ROWS:
            self._rows.popitem(last=False)

    def _reading(self) -> LedgerReader:
        if self._reader is None:
            self._reader = LedgerReader(self._storage)
        return self._reader

    def _stamp(self, fingerprint: str) -> Any:
        if not self._storage.is_local:
            return int(time.monotonic() / LOOK_AGAIN_S)
        try:
            about = os.stat(os.path.join(self._storage.root, index_path(fingerprint)))
        except OSError:
            return "missing"
        return about.st_ino, about.st_mtime_ns, about.st_size

    def _complain(self, error: Exception) -> None:
        _logger.warning("Outcomes of verifier %s cannot be reused now: %s", self._who[0], error)


def positions_left(n: int, taken: list[Int64s]) -> Int64s:
    """Positions below ``n`` that are not among those taken."""
    left = np.ones(n, np.bool_)
    for some in taken:
        left[some] = False
    return np.flatnonzero(left)
