"""The port that every file of a ledger goes through, and the choice of its adapter.

Paths are relative to the ledger's root and use ``/``. What a write returns from is durable.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from dfbatch.errors import StorageUnusable
from dfbatch.ledger.file_info import FileInfo
from dfbatch.ledger.local_storage import LocalStorage
from dfbatch.ledger.remote_storage import RemoteStorage

__all__ = ["FileInfo", "Storage", "open_storage"]


class Storage(Protocol):
    """Files under one root. Writes raise StorageRefused (the OSError is its cause); nothing is half there after it.

    ``exclusive``: ``create`` is an atomic compare-and-swap between processes, so log entries may go through it.
    ``delta_options``: what deltalake needs besides ``root`` to open a table here.
    """

    root: str
    is_local: bool
    exclusive: bool
    delta_options: dict[str, str]

    def create(self, path: str, data: bytes) -> None:
        """Write a new file. Raises FileExistsError if the name is taken."""

    def replace(self, path: str, data: bytes) -> None:
        """Write a file, or put a new one in its place; a reader sees the old bytes or the new ones."""

    def write_parquet(
        self, path: str, table: pa.Table, *, row_group_size: int, dictionary_columns: Sequence[str] = ()
    ) -> int:
        """Write a Parquet file (statistics for the key columns only) and return its size in bytes."""

    def sync(self, path: str) -> None:
        """Make sure that a file which exists is durable, whoever wrote it."""

    def read(self, path: str) -> bytes:
        """All bytes of a file. Raises FileNotFoundError, or StorageUnusable if it cannot be read."""

    def exists(self, path: str) -> bool:
        """True if there is a file of this name."""

    def modified(self, path: str) -> float | None:
        """When the file was last written, in wall seconds; None if there is none."""

    def folders(self) -> list[str]:
        """Names of the folders directly under the root."""

    def list(self, folder: str) -> Sequence[FileInfo]:
        """The files directly in a folder, by name; none if there is no such folder."""

    def delete(self, path: str) -> None:
        """Remove a file; a missing one is no error."""

    def free_bytes(self) -> int | None:
        """Bytes that can still be written, or None where nobody knows."""

    def filesystem(self) -> tuple[Any, str]:
        """``(pyarrow.fs.FileSystem, base)`` for reading: a file is at ``base + '/' + path``."""

    def location(self, path: str) -> str:
        """Where who does not know this storage finds a file: an absolute path, or a URI with all its parameters."""


def open_storage(storage_path: str | Path) -> Storage:
    """The storage at a local path (``~`` is expanded), or a ``file://``, ``s3://``, ``gs://`` or fsspec URI.

    Raises StorageUnusable if the path names no file system that is installed here.
    """
    text = str(storage_path).strip()
    if not text:
        raise StorageUnusable(
            "The storage path is empty; give a folder such as '~/dfbatch_results' or 's3://bucket/x'."
        )
    scheme, separator, rest = text.partition("://")
    if not separator:
        return LocalStorage(text)
    if scheme == "file":
        return LocalStorage("/" + rest.lstrip("/"))
    return RemoteStorage.open(text)
