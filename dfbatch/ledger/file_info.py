"""What a storage tells about a file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file in a folder: ``path`` relative to the root, ``size`` in bytes, ``mtime`` in seconds since 1970."""

    path: str
    size: int
    mtime: float
