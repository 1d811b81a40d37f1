"""Bytes kept by their SHA-256: media given by value, and pickled verifiers."""

from __future__ import annotations

import hashlib
import time
from typing import Literal

from dfbatch.errors import LedgerCorrupt, UnknownId
from dfbatch.ledger.storage import Storage

YOUNG_S = 43_200.0
"""Much less than the age at which a file without a reference may be collected."""
Folder = Literal["blobs", "verifiers", "artifacts"]


def put(storage: Storage, data: bytes, folder: Folder = "blobs") -> str:
    """Keep ``data`` and return its SHA-256 as 64 hex digits. Durable on return.

    Bytes that are there already are written again only if they are old: a file that is young is not collected.
    """
    sha = hashlib.sha256(data).hexdigest()
    path = f"{folder}/{sha}"
    try:
        storage.create(path, data)
    except FileExistsError:
        written_at = storage.modified(path)
        if written_at is None or time.time() - written_at > YOUNG_S:
            storage.replace(path, data)
        else:
            storage.sync(path)
    return sha


def get(storage: Storage, sha: str, folder: Folder = "blobs") -> bytes:
    """The bytes of this SHA-256. Raises UnknownId if they are not there, LedgerCorrupt if they have changed."""
    if len(sha) != 64 or not set(sha) <= set("0123456789abcdef"):
        raise UnknownId(f"{sha!r} is no SHA-256 of 64 hex digits.")
    try:
        data = storage.read(f"{folder}/{sha}")
    except FileNotFoundError:
        raise UnknownId(f"{storage.root}/{folder} holds nothing with the SHA-256 {sha}.") from None
    if hashlib.sha256(data).hexdigest() != sha:
        raise LedgerCorrupt(
            f"{storage.root}/{folder}/{sha} has changed since it was written; restore it from a backup."
        )
    return data
