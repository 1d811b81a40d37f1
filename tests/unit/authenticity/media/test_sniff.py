"""Bytes say what they are; names only promise."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dfbatch.authenticity.media.media import MediaKind
from dfbatch.authenticity.media.sniff import named_type, sniff

PILLOW = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "JPEG2000": "image/jp2",
    "AVIF": "image/avif",
}


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    brands = major + bytes(4) + b"".join(compatible)
    return (len(brands) + 8).to_bytes(4, "big") + b"ftyp" + brands + bytes(64)


def mp3(frames: int) -> bytes:
    frame = b"\xff\xfb\x90\x00" + bytes(413)  # MPEG 1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes
    return frame * frames


def adts(frames: int) -> bytes:
    return (b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9)) * frames  # 16 bytes a frame


@pytest.mark.parametrize("form", PILLOW)
def test_pictures_are_told_by_their_signature(form: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, form)
    assert sniff(out.getvalue()) == (MediaKind.IMAGE, PILLOW[form])


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (ftyp(b"isom", b"mp42"), "video/mp4"),
        (ftyp(b"qt  "), "video/quicktime"),
        (ftyp(b"M4A "), "audio/mp4"),
        (ftyp(b"3gp4"), "video/3gpp"),
        (ftyp(b"heic", b"mif1"), "image/heic"),
        (ftyp(b"mif1", b"heic"), "image/heic"),  # "some picture": the compatible brand says which
        (ftyp(b"mif1", b"avif"), "image/avif"),
        (ftyp(b"mif1"), "image/heic"),
        (b"\x00\x00\x00\x08wide\x00\x00\x00\x10mdat", "video/quicktime"),  # QuickTime before it had brands
        (b"\x1aE\xdf\xa3\x01\x00B\x82\x84webm", "video/webm"),
        (b"\x1aE\xdf\xa3\x01\x00B\x82\x88matroska", "video/x-matroska"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "video/x-msvideo"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio/wav"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "audio/wav"),
        (b"FORM\x00\x00\x00\x00AIFFCOMM", "audio/aiff"),
        (b"fLaC\x00\x00\x00\x22", "audio/flac"),
        (b"OggS\x00\x02" + bytes(22) + b"OpusHead", "audio/ogg"),
        (b"OggS\x00\x02" + bytes(22) + b"\x80theora", "video/ogg"),
        ((b"\x47" + bytes(187)) * 3, "video/mp2t"),
        ((bytes(4) + b"\x47" + bytes(187)) * 3, "video/mp2t"),  # the stream of a camcorder, with time stamps
        (b"\x00\x00\x01\xba" + bytes(20), "video/mpeg"),
        (mp3(3), "audio/mpeg"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10) + mp3(2), "audio/mpeg"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10) + b"fLaC" + bytes(20), "audio/flac"),
        (adts(3), "audio/aac"),
        (b"%PDF-1.7\n", "application/pdf"),
        (b"\xef\xbb\xbf\n%PDF-1.4\n", "application/pdf"),
    ],
)
def test_other_media_are_told_by_their_first_bytes(data: bytes, media_type: str) -> None:
    sniffed = sniff(data)
    assert sniffed is not None
    assert sniffed[1] == media_type


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, world",
        "a text of Windows".encode("utf-16"),  # begins like a frame of MPEG sound
        b"\xff\xfb\x90\x00" + b"no second frame follows" * 50,
        b"BM is how this sentence begins, and it is no bitmap",
        b"A letter that speaks of %PDF-1.7 files",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"PK\x03\x04" + bytes(30),
        b"\x00" * 4096,
    ],
)
def test_what_is_no_media_is_nothing(data: bytes) -> None:
    assert sniff(data) is None


def test_a_tiff_with_a_dng_version_is_a_dng() -> None:
    entry = (50706).to_bytes(2, "little") + b"\x01\x00\x04\x00\x00\x00\x01\x04\x00\x00"
    data = b"II*\0\x08\x00\x00\x00\x01\x00" + entry + bytes(4)
    assert sniff(data) == (MediaKind.IMAGE, "image/x-adobe-dng")


@given(st.binary(max_size=200))
def test_no_bytes_make_the_sniffer_fail(data: bytes) -> None:
    for start in (b"", b"II*\0", b"ID3\x04\x00\x00", b"\x00\x00\x00\x20ftyp", b"\xff\xf1", b"\xff\xfb", b"RIFF"):
        sniffed = sniff(start + data)
        assert sniffed is None or isinstance(sniffed[0], MediaKind)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("photo.JPG", "image/jpeg"),
        ("s3://bucket/a.b/clip.mp4?versionId=7.png", "video/mp4"),
        ("what?.png", "image/png"),  # a path, where '?' is a letter
        ("folder.jpg/readme", None),
        ("notes.txt", None),
        ("jpg", None),
        ("", None),
        (None, None),
    ],
)
def test_a_name_promises_a_type_by_its_suffix(name: str | None, media_type: str | None) -> None:
    assert named_type(name) == media_type
