"""The blocks of a GIF stream (GIF89a specification)."""

from __future__ import annotations

from dfbatch.errors import MediaTruncated, MediaUnreadable

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B


def gif_frames(data: bytes) -> int:
    """Number of frames.

    Raises MediaTruncated if the stream ends before its trailer, MediaUnreadable if a block has no known sign.
    """
    frames = 0
    try:
        at = 13 + _color_table_bytes(data[10])
        while data[at] != _TRAILER:
            if data[at] == _IMAGE:
                frames += 1
                at += 10 + _color_table_bytes(data[at + 9]) + 1
            elif data[at] == _EXTENSION:
                at += 2
            else:
                raise MediaUnreadable(f"The GIF is damaged: byte {at:,} begins no block.")
            while data[at]:
                at += 1 + data[at]
            at += 1
    except IndexError:
        raise MediaTruncated(f"The GIF ends at byte {len(data):,}, before its content does.") from None
    return frames


def _color_table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
