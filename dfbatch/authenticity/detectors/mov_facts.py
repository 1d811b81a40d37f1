"""What the boxes of an MP4 or QuickTime file tell that a demuxer keeps to itself."""

from __future__ import annotations

import datetime
import struct
from typing import Any

from dfbatch.authenticity.media.boxes import Box, find, first, u32, walk

C2PA_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
EPOCH = datetime.datetime(1904, 1, 1, tzinfo=datetime.UTC)
# Encoders skip so much at the start themselves: frames in coding order, lead-in of sound.
REORDERING_S = 0.25
MAX_EDITS = 100
MAX_LISTED = 50
MAX_XMP = 1 << 20


def mov_facts(data: bytes) -> dict[str, Any]:
    """Brands, order of the parts, times of the movie header, edit lists, and whether C2PA or XMP is embedded."""
    parts = list(walk(data))
    kinds = [box.kind for box in parts]
    return {
        **_brands(data),
        "parts": kinds[:MAX_LISTED],
        "n_parts": len(kinds),
        "moov_before_mdat": _before(kinds, "moov", "mdat"),
        "fragmented": "moof" in kinds,
        **_movie_times(data),
        "edit_lists": [edits for index, edits in enumerate(_edit_lists(data)) if index < MAX_LISTED],
        "has_c2pa_box": any(_uuid(data, box) == C2PA_UUID for box in parts),
        "has_xmp": xmp_of(data) is not None,
        "trailing_bytes": max(0, len(data) - max((box.end for box in parts), default=0)),
    }


def xmp_of(data: bytes) -> bytes | None:
    """The XMP packet of the file, at most MAX_XMP bytes of it, or None."""
    for box in walk(data):
        if _uuid(data, box) == XMP_UUID:
            return data[box.body + 16 : min(box.end, box.body + 16 + MAX_XMP)]
    held = first(data, None, "moov", "udta", "XMP_")
    return data[held.body : min(held.end, held.body + MAX_XMP)] if held else None


def _before(kinds: list[str], one: str, other: str) -> bool | None:
    return kinds.index(one) < kinds.index(other) if one in kinds and other in kinds else None


def _uuid(data: bytes, box: Box) -> bytes | None:
    return data[box.body : box.body + 16] if box.kind == "uuid" else None


def _brands(data: bytes) -> dict[str, Any]:
    box = first(data, None, "ftyp")
    if box is None:
        return {"major_brand": None, "minor_version": None, "compatible_brands": []}
    raw = data[box.body : min(box.end, box.body + 8 + 4 * MAX_LISTED)].decode("latin-1")
    return {
        "major_brand": raw[:4].strip(),
        "minor_version": u32(data, box.body + 4),
        "compatible_brands": [raw[at : at + 4].strip() for at in range(8, len(raw) - 3, 4)],
    }


def _movie_times(data: bytes) -> dict[str, Any]:
    box = first(data, None, "moov", "mvhd")
    if box is None:
        return {"movie_created_at": None, "movie_modified_at": None}
    wide = data[box.body : box.body + 1] == b"\1"
    raw = data[box.body + 4 : box.body + 20].ljust(16, b"\0")
    created, modified = struct.unpack(">QQ", raw) if wide else struct.unpack(">II", raw[:8])
    return {"movie_created_at": _moment(created), "movie_modified_at": _moment(modified)}


def _moment(seconds: int) -> str | None:
    """Seconds since 1904 as ISO 8601; None for 0, which many writers leave, and for what no calendar has."""
    if not 0 < seconds < 1 << 33:
        return None
    return (EPOCH + datetime.timedelta(seconds=seconds)).isoformat()


def _edit_lists(data: bytes) -> list[dict[str, Any]]:
    """One entry a track that has edits; ``media_time`` -1 is an empty edit (a delay), times in the file's own units.

    ``starts_at_s`` is where in the recorded track the first shown stretch begins.
    """
    found = []
    for number, track in enumerate(find(data, None, "moov", "trak")):
        box = first(data, track, "edts", "elst")
        if box is None:
            continue
        wide = data[box.body : box.body + 1] == b"\1"
        count, size = u32(data, box.body + 4), 20 if wide else 12
        edits = []
        for index in range(min(count, MAX_EDITS)):
            raw = data[box.body + 8 + index * size : box.body + 8 + (index + 1) * size]
            if len(raw) < size or box.body + 8 + (index + 1) * size > box.end:
                break
            duration, start = struct.unpack(">Qq" if wide else ">Ii", raw[: size - 4])
            edits.append({"duration": duration, "media_time": start})
        start_s = next((edit["media_time"] for edit in edits if edit["media_time"] >= 0), 0) / _timescale(data, track)
        kind = _kind(edits, start_s)
        found.append(
            {"track": number, "n_edits": count, "kind": kind, "starts_at_s": round(start_s, 4), "edits": edits[:8]}
        )
    return found


def _timescale(data: bytes, track: Box) -> int:
    """Units a second of a track's own times."""
    box = first(data, track, "mdia", "mdhd")
    if box is None:
        return 1
    return u32(data, box.body + (20 if data[box.body : box.body + 1] == b"\1" else 12)) or 1


def _kind(edits: list[dict[str, int]], start_s: float) -> str:
    """``whole``, ``delayed``, ``trimmed``, or ``cut``: several stretches of the recording are played in sequence."""
    shown = [edit for edit in edits if edit["media_time"] >= 0]
    if len(shown) > 1:
        return "cut"
    if len(shown) < len(edits):
        return "delayed"
    return "trimmed" if start_s > REORDERING_S else "whole"
