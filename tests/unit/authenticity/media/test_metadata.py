"""Metadata blocks are found where the format keeps them, in every format that has them."""

import hashlib
import io
import zlib
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dfbatch.authenticity.media.media import Media, MediaKind
from dfbatch.authenticity.media.metadata import MAX_TEXT_BYTES, read_metadata

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF/></x:xmpmeta>'


def opened(data: bytes, media_type: str) -> Media:
    return Media(data, hashlib.sha256(data).hexdigest(), MediaKind.IMAGE, media_type)


def exif() -> Image.Exif:
    block = Image.Exif()
    block[0x0131] = "a camera"
    return block


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_xmp_and_exif_are_found(form: str, picture: Any) -> None:
    options: dict[str, Any] = {"exif": exif()}
    if form == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    elif form == "TIFF":
        options["tiffinfo"] = {700: XMP}
        options["exif"] = None
    else:
        options["xmp"] = XMP
    data = picture(form, **{key: value for key, value in options.items() if value is not None})
    found = read_metadata(opened(data, f"image/{form.lower()}"))
    assert found.xmp is not None
    assert XMP in found.xmp
    assert found.exif is not None
    assert found.exif[:2] in (b"II", b"MM")


def test_all_kinds_of_png_texts_are_read_even_behind_the_pixels(picture: Any) -> None:
    info = PngInfo()
    info.add_text("plain", "one")
    info.add_text("packed", "two" * 100, zip=True)
    info.add_itxt("wide", "dr\u00e9i", zip=True)
    info.add(b"tEXt", b"late\0four", after_idat=True)
    texts = read_metadata(opened(picture("PNG", pnginfo=info), "image/png")).texts
    assert texts == {"plain": "one", "packed": "two" * 100, "wide": "dr\u00e9i", "late": "four"}


def test_a_packed_text_cannot_grow_without_bound(picture: Any) -> None:
    info = PngInfo()
    info.add(b"zTXt", b"bomb\0\0" + zlib.compress(b"x" * (MAX_TEXT_BYTES * 4)))
    texts = read_metadata(opened(picture("PNG", pnginfo=info), "image/png")).texts
    assert len(texts["bomb"]) == MAX_TEXT_BYTES


def test_the_comment_of_a_jpeg_is_a_text(picture: Any) -> None:
    assert read_metadata(opened(picture("JPEG", comment=b"hello"), "image/jpeg")).texts == {"Comment": "hello"}


def test_xmp_of_a_video_lies_in_its_own_box() -> None:
    body = bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + XMP
    data = b"\0\0\0\x10ftypisom\0\0\0\0" + (8 + len(body)).to_bytes(4, "big") + b"uuid" + body
    assert read_metadata(opened(data, "video/mp4")).xmp == XMP


def test_words_of_the_pixels_are_no_metadata() -> None:
    """An uncompressed picture may show anything, also the bytes of an XMP packet."""
    out = io.BytesIO()
    Image.frombytes("L", (len(XMP), 1), XMP).save(out, "TIFF")
    assert XMP in out.getvalue()
    assert read_metadata(opened(out.getvalue(), "image/tiff")).xmp is None


def test_types_without_metadata_have_none() -> None:
    assert not read_metadata(opened(b"BM", "image/bmp"))
