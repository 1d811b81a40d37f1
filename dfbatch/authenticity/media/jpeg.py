"""The segments of a JPEG stream, without decoding it (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
MAX_SEGMENTS = 100_000


@dataclass(frozen=True, slots=True)
class JpegStructure:
    """``segments``: (marker, start of its payload, length of its payload) in bytes, in order.

    ``frame`` is the marker of the start of frame (0xC2: progressive) or None,
    ``scans`` the number of scans. ``end`` is the offset after the end-of-image marker,
    or None if the stream ends without one; what lies behind it is no part of the picture.
    """

    segments: tuple[tuple[int, int, int], ...]
    frame: int | None
    scans: int
    end: int | None

    @property
    def progressive(self) -> bool:
        """True if the frame is coded in several scans of growing detail (SOF2, 6, 10, 14)."""
        return self.frame in (0xC2, 0xC6, 0xCA, 0xCE)


def jpeg_structure(data: bytes) -> JpegStructure:
    """Walk the markers from the first SOI to its EOI. Never raises: what is cut off or broken ends the walk."""
    segments: list[tuple[int, int, int]] = []
    frame: int | None = None
    scans, at = 0, 2
    while len(segments) < MAX_SEGMENTS:
        match = _NEXT_MARKER.search(data, at)
        if match is None:
            break
        marker, at = data[match.end() - 1], match.end()
        if marker == _EOI:
            return JpegStructure(tuple(segments), frame, scans, at)
        if marker in _ALONE or marker == _SOI:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if length < 2 or at + length > len(data):
            break
        segments.append((marker, at + 2, length - 2))
        frame = marker if frame is None and marker in _FRAMES else frame
        scans += marker == _SOS
        at += length
    return JpegStructure(tuple(segments), frame, scans, None)
