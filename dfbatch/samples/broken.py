"""Files that must fail, each with its own error, while the batch goes on."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from dfbatch.samples.photographs import Album
from dfbatch.samples.recordings import panning_video
from dfbatch.samples.sample import Sample, SampleFile

_BOMB_SIDE = 30_000
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NO_PICTURE = b"This is a note, not a photograph. Someone gave it the wrong name.\n"


def broken_files(album: Album, rng: np.random.Generator) -> Iterator[SampleFile]:
    """All samples of the group ``broken``."""
    jpeg, video = album.data("china.jpg"), panning_video(album)
    for file, kind, error_type, what, data in (
        ("broken-truncated.jpg", "image", "MediaTruncated", "A JPEG cut off in the middle.", jpeg[: len(jpeg) // 2]),
        ("broken-truncated.mp4", "video", "MediaTruncated", "A video cut off in the middle.", video[: len(video) // 2]),
        ("broken-text.jpg", "image", "MediaNotWhatItsNameSays", "A text file named as a JPEG.", _NO_PICTURE),
        ("broken-empty.jpg", "image", "MediaEmpty", "A file without bytes.", b""),
        ("broken-bomb.png", "image", "MediaTooManyPixels", "900 megapixels of nothing in 110 KB.", pixel_bomb()),
        (
            "broken-damaged.png",
            "image",
            "MediaUnreadable",
            "A PNG with noise written over a part of its pixel data.",
            damaged_png(album.data("chelsea.png"), rng),
        ),
    ):
        yield SampleFile(Sample(file, kind, what, error_type=error_type), data)


def pixel_bomb(side: int = _BOMB_SIDE) -> bytes:
    """A complete PNG of ``side`` x ``side`` black pixels, one bit each: small as a file, huge once decoded."""
    row = bytes(1 + (side + 7) // 8)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return _PNG_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def damaged_png(png: bytes, rng: np.random.Generator) -> bytes:
    """``png`` with noise over 64 bytes in the middle of its first IDAT chunk; all lengths stay right."""
    start = png.index(b"IDAT") + 4
    length = int.from_bytes(png[start - 8 : start - 4], "big")
    middle = start + length // 2
    noise = rng.integers(0, 256, size=64, dtype=np.uint8).tobytes()
    return png[:middle] + noise + png[middle + 64 :]


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
