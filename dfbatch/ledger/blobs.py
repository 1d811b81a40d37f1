"""Bytes kept by their SHA-256: media given by value, and pickled verifiers."""

from __future__ import annotations

import hashlib
from typing import Literal

from dfbatch.errors import LedgerCorrupt, UnknownId
from dfbatch.ledger.storage import Storage

Folder = Literal["blobs", "verifiers", "artifacts"]


def put(storage: Storage, data: bytes, folder: Folder = "blobs") -> str:
    """Keep ``data`` and return its SHA-256 as 64 hex digits. Written once, durable on return."""
    sha = hashlib.sha256(data).hexdigest()
    path = f"{folder}/{sha}"
    try:
        storage.create(path, data)
    except FileExistsError:
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
