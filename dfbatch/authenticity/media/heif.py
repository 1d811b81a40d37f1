"""Sizes inside HEIC and AVIF files, without decoding them (ISO 23008-12, 6.5.3)."""

from __future__ import annotations

from dfbatch.authenticity.media.boxes import find, u32, walk
from dfbatch.errors import MediaTruncated, MediaUnreadable

_FULL_BOX_BYTES = 4


def heif_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels of the largest picture, or None if no ``ispe`` property gives it.

    Raises MediaTruncated if a box reaches beyond the end of the file, MediaUnreadable
    if there are no pictures in it at all.
    """
    top = list(walk(data))
    for box in top:
        if box.end > len(data):
            missing = box.end - len(data)
            raise MediaTruncated(f"The file ends {missing:,} bytes before its '{box.kind}' part does. Copy it again.")
    metas = [box for box in top if box.kind == "meta"]
    if not metas:
        raise MediaUnreadable("The file is damaged: the list of its pictures ('meta') is missing.")
    sizes = [
        (u32(data, ispe.body + _FULL_BOX_BYTES), u32(data, ispe.body + _FULL_BOX_BYTES + 4))
        for meta in metas
        for properties in walk(data, meta.body + _FULL_BOX_BYTES, meta.end)
        if properties.kind == "iprp"
        for ispe in find(data, properties, "ipco", "ispe")
    ]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)
