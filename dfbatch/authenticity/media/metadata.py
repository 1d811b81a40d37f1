"""The metadata blocks of a file: XMP packet, EXIF block, text chunks; found by structure, not by a search for words."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dfbatch.authenticity.media.boxes import walk
from dfbatch.authenticity.media.image import DECODER_ERRORS, open_image
from dfbatch.authenticity.media.jpeg import JpegStructure, jpeg_structure
from dfbatch.authenticity.media.media import Media
from dfbatch.authenticity.media.png import png_chunks

MAX_XMP_BYTES = 8 * 1024 * 1024
MAX_TEXT_BYTES = 4 * 1024 * 1024
MAX_TEXTS = 1000
MAX_TEXTS_BYTES = 16 * 1024 * 1024
"""Of all texts of one file together."""

_LONGEST_KEYWORD = 79  # by the specification

_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_EXIF = b"Exif\0\0"
_APP1, _COMMENT = 0xE1, 0xFE
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_XMP_PACKET = re.compile(rb"<x:xmpmeta\b.{0,8388608}?</x:xmpmeta\s*>", re.DOTALL)
_EXIF_ITEM = re.compile(rb"Exif\0\0(?=II\*\0|MM\0\*)")
_GIF_XMP = b"\x21\xff\x0bXMP DataXMP"


@dataclass(frozen=True, slots=True)
class Metadata:
    """``xmp``: the packet, or None. ``exif``: a TIFF stream without the ``Exif`` sign, or None.

    ``texts`` are named texts: those of PNG chunks by keyword, a JPEG or GIF comment
    as ``Comment``. ``jpeg`` is the walk over the segments where the file is a JPEG.
    """

    xmp: bytes | None = None
    exif: bytes | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    jpeg: JpegStructure | None = None

    def __bool__(self) -> bool:
        return bool(self.xmp or self.exif or self.texts)


def read_metadata(media: Media) -> Metadata:
    """The blocks of an opened item; empty for types that have none or whose blocks we do not read."""
    read = _READERS.get(media.media_type)
    return read(media.data) if read else Metadata()


def _jpeg(data: bytes) -> Metadata:
    structure = jpeg_structure(data)
    xmp = exif = None
    texts: dict[str, str] = {}
    for marker, start, length in structure.segments:
        if marker == _APP1 and exif is None and data.startswith(_JPEG_EXIF, start):
            exif = data[start + len(_JPEG_EXIF) : start + length]
        elif marker == _APP1 and xmp is None and data.startswith(_JPEG_XMP, start):
            xmp = data[start + len(_JPEG_XMP) : start + length]
        elif marker == _COMMENT:
            texts.setdefault("Comment", data[start : start + length].decode("utf-8", "replace"))
    return Metadata(xmp, exif, texts, structure)


def _png(data: bytes) -> Metadata:
    xmp = exif = None
    texts: dict[str, str] = {}
    left = MAX_TEXTS_BYTES
    for kind, start, length in png_chunks(data):
        if kind == b"eXIf":
            exif = data[start : start + length]
        elif kind in (b"tEXt", b"zTXt", b"iTXt") and len(texts) < MAX_TEXTS and left > 0:
            key, raw, charset = _png_text(kind, data[start : start + length], min(left, MAX_TEXT_BYTES))
            left -= len(key) + len(raw)
            if key == "XML:com.adobe.xmp":
                xmp = raw[:MAX_XMP_BYTES]
            else:
                texts.setdefault(key, raw.decode(charset, "replace"))
    return Metadata(xmp, exif, texts)


def _png_text(kind: bytes, chunk: bytes, most: int) -> tuple[str, bytes, str]:
    """(keyword, text, its charset) of a text chunk; at most ``most`` bytes of it, unpacked ones too."""
    keyword, _, rest = chunk.partition(b"\0")
    packed, charset = kind == b"zTXt", "latin-1"
    if kind == b"zTXt":
        rest = rest[1:]
    elif kind == b"iTXt":
        packed, charset = rest[:1] == b"\1", "utf-8"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if packed:
        try:
            rest = zlib.decompressobj().decompress(rest, most)
        except zlib.error:
            rest = b""
    return keyword[:_LONGEST_KEYWORD].decode("latin-1"), rest[:most], charset


def _webp(data: bytes) -> Metadata:
    xmp = exif = None
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"EXIF":
            exif = data[at + 8 : at + 8 + length].removeprefix(_JPEG_EXIF)
        elif data[at : at + 4] == b"XMP ":
            xmp = data[at + 8 : at + 8 + min(length, MAX_XMP_BYTES)]
        at += 8 + length + length % 2
    return Metadata(xmp, exif)


def _tiff(data: bytes) -> Metadata:
    try:
        with open_image(data, "image/tiff") as image:
            xmp = image.info.get("xmp")
    except DECODER_ERRORS:
        xmp = None
    return Metadata(xmp if isinstance(xmp, bytes) else None, data)


def _gif(data: bytes) -> Metadata:
    at = data.find(_GIF_XMP)
    found = _XMP_PACKET.search(data, at, at + MAX_XMP_BYTES) if at >= 0 else None
    return Metadata(found[0] if found else None)


def _heif(data: bytes) -> Metadata:
    """XMP and EXIF are items of these files, stored in one piece each: taken by their own first signs."""
    meta = next((box for box in walk(data) if box.kind == "meta"), None)
    items = data[meta.start : meta.end] if meta else b""
    xmp = _XMP_PACKET.search(data) if b"application/rdf+xml" in items else None
    exif = _EXIF_ITEM.search(data) if b"Exif" in items else None
    return Metadata(xmp[0] if xmp else None, data[exif.end() : exif.end() + MAX_TEXT_BYTES] if exif else None)


def _boxed(data: bytes) -> Metadata:
    for payload in _uuid_payloads(data):
        return Metadata(payload[:MAX_XMP_BYTES])
    return Metadata()


def _uuid_payloads(data: bytes) -> Iterator[bytes]:
    for box in walk(data):
        if box.kind == "uuid" and data.startswith(_XMP_BOX, box.body):
            yield data[box.body + len(_XMP_BOX) : box.end]


_READERS = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/webp": _webp,
    "image/tiff": _tiff,
    "image/x-adobe-dng": _tiff,
    "image/gif": _gif,
    "image/heic": _heif,
    "image/avif": _heif,
    "image/jp2": _boxed,
    "video/mp4": _boxed,
    "video/quicktime": _boxed,
    "video/3gpp": _boxed,
    "audio/mp4": _boxed,
}

METADATA_TYPES = frozenset(_READERS)
"""Media types whose metadata blocks are read."""
