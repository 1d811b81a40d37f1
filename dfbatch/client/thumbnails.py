"""Small pictures of items, made anew so that no byte of the item itself gets into a page."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageOps

from dfbatch.client.paths import local_path
from dfbatch.errors import DfbatchError

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_MOST_BYTES = 64 * 1024 * 1024
_MOST_PIXELS = 64_000_000


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """``data_uri`` of a small picture, or None with the reason in ``note``. Sizes are in pixels."""

    data_uri: str | None
    note: str = ""
    width: int = 0
    height: int = 0


def item_thumbnail(
    uri: str | None, sha256: str | None, side: int = 160, read: Callable[[str], bytes | None] | None = None
) -> Thumbnail:
    """A picture of an item that is a local image or lies in the ledger, at most ``side`` pixels wide and high.

    Nothing is shown of a file that changed since it was verified (its SHA-256 is another), of one that is far away,
    or of one that would need much memory.
    """
    data = _from_ledger(f"blobs/{sha256}", read) if uri is None and sha256 else _from_disk(uri)
    if data is None:
        return Thumbnail(None, "")
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        return Thumbnail(None, "The file has changed since it was verified.")
    return thumbnail(data, side)


def artifact_thumbnail(artifact: str, side: int, read: Callable[[str], bytes | None] | None) -> Thumbnail:
    """A picture that a detector left in the ledger, such as a heat map."""
    data = _from_ledger(f"artifacts/{artifact.removeprefix('artifacts/')}", read)
    return Thumbnail(None, "") if data is None else thumbnail(data, side)


def thumbnail(data: bytes, side: int = 160) -> Thumbnail:
    """The bytes of an image as a small JPEG; hostile bytes give a note, never an exception."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _draw(data, side)
    except Exception as error:  # decoders raise anything on hostile bytes; a missing picture is told in words
        return Thumbnail(None, f"No preview ({type(error).__name__}).")


def _draw(data: bytes, side: int) -> Thumbnail:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        if image.width * image.height > _MOST_PIXELS:
            return Thumbnail(None, "No preview: too many pixels.")
        image.draft("RGB", (side * 2, side * 2))
        small = _eight_bit(ImageOps.exif_transpose(image))
        small.thumbnail((side, side))
        small = small.convert("RGBA") if small.mode in ("P", "LA", "PA", "RGBA") else small.convert("RGB")
    if small.mode == "RGBA":
        paper = Image.new("RGB", small.size, (255, 255, 255))
        paper.paste(small, mask=small.getchannel("A"))
        small = paper
    target = io.BytesIO()
    small.save(target, format="JPEG", quality=80)
    text = base64.b64encode(target.getvalue()).decode()
    return Thumbnail(f"data:image/jpeg;base64,{text}", "", small.width, small.height)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey values of 16 or 32 bits or floats, spread over 0 to 255; other pictures as they are."""
    if not image.mode.startswith(("I", "F")):
        return image
    wide = image.convert("I").convert("F") if image.mode.startswith("I") else image
    low, high = (float(bound) for bound in wide.getextrema() if isinstance(bound, int | float))
    scale = 255.0 / (high - low) if high > low else 0.0
    return wide.point(lambda value: value * scale + -low * scale).convert("L")


def _from_disk(uri: str | None) -> bytes | None:
    path = uri if uri is None or "://" not in uri else local_path(uri)
    if path is None or not os.path.isabs(path):
        return None
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
                return None
            return file.read(_MOST_BYTES)
    except (OSError, ValueError):
        return None  # the file is gone or out of reach: the row still says what was found


def _from_ledger(path: str, read: Callable[[str], bytes | None] | None) -> bytes | None:
    if read is None:
        return None
    try:
        data = read(path)
    except (OSError, DfbatchError):
        return None  # collected meanwhile, or the storage is away
    return data if data is None or len(data) <= _MOST_BYTES else None
