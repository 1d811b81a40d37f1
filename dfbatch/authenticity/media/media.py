"""One opened media item: its bytes, read once, and what they really are."""

from __future__ import annotations

import io
from dataclasses import dataclass
from enum import StrEnum


class MediaKind(StrEnum):
    """The families that detectors are written for."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    PDF = "pdf"


@dataclass(frozen=True, slots=True)
class Media:
    """``data`` are all bytes of the item; ``sha256`` was taken of them before any decoding.

    ``media_type`` is sniffed from the bytes (``image/jpeg``), never taken from the
    name. ``named_type`` is what the file's name promises, or None. ``uri`` is what
    the user gave, for display. ``width``, ``height`` are pixels, ``frames`` a
    count, ``duration_s`` seconds; None where the kind has none or it is not known.
    """

    data: bytes
    sha256: str
    kind: MediaKind
    media_type: str
    uri: str | None = None
    named_type: str | None = None
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    duration_s: float | None = None

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        return len(self.data)

    def open(self) -> io.BytesIO:
        """A fresh binary file over the bytes (no copy until written to)."""
        return io.BytesIO(self.data)
