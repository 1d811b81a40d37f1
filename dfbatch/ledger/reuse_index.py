"""Which job verified a content before: one sorted file of fixed-width records per verifier fingerprint.

``reuse/<fingerprint>.idx`` is a header, then the keys (SHA-256, 32 bytes each, ascending), then for each key the
newest job that succeeded with it: batch id, job index, generation. It is derived from the results table and may be
deleted at any time; a missing or damaged file means less reuse and nothing else, because whoever follows an entry
checks the row that it leads to.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dfbatch.errors import DfbatchError
from dfbatch.ledger.storage import Storage

MOST_RECORDS = 1 << 20
"""Records kept; those of the oldest batches are dropped first."""

MOST_FILES = 32
"""Fingerprints kept; an edited verifier leaves its old file behind."""

FOLDER = "reuse"
KEY_BYTES = 32
ORIGIN = np.dtype([("batch_id", "S8"), ("job_index", "<i8"), ("generation", "<i8")])

_MAGIC = b"DFBREUSE"
_FORMAT = 1
_HEADER = struct.Struct("<8sIxxxxQqQ24x")
_KEY = np.dtype(f"S{KEY_BYTES}")

_NO_DIGIT = 255
_DIGIT = np.full(256, _NO_DIGIT, np.uint8)
_DIGIT[[ord(letter) for letter in "0123456789abcdef"]] = range(16)

Keys = npt.NDArray[np.uint8]
"""SHA-256 values as rows of 32 bytes. A row of zeros is no key and is never found."""

Origins = npt.NDArray[Any]
"""Records of the dtype ``ORIGIN``."""


def keys_of_hex(texts: list[str]) -> Keys:
    """SHA-256 values in hexadecimal as keys; what is none becomes zeros."""
    found = np.zeros((len(texts), KEY_BYTES), np.uint8)
    good = [k for k, text in enumerate(texts) if len(text) == 2 * KEY_BYTES and text.isascii()]
    if good:
        letters = np.frombuffer("".join(texts[k] for k in good).encode(), np.uint8).reshape(-1, 2 * KEY_BYTES)
        digits = _DIGIT[letters]
        keys = digits[:, ::2] << 4 | digits[:, 1::2] & 15
        keys[(digits == _NO_DIGIT).any(axis=1)] = 0
        found[good] = keys
    return found


def hex_of_keys(keys: Keys) -> list[str | None]:
    """Keys in hexadecimal; None for a row of zeros."""
    return [row.tobytes().hex() if row.any() else None for row in keys]


@dataclass(frozen=True, slots=True)
class ReuseIndex:
    """Sorted keys and their origins. ``version`` and ``rows``: how far the results table was read; -1 for not at all.

    The arrays may lie in a file that is mapped into memory.
    """

    keys: Keys
    origins: Origins
    version: int = -1
    rows: int = 0

    def __len__(self) -> int:
        return len(self.origins)

    def find(self, keys: Keys) -> tuple[npt.NDArray[np.int64], Origins]:
        """(positions in ``keys`` that were found, their origins)."""
        if not len(self) or not len(keys):
            return np.empty(0, np.int64), np.empty(0, ORIGIN)
        mine, asked = _as_text(self.keys), _as_text(keys)
        places = np.minimum(np.searchsorted(mine, asked), len(mine) - 1)
        found = np.flatnonzero((mine[places] == asked) & keys.any(axis=1))
        return found, np.asarray(self.origins[places[found]])

    def merged(self, keys: Keys, origins: Origins, version: int, rows: int, most: int = MOST_RECORDS) -> ReuseIndex:
        """With these entries too: the newest batch of a key counts, and at most ``most`` entries are kept."""
        real = keys.any(axis=1)
        keys, origins = keys[real], origins[real]
        by_age = np.argsort(origins["batch_id"], kind="stable")
        keys, origins = keys[by_age], origins[by_age]
        by_key = np.argsort(_as_text(keys), kind="stable")
        keys = np.concatenate([self.keys, keys[by_key]])
        origins = np.concatenate([self.origins, origins[by_key]])
        # Two sorted runs: a stable sort joins them in one pass, and keeps the newer entry behind the older one.
        order = np.argsort(_as_text(keys), kind="stable")
        text = _as_text(keys)[order]
        order = order[np.append(text[1:] != text[:-1], True)] if len(order) else order
        if len(order) > most:
            newest = np.argsort(origins["batch_id"][order], kind="stable")[-most:]
            order = order[np.sort(newest)]
        return ReuseIndex(keys[order], origins[order], version, rows)

    def encoded(self) -> bytes:
        """The bytes of the file."""
        header = _HEADER.pack(_MAGIC, _FORMAT, len(self), self.version, self.rows)
        return b"".join((header, np.ascontiguousarray(self.keys).tobytes(), self.origins.tobytes()))


def empty_index() -> ReuseIndex:
    """An index that knows nothing and was read up to nowhere."""
    return ReuseIndex(np.empty((0, KEY_BYTES), np.uint8), np.empty(0, ORIGIN))


def decoded(data: Any) -> ReuseIndex:
    """The index in the bytes of a file, without a copy; an empty one if they are damaged."""
    view = memoryview(data)
    if len(view) < _HEADER.size:
        return empty_index()
    magic, version_of_format, n, version, rows = _HEADER.unpack_from(view)
    whole = len(view) == _HEADER.size + n * (KEY_BYTES + ORIGIN.itemsize)
    if magic != _MAGIC or version_of_format != _FORMAT or not whole:
        return empty_index()
    keys = np.frombuffer(view, np.uint8, n * KEY_BYTES, _HEADER.size).reshape(n, KEY_BYTES)
    origins = np.frombuffer(view, ORIGIN, n, _HEADER.size + n * KEY_BYTES)
    return ReuseIndex(keys, origins, version, rows)


def index_path(fingerprint: str) -> str:
    """Where the file of a verifier is, below the root of the ledger."""
    return f"{FOLDER}/{fingerprint}.idx"


def load_index(storage: Storage, fingerprint: str) -> ReuseIndex:
    """The index of a verifier: mapped into memory on a local disk, else read. Empty if missing or damaged."""
    path = index_path(fingerprint)
    try:
        if storage.is_local:
            with open(os.path.join(storage.root, path), "rb") as file:
                return decoded(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return decoded(storage.read(path))
    except (OSError, ValueError, DfbatchError):  # ValueError: an empty file cannot be mapped
        return empty_index()


def store_index(storage: Storage, fingerprint: str, index: ReuseIndex) -> None:
    """Put the file in its place; readers keep the old one until they look again. Raises StorageRefused."""
    storage.replace(index_path(fingerprint), index.encoded())
    files = sorted(storage.list(FOLDER), key=lambda info: info.mtime)
    for info in files[:-MOST_FILES]:
        storage.delete(info.path)


def _as_text(keys: Keys) -> Any:
    """Each key as one value that numpy can sort and search. Trailing zero bytes do not matter: all have one length."""
    return np.ascontiguousarray(keys).view(_KEY)[:, 0] if len(keys) else np.empty(0, _KEY)
