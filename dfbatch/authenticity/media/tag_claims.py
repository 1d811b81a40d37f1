"""How much the tags of a TIFF stream claim to hold, before a reader copies it all.

A directory may name the same bytes tens of thousands of times: readers copy them
once for each tag, so that a file of 1 MB costs 20 GB.
"""

from __future__ import annotations

import struct

from dfbatch.errors import MediaUnreadable

SPARE_BYTES = 1 << 20
"""What tags may claim beyond the size of the stream: careless writers let a few of them overlap."""
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of one value, by type."""
_POINTERS = frozenset({0x8769, 0x8825, 0xA005})
"""Tags that lead to further directories: of the capture, the place, and interoperability."""
MOST_DIRECTORIES = 8
"""Directories that are read from one stream, and looked at here."""


def check_claims(data: bytes) -> None:
    """Raises MediaUnreadable if the directories that readers load claim more than the stream has."""
    order = "<" if data[:1] == b"I" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    claimed = 0
    seen: set[int] = set()
    try:
        (first,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        waiting = [first]
        while waiting and len(seen) < MOST_DIRECTORIES:
            at = waiting.pop(0)
            if at in seen or not at:
                continue
            seen.add(at)
            n_bytes, further = _directory(data, at, order, big)
            claimed += n_bytes
            waiting += further
            if claimed > len(data) + SPARE_BYTES:
                raise MediaUnreadable(
                    f"The tags of the image claim over {claimed:,} bytes of a stream of {len(data):,}: it is damaged, "
                    f"or made to exhaust memory."
                )
    except (struct.error, OverflowError):
        return  # cut off: the readers say so better


def _directory(data: bytes, at: int, order: str, big: bool) -> tuple[int, list[int]]:
    """(bytes that its tags claim, where further directories begin)."""
    head, entry, inline = ("Q", "HHQQ", 8) if big else ("H", "HHII", 4)
    (count,) = struct.unpack_from(order + head, data, at)
    at += struct.calcsize(order + head)
    length = struct.calcsize(order + entry)
    claimed, further = 0, []
    for k in range(min(count, len(data) // length)):
        tag, kind, n, value = struct.unpack_from(order + entry, data, at + k * length)
        size = n * _SIZES.get(kind, 1)
        if size > inline and value < len(data):
            claimed += min(size, len(data) - value)
        if tag in _POINTERS:
            further.append(value)
    (following,) = struct.unpack_from(order + ("Q" if big else "I"), data, at + count * length)
    return claimed, [*further, following]
