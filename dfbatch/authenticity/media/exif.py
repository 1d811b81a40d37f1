"""EXIF blocks, read leniently: odd values become text, broken directories become empty."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD

from dfbatch.authenticity.media.image import DECODER_ERRORS
from dfbatch.authenticity.media.tag_claims import check_claims
from dfbatch.errors import MediaUnreadable

_CHARSETS = ((b"ASCII\0\0\0", "ascii"), (b"UNICODE\0", "utf-16"), (b"JIS\0\0\0\0\0", "shift_jis"), (bytes(8), "utf-8"))


@dataclass(frozen=True, slots=True)
class ExifBlock:
    """Tags by number: of the picture, of the capture (``exif``), of the place, of the thumbnail."""

    image: Mapping[int, Any] = field(default_factory=dict)
    capture: Mapping[int, Any] = field(default_factory=dict)
    gps: Mapping[int, Any] = field(default_factory=dict)
    thumbnail: Mapping[int, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.image or self.capture)

    def text(self, tag: int, most: int = 200) -> str | None:
        """The value of a tag of the picture or the capture as one printable line; None if absent or blank."""
        value = self.image.get(tag, self.capture.get(tag))
        return None if value is None else (printable(value, most) or None)


def read_exif(block: bytes | None) -> ExifBlock:
    """Read a TIFF stream. Never raises: what cannot be read is left out."""
    if not block or block[:2] not in (b"II", b"MM"):
        return ExifBlock()
    try:
        check_claims(block)
    except MediaUnreadable:
        return ExifBlock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exif = Image.Exif()
        try:
            exif.load(b"Exif\0\0" + block)
            image = dict(exif)
        except DECODER_ERRORS:
            return ExifBlock()
        return ExifBlock(image, *(_directory(exif, ifd) for ifd in (IFD.Exif, IFD.GPSInfo, IFD.IFD1)))


def _directory(exif: Image.Exif, ifd: IFD) -> Mapping[int, Any]:
    try:
        return dict(exif.get_ifd(ifd))
    except DECODER_ERRORS:
        return {}


def printable(value: object, most: int = 200) -> str:
    """Any tag value as one line of at most ``most`` printable letters."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    text = text.partition("\0")[0]
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:most]


def user_comment(block: ExifBlock) -> str | None:
    """The user comment (tag 0x9286), decoded by the charset it names; None if there is none."""
    value = block.capture.get(0x9286)
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes):
        return None
    for sign, charset in _CHARSETS:
        if value.startswith(sign):
            raw = value[len(sign) :]
            if charset == "utf-16" and not raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                charset = "utf-16-be" if raw[:1] == b"\0" else "utf-16-le"
            return raw.decode(charset, "replace").strip("\0 ")
    return value.decode("utf-8", "replace").strip("\0 ")
