"""Files made to exhaust memory or time: each is refused, or read within bounds, in a process that is measured."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.integration

MOST_MIB = 320
"""More than the modules themselves take (120 MiB), far less than what each file would like to have."""
MOST_S = 20

CODE = """
import resource, sys, time
from dfbatch.authenticity.media.exif import read_exif
from dfbatch.authenticity.media.limits import MediaLimits
from dfbatch.authenticity.media.metadata import read_metadata
from dfbatch.authenticity.media.opening import open_media
from dfbatch.errors import MediaError
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
begin = time.process_time()
try:
    media = open_media(sys.argv[1], limits=MediaLimits(max_frames=200_000))
    found = read_metadata(media)
    read_exif(found.exif)
    end = "read"
except MediaError as error:
    end = type(error).__name__
with open("/proc/self/status") as file:
    peak = next(int(line.split()[1]) >> 10 for line in file if line.startswith("VmHWM"))
print(end, peak, round(time.process_time() - begin, 2))
"""


def packed_zeros(n: int) -> bytes:
    """``n`` zeros, deflated, without having them all in memory."""
    engine, block = zlib.compressobj(1), bytes(1 << 22)
    return b"".join(engine.compress(block[: n - at]) for at in range(0, n, len(block))) + engine.flush()


def chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png(width: int, height: int, *extra: bytes, pixels: bytes | None = None) -> bytes:
    """A grey PNG; ``extra`` chunks go before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height)) if pixels is None else pixels
    parts = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_that_claims_much() -> bytes:
    return png(60_000, 60_000, pixels=packed_zeros(1 << 20))


def png_that_unpacks_to_more_than_its_picture() -> bytes:
    return png(8, 8, pixels=packed_zeros(1 << 28))


def png_with_a_thousand_packed_texts() -> bytes:
    bomb = zlib.compress(b" " * (900 << 10), 9)
    return png(8, 8, *(chunk(b"zTXt", b"key%d\0\0" % k + bomb) for k in range(60)))


def tags(order: str, n: int, size: int) -> bytes:
    """A TIFF stream of ``n`` tags that all claim the same ``size`` bytes."""
    count = struct.pack(order + "H", n)
    at = 8 + 2 + 12 * n + 4
    entries = b"".join(struct.pack(order + "HHII", 1_000 + k, 7, size, at) for k in range(n))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return head + count + entries + struct.pack(order + "I", 0) + bytes(size)


def tiff_whose_tags_claim_the_same_bytes() -> bytes:
    return tags("<", 20_000, 1 << 19)


def png_with_an_exif_bomb() -> bytes:
    return png(8, 8, chunk(b"eXIf", tags(">", 20_000, 1 << 19)))


def jpeg_with_an_exif_bomb_in_many_segments() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, "JPEG")
    plain, bomb = out.getvalue(), tags("<", 20_000, 1 << 19)
    parts = [bomb[k : k + 65_000] for k in range(0, len(bomb), 65_000)]
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(p) + 8) + b"Exif\0\0" + p for p in parts)
    return plain[:2] + segments + plain[2:]


def tiff_of_one_pixel_in_a_giant_tile() -> bytes:
    side = 20_000
    packed = packed_zeros(side * side)
    entries = [
        (256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1),
        (322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, 8), (325, 4, 1, len(packed)),
    ]  # fmt: skip
    at = 8 + len(packed)
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", at) + packed + directory + bytes(4)


def tiff_of_many_pages() -> bytes:
    """200,001 pages without a tag."""
    pages = b"".join(struct.pack("<HI", 0, 8 + 6 * (k + 1)) for k in range(200_001))
    return b"II*\0" + struct.pack("<I", 8) + pages + bytes(6)


def gif_of_many_frames() -> bytes:
    """150,000 pictures of one pixel."""
    out = io.BytesIO()
    Image.new("P", (1, 1)).save(out, "GIF")
    plain = out.getvalue()
    head = 13 + (3 << ((plain[10] & 7) + 1) if plain[10] & 0x80 else 0)
    frame = b"\x2c" + bytes(4) + b"\1\0\1\0\0" + b"\x02\x02\x44\x01\x00"
    return plain[:head] + frame * 150_000 + b";"


def webp_with_a_giant_canvas() -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (16, 16), c) for c in ("red", "blue")]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    data = bytearray(out.getvalue())
    assert data[12:16] == b"VP8X"
    data[24:30] = b"\xff\x3f\0\xff\x3f\0"
    return bytes(data)


def pdf_whose_objects_are_packed(spelled: bytes, filters: bytes, packed: bytes) -> bytes:
    stream = b"1 0 obj <</Type%s/N 1/First 5/Filter%s/Length %d>> stream\n" % (spelled, filters, len(packed))
    return b"%PDF-1.5\n" + stream + packed + b"\nendstream endobj\ntrailer <</Root 2 0 R>>\nstartxref\n9\n%%EOF"


def pdf_that_unpacks_to_600_mib() -> bytes:
    return pdf_whose_objects_are_packed(b"/Obj#53tm", b"/FlateDecode", packed_zeros(600 << 20))


def pdf_that_is_packed_twice() -> bytes:
    inner = packed_zeros(1 << 28)
    return pdf_whose_objects_are_packed(b" %x\n/ObjStm", b"[/FlateDecode/FlateDecode]", zlib.compress(inner, 9))


@pytest.mark.parametrize(
    ("make", "ends"),
    [
        (png_that_claims_much, {"MediaTooManyPixels"}),
        (png_that_unpacks_to_more_than_its_picture, {"read", "MediaUnreadable"}),
        (png_with_a_thousand_packed_texts, {"read", "MediaUnreadable"}),
        (tiff_whose_tags_claim_the_same_bytes, {"MediaUnreadable"}),
        (png_with_an_exif_bomb, {"read"}),
        (jpeg_with_an_exif_bomb_in_many_segments, {"MediaUnreadable"}),
        (tiff_of_one_pixel_in_a_giant_tile, {"MediaTooManyPixels"}),
        (tiff_of_many_pages, {"MediaTooLong"}),
        (gif_of_many_frames, {"read"}),
        (webp_with_a_giant_canvas, {"MediaTooManyPixels"}),
        (pdf_that_unpacks_to_600_mib, {"MediaTooLarge"}),
        (pdf_that_is_packed_twice, {"MediaTooLarge"}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_bomb_costs_one_item_little_memory_and_little_time(
    make: Callable[[], bytes], ends: set[str], tmp_path: Path
) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    end, peak_mib, took_s = done.stdout.split()
    assert end in ends
    assert float(peak_mib) < MOST_MIB
    assert float(took_s) < MOST_S
