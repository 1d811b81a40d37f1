"""The chunks of a PNG stream, each with its checksum proved (W3C PNG, section 5)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from dfbatch.errors import MediaTruncated, MediaUnreadable

_SIGNATURE_BYTES = 8


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """``(type, start, length)`` of each chunk's payload, in bytes, up to and with IEND.

    Raises MediaTruncated where the file ends before IEND, MediaUnreadable where a
    checksum does not fit.
    """
    view, at = memoryview(data), _SIGNATURE_BYTES
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, start = data[at + 4 : at + 8], at + 8
        if length > 0x7FFFFFFF:
            raise MediaUnreadable(f"The PNG is damaged: a chunk claims {length:,} bytes.")
        if start + length + 4 > len(data):
            break
        stated = int.from_bytes(data[start + length : start + length + 4], "big")
        if zlib.crc32(view[at + 4 : start + length]) != stated:
            name = kind.decode("ascii", "backslashreplace")
            raise MediaUnreadable(f"The PNG is damaged: the checksum of chunk {name!r} at byte {at:,} does not fit.")
        yield kind, start, length
        if kind == b"IEND":
            return
        at = start + length + 4
    raise MediaTruncated(f"The PNG ends at byte {len(data):,}, before its content does. Get the whole file.")
