"""Images are read to their last byte: whole ones pass, whatever their kind; others fail with the right error."""

import io
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dfbatch.authenticity.media.image import probe_image
from dfbatch.authenticity.media.limits import DEFAULT_LIMITS, MediaLimits
from dfbatch.errors import MediaError, MediaTooLong, MediaTooManyPixels, MediaTruncated, MediaUnreadable

pytestmark = pytest.mark.integration

TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "JPEG2000": "image/jp2",
    "AVIF": "image/avif",
}


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def noise(mode: str = "RGB", size: tuple[int, int] = (48, 32)) -> Image.Image:
    return Image.effect_noise(size, 60).convert(mode)


@pytest.mark.parametrize("form", TYPES)
def test_whole_images_pass(form: str) -> None:
    assert probe_image(saved(noise(), form), TYPES[form], DEFAULT_LIMITS) == (48, 32, 1)


@pytest.mark.parametrize(
    ("form", "image", "options"),
    [
        ("JPEG", noise("CMYK"), {}),
        ("JPEG", noise("L"), {}),
        ("JPEG", noise(), {"progressive": True}),
        ("PNG", Image.new("I;16", (48, 32), 40_000), {}),
        ("PNG", noise("1"), {}),
        ("PNG", noise("P"), {}),
        ("TIFF", noise(), {"compression": "tiff_lzw"}),
        ("TIFF", noise("F"), {}),
        ("WEBP", noise("RGBA"), {"lossless": True}),
    ],
)
def test_unusual_images_are_images(form: str, image: Image.Image, options: dict[str, Any]) -> None:
    assert probe_image(saved(image, form, **options), TYPES[form], DEFAULT_LIMITS)[:2] == (48, 32)


@pytest.mark.parametrize("form", TYPES)
def test_an_image_of_one_pixel_is_an_image(form: str) -> None:
    assert probe_image(saved(noise(size=(1, 1)), form), TYPES[form], DEFAULT_LIMITS) == (1, 1, 1)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_frames_and_pages_are_counted(form: str) -> None:
    frames = [noise() for _ in range(3)]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:])
    media_type = TYPES.get(form, "image/jpeg")
    assert probe_image(data, media_type, DEFAULT_LIMITS).frames == 3
    with pytest.raises(MediaTooLong, match="max_frames"):
        probe_image(data, media_type, MediaLimits(max_frames=2))


@pytest.mark.parametrize("form", TYPES)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, -1])
def test_a_cut_image_is_truncated_or_broken(form: str, kept: float) -> None:
    data = saved(noise(size=(160, 120)), form)
    end = len(data) + int(kept) if kept < 0 else int(len(data) * kept)
    if form == "WEBP" and kept < 0:
        end -= 1  # its last byte may be padding that writers leave out
    with pytest.raises(MediaTruncated if form in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "AVIF") else MediaError):
        probe_image(data[:end], TYPES[form], DEFAULT_LIMITS)


def test_a_jpeg_without_its_end_mark_is_truncated() -> None:
    data = saved(noise(), "JPEG")
    with pytest.raises(MediaTruncated, match="end mark"):
        probe_image(data[:-2], "image/jpeg", DEFAULT_LIMITS)


def test_the_end_mark_of_a_thumbnail_is_not_the_end() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    thumbnail = b"Exif\0\0" + exif.tobytes()[6:] + saved(noise(size=(8, 8)), "JPEG")
    data = saved(noise(), "JPEG", exif=thumbnail)
    with pytest.raises(MediaTruncated):
        probe_image(data[:-2], "image/jpeg", DEFAULT_LIMITS)


def test_what_lies_behind_the_end_is_no_damage() -> None:
    assert probe_image(saved(noise(), "JPEG") + b"a motion photo has a video here", "image/jpeg", DEFAULT_LIMITS)


def test_a_wrong_checksum_is_damage() -> None:
    data = bytearray(saved(noise(), "PNG"))
    data[data.index(b"IDAT") + 20] ^= 1
    with pytest.raises(MediaUnreadable, match="checksum"):
        probe_image(bytes(data), "image/png", DEFAULT_LIMITS)


def claimed_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"x")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [14_143, 100_000, 0x7FFFFFFF])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    with pytest.raises(MediaTooManyPixels, match="limit"):
        probe_image(claimed_png(side, side), "image/png", DEFAULT_LIMITS)


def test_the_limit_of_pixels_is_ours_not_the_one_of_the_decoder() -> None:
    data = saved(Image.new("1", (20_000, 10_000)), "PNG")  # beyond where Pillow refuses
    assert probe_image(data, "image/png", DEFAULT_LIMITS)[:2] == (20_000, 10_000)


def test_the_decoder_of_another_type_is_never_tried() -> None:
    with pytest.raises(MediaError, match="BMP"):
        probe_image(b"BM" + saved(noise(), "TIFF"), "image/bmp", DEFAULT_LIMITS)


def heic(width: int, height: int) -> bytes:
    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", 8 + len(body)) + kind + body

    ispe = box(b"ispe", bytes(4) + struct.pack(">II", width, height))
    meta = box(b"meta", bytes(4) + box(b"iprp", box(b"ipco", ispe)))
    return box(b"ftyp", b"heic\0\0\0\0mif1heic") + meta + box(b"mdat", bytes(40))


def test_a_heic_is_measured_without_a_decoder() -> None:
    assert probe_image(heic(4032, 3024), "image/heic", DEFAULT_LIMITS) == (4032, 3024, 1)
    with pytest.raises(MediaTooManyPixels):
        probe_image(heic(60_000, 60_000), "image/heic", DEFAULT_LIMITS)
    with pytest.raises(MediaTruncated, match="mdat"):
        probe_image(heic(4032, 3024)[:-1], "image/heic", DEFAULT_LIMITS)
    with pytest.raises(MediaUnreadable, match="meta"):
        probe_image(heic(1, 1)[:24], "image/heic", DEFAULT_LIMITS)


@given(
    form=st.sampled_from(sorted(TYPES)),
    changes=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=5),
)
def test_damaged_bytes_give_a_result_or_a_media_error(form: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE[form])
    for at, value in changes:
        data[at % len(data)] = value
    try:
        facts = probe_image(bytes(data), TYPES[form], MediaLimits(max_pixels=1_000_000))
    except MediaError:
        return
    assert facts.frames >= 1


WHOLE = {form: saved(noise(size=(24, 16)), form) for form in TYPES}
