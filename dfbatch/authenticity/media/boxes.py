"""The boxes of MP4 and QuickTime files, read without a decoder.

Only sizes and small headers are read: this is what tells a cut file from a whole
one, and what stops a small file that claims millions of samples before a demuxer
reserves memory for them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from dfbatch.errors import MediaTooLong, MediaTruncated, MediaUnreadable

ESSENTIAL = frozenset({"ftyp", "moov", "moof", "mdat"})
MAX_BOXES = 200_000
MAX_SAMPLES = 5_000_000
MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Box:
    """``start..end`` with its header; ``end`` is what the box claims and may lie behind the file's end."""

    kind: str
    start: int
    body: int
    end: int


def is_box_type(raw: bytes) -> bool:
    """A four-character code: printable, or with the copyright sign of QuickTime in front."""
    return len(raw) == 4 and all(32 <= byte < 127 or byte == 0xA9 for byte in raw)


def walk(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Boxes side by side in ``data[start:end]``. Stops where no box is.

    Raises MediaUnreadable past MAX_BOXES.
    """
    stop = len(data) if end is None else min(end, len(data))
    for _ in range(MAX_BOXES):
        if start + 8 > stop:
            return
        size = int.from_bytes(data[start : start + 4], "big")
        raw, body = data[start + 4 : start + 8], start + 8
        if not is_box_type(raw):
            return
        if size == 1:
            if start + 16 > stop:
                return
            size, body = int.from_bytes(data[start + 8 : start + 16], "big"), start + 16
        elif size == 0:
            size = stop - start
        if start + size < body:
            return
        yield Box(raw.decode("latin-1"), start, body, start + size)
        start += size
    raise MediaUnreadable(f"The MP4 file has more than {MAX_BOXES:,} parts in one place; it is damaged or hostile.")


def find(data: bytes, parent: Box | None, *path: str) -> Iterator[Box]:
    """All boxes at ``path`` below ``parent`` (None: the file)."""
    start, end = (0, len(data)) if parent is None else (parent.body, parent.end)
    for box in walk(data, start, end):
        if box.kind == path[0]:
            if len(path) == 1:
                yield box
            else:
                yield from find(data, box, *path[1:])


def first(data: bytes, parent: Box | None, *path: str) -> Box | None:
    """The first box that ``find`` yields, or None."""
    return next(find(data, parent, *path), None)


def u32(data: bytes, at: int) -> int:
    """Big-endian 32 bits at ``at``; 0 behind the end."""
    return int.from_bytes(data[at : at + 4].ljust(4, b"\0"), "big")


def check_boxes(data: bytes) -> None:
    """Raise MediaTruncated if parts that matter lie behind the end, MediaTooLong if the index claims too much."""
    kinds = set()
    for box in walk(data):
        kinds.add(box.kind)
        if box.end > len(data) and box.kind in ESSENTIAL:
            raise MediaTruncated(
                f"The video file ends {box.end - len(data):,} bytes before its '{box.kind}' part does. "
                f"Copy or download it again, and compare its size with the original."
            )
    if "moov" not in kinds and kinds & {"mdat", "moof", "ftyp"}:
        raise MediaTruncated(
            "The video file has no index ('moov'): the recording or the transfer was cut off before it was written. "
            "Copy the file again from its source."
        )
    for track in find(data, None, "moov", "trak"):
        _check_samples(data, track)
    fragments = sum(u32(data, run.body + 4) for run in find(data, None, "moof", "traf", "trun"))
    if fragments > MAX_SAMPLES:
        raise MediaTooLong(
            f"The video file claims {fragments:,} samples in fragments; at most {MAX_SAMPLES:,} are read."
        )


def _check_samples(data: bytes, track: Box) -> None:
    table = first(data, track, "mdia", "minf", "stbl")
    if table is None:
        return
    sizes = first(data, table, "stsz")
    if sizes is None:
        return
    each, count = struct.unpack(">II", data[sizes.body + 4 : sizes.body + 12].ljust(8, b"\0"))
    if each == 0 and count * 4 > sizes.end - sizes.body:
        raise MediaUnreadable("The index of the video file claims more samples than it lists; the file is damaged.")
    if each * count > len(data):
        raise MediaTruncated("The index of the video file describes more bytes than the file has. Copy it again.")
    if count > MAX_SAMPLES and not _is_plain_pcm(data, table):
        raise MediaTooLong(f"A track of the video file claims {count:,} samples; at most {MAX_SAMPLES:,} are read.")


def _is_plain_pcm(data: bytes, table: Box) -> bool:
    """Uncompressed sound counts every sample, but is indexed by chunk: one entry of duration 1 says so."""
    times = first(data, table, "stts")
    return times is not None and u32(data, times.body + 4) == 1 and u32(data, times.body + 12) == 1
