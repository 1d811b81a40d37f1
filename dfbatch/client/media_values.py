"""Media given by value (bytes, pictures, arrays) as the bytes that are verified and kept."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from dfbatch.errors import InvalidInput, InvalidType

ACCEPTED = "a path, a folder, a glob, a URI, bytes, a PIL image, or a uint8 array (H x W, H x W x 3 or H x W x 4)"
_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_TIFF = ("CMYK", "YCbCr", "LAB", "F", "I", "PA", "RGBX")


def is_value(source: Any) -> bool:
    """True for one media item given by value."""
    if isinstance(source, bytes | bytearray | memoryview | Image.Image):
        return True
    return isinstance(source, np.ndarray) and source.dtype.kind in "buif" and source.ndim in (2, 3)


def media_bytes(source: Any, where: str) -> bytes:
    """The bytes of a media item given by value.

    Bytes stay as they are. A PIL image or an array is saved without loss as PNG (TIFF for the colour modes that PNG
    lacks), so what is verified is its pixels, not the file it once came from. Raises InvalidType or InvalidInput.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    if isinstance(source, Image.Image):
        return _image_bytes(source, where)
    if isinstance(source, np.ndarray):
        return _image_bytes(_image(source, where), where)
    raise InvalidType(where, f"is of type {type(source).__name__}, which is no media item", f"Give {ACCEPTED}")


def _image(array: Any, where: str) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if not fits or array.dtype != np.uint8:
        raise InvalidType(
            where,
            f"is an array of {array.dtype} with the shape {array.shape}, which is no picture",
            "Give uint8 of H x W, H x W x 3 or H x W x 4; for floats in 0..1: (array * 255).round().astype('uint8')",
        )
    if not array.size:
        raise InvalidInput(where, f"is a picture without pixels, {array.shape}", "Leave it out")
    return Image.fromarray(np.ascontiguousarray(array))


def _image_bytes(image: Image.Image, where: str) -> bytes:
    if image.mode not in _PNG + _TIFF:
        raise InvalidType(where, f"is an image of the mode {image.mode!r}", "Convert it: image.convert('RGB')")
    target = io.BytesIO()
    try:
        if image.mode in _PNG:
            image.save(target, format="PNG", compress_level=1)
        else:
            image.save(target, format="TIFF")
    except (OSError, ValueError, SystemError, Image.DecompressionBombError) as error:
        raise InvalidInput(where, f"the picture cannot be read ({error})", "Give its path or bytes instead") from error
    return target.getvalue()
