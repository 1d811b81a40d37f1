"""Sizes in RIFF (WAV, AVI) and Matroska files, to tell a cut file from a whole one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dfbatch.errors import MediaTruncated, MediaUnreadable

MAX_CHUNKS = 100_000
# A writer that cannot seek back leaves these in place of the length.
STREAMED = frozenset({0, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFF000})
SEGMENT_ID = b"\x18\x53\x80\x67"


@dataclass(frozen=True, slots=True)
class RiffChunk:
    """``body..body + size`` as claimed; ``form`` is the type of a LIST or RIFF, else empty."""

    kind: str
    form: str
    body: int
    size: int


def walk(data: bytes, start: int, end: int) -> Iterator[RiffChunk]:
    """Chunks side by side in ``data[start:end]``; raises MediaUnreadable past MAX_CHUNKS."""
    stop = min(end, len(data))
    for _ in range(MAX_CHUNKS):
        if start + 8 > stop:
            return
        kind = data[start : start + 4].decode("latin-1")
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        form = data[start + 8 : start + 12].decode("latin-1") if kind in ("LIST", "RIFF") else ""
        yield RiffChunk(kind, form, start + 8, size)
        start += 8 + size + (size & 1)
    raise MediaUnreadable(f"The file has more than {MAX_CHUNKS:,} RIFF chunks; it is damaged or hostile.")


def check_wav(data: bytes) -> None:
    """Raise MediaTruncated if the sound is shorter than its header says, MediaUnreadable if there is none."""
    wide = data[:4] in (b"RF64", b"BW64")
    formatted = False
    for chunk in walk(data, 12, len(data)):
        if chunk.kind == "fmt ":
            formatted = True
        if chunk.kind == "data":
            size = _wide_size(data) if wide and chunk.size == 0xFFFFFFFF else chunk.size
            missing = chunk.body + size - len(data)
            if missing > 0 and (wide or size not in STREAMED):
                raise MediaTruncated(
                    f"The WAV file ends {missing:,} bytes before its sound does ({size:,} bytes are announced). "
                    f"Copy or download it again."
                )
            if not formatted:
                raise MediaUnreadable("The WAV file has no 'fmt ' chunk before its sound; it cannot be interpreted.")
            return
    raise MediaTruncated("The WAV file ends before any sound ('data' chunk). Copy or download it again.")


def _wide_size(data: bytes) -> int:
    for chunk in walk(data, 12, len(data)):
        if chunk.kind == "ds64":
            return int.from_bytes(data[chunk.body + 8 : chunk.body + 16], "little")
    return 0xFFFFFFFF


def check_avi(data: bytes) -> None:
    """Raise MediaTruncated if the frames of an AVI file end behind the file, or are missing."""
    movie = False
    for riff in walk(data, 0, len(data)):
        if riff.kind != "RIFF":
            break
        for chunk in walk(data, riff.body + 4, len(data) if riff.size in STREAMED else riff.body + riff.size):
            missing = chunk.body + chunk.size - len(data)
            if chunk.kind == "LIST" and chunk.form in ("movi", "hdrl") and chunk.size not in STREAMED and missing > 0:
                raise MediaTruncated(f"The AVI file ends {missing:,} bytes before its frames do. Copy it again.")
            movie = movie or chunk.form == "movi"
    if not movie:
        raise MediaTruncated("The AVI file ends before its first frame. Copy or download it again.")


def check_matroska(data: bytes) -> None:
    """Raise MediaTruncated if the segment of a Matroska or WebM file is longer than the file."""
    header = _ebml_size(data, 4)
    if header is None:
        return
    start = header[1] + header[0]
    if data[start : start + 4] != SEGMENT_ID:
        return
    segment = _ebml_size(data, start + 4)
    if segment is None:
        return
    missing = segment[1] + segment[0] - len(data)
    if missing > 0:
        raise MediaTruncated(f"The Matroska file ends {missing:,} bytes before its content does. Copy it again.")


def _ebml_size(data: bytes, at: int) -> tuple[int, int] | None:
    """(size, where the body starts) of the variable-length number at ``at``; None if unknown or absent."""
    if at >= len(data) or data[at] == 0:
        return None
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big") & ((1 << (7 * length)) - 1)
    if value == (1 << (7 * length)) - 1 or at + length > len(data):
        return None
    return value, at + length
