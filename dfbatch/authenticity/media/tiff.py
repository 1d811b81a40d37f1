"""The chain of pages of a TIFF file (TIFF 6.0, section 2), bounded."""

from __future__ import annotations

import struct

from dfbatch.errors import MediaTruncated, MediaUnreadable


def tiff_pages(data: bytes, most: int) -> int:
    """Number of pages, counted up to ``most + 1``.

    Raises MediaTruncated if a page lies beyond the end of the file, MediaUnreadable
    if the chain bites its own tail or has no page.
    """
    order = "<" if data[:1] == b"I" else ">"
    big = 43 in data[2:4]
    count_code, pointer_code, entry_bytes, at = ("Q", "Q", 20, 8) if big else ("H", "I", 12, 4)
    pages, waypoint, steps, span = 0, -1, 0, 1
    try:
        (at,) = struct.unpack_from(order + pointer_code, data, at)
        while at and pages <= most:
            # Brent's way to find a loop: it keeps one page, not all of them.
            if at == waypoint:
                raise MediaUnreadable(f"The TIFF is damaged: its page at byte {at:,} leads back to itself.")
            if steps == span:
                waypoint, steps, span = at, 0, 2 * span
            elif pages == 0:
                waypoint = at
            pages, steps = pages + 1, steps + 1
            (count,) = struct.unpack_from(order + count_code, data, at)
            at += struct.calcsize(order + count_code) + entry_bytes * count
            (at,) = struct.unpack_from(order + pointer_code, data, at)
    except (struct.error, OverflowError):
        raise MediaTruncated(f"The TIFF ends at byte {len(data):,}, before its list of pages does.") from None
    if not pages:
        raise MediaUnreadable("The TIFF is damaged: it has no page.")
    return pages
