"""EXIF is read leniently: what is odd becomes text, what is broken is left out."""

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dfbatch.authenticity.media.exif import printable, read_exif, user_comment

COMMENT = 0x9286


def block(**texts: object) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "Camera\0Works\n"
    exif.get_ifd(0x8769)[COMMENT] = texts.get("comment", b"ASCII\0\0\0hello")
    exif.get_ifd(0x8825)[2] = (50.0, 1.0, 2.0)
    return exif.tobytes()[6:]


def test_directories_are_read() -> None:
    exif = read_exif(block())
    assert exif.text(0x010F) == "Camera"
    assert exif.text(0x0110) is None
    assert 2 in exif.gps
    assert user_comment(exif) == "hello"


def test_comments_are_decoded_by_the_charset_they_name() -> None:
    for raw in (
        b"UNICODE\0" + "größer".encode("utf-16-be"),
        b"UNICODE\0" + "größer".encode("utf-16-le"),
        b"UNICODE\0" + "größer".encode("utf-16"),
        bytes(8) + "größer".encode(),
        "größer".encode(),
    ):
        assert user_comment(read_exif(block(comment=raw))) == "größer"


def test_no_block_and_no_tiff_are_empty() -> None:
    assert not read_exif(None)
    assert not read_exif(b"not a TIFF stream")


@given(st.binary(max_size=200), st.integers(0, 150), st.integers(0, 255))
def test_broken_blocks_are_read_without_an_error(noise: bytes, at: int, value: int) -> None:
    read_exif(b"II*\0\x08\0\0\0" + noise)
    whole = bytearray(block())
    whole[at % len(whole)] = value
    exif = read_exif(bytes(whole))
    assert isinstance(user_comment(exif), (str, type(None)))


def test_values_are_shown_as_one_printable_line() -> None:
    assert printable("a\x1b[31m\n b\u202e\0hidden") == "a [31m b"
    assert printable(b"caf\xc3\xa9") == "café"
    assert len(printable("x" * 999, 20)) == 20
