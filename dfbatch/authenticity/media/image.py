"""Probing of images: size and frames by the header, and a decode that finds what is cut off or broken.

Only the decoder of the sniffed type is ever tried. Pillow's own guess would start
others, some of which run external programs.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from typing import NamedTuple

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from dfbatch.authenticity.media.gif import gif_frames
from dfbatch.authenticity.media.heif import heif_size
from dfbatch.authenticity.media.jpeg import jpeg_structure
from dfbatch.authenticity.media.limits import MediaLimits
from dfbatch.authenticity.media.png import png_chunks
from dfbatch.authenticity.media.tag_claims import check_claims
from dfbatch.authenticity.media.tiff import tiff_pages
from dfbatch.errors import MediaTooLong, MediaTooManyPixels, MediaTruncated, MediaUnreadable

DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    struct.error,
)
"""What Pillow's decoders raise on bytes made to confuse them."""

_OPENERS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "image/jpeg": lambda file: JpegImagePlugin.jpeg_factory(file, None),
    "image/png": PngImagePlugin.PngImageFile,
    "image/gif": GifImagePlugin.GifImageFile,
    "image/webp": WebPImagePlugin.WebPImageFile,
    "image/tiff": TiffImagePlugin.TiffImageFile,
    "image/x-adobe-dng": TiffImagePlugin.TiffImageFile,
    "image/bmp": BmpImagePlugin.BmpImageFile,
    "image/jp2": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "image/avif": AvifImagePlugin.AvifImageFile,
}
_COUNTED_TYPES = frozenset({"image/tiff", "image/x-adobe-dng", "image/gif"})
"""Their frames were counted already, much faster than Pillow does."""
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_RAW_TYPES = frozenset({"image/tiff", "image/x-adobe-dng"})
"""Here the pixels may be in a form that only a raw converter reads; that is no damage."""


class ImageFacts(NamedTuple):
    """``width``, ``height`` in pixels, None where no decoder is here (HEIC without a size); ``frames`` a count."""

    width: int | None
    height: int | None
    frames: int


def open_image(data: bytes, media_type: str) -> Image.Image:
    """A Pillow image with its header read and its pixels not yet decoded, by the decoder of ``media_type`` alone.

    Raises MediaUnreadable if the header is broken, KeyError if there is no decoder for the type.
    """
    opener = _OPENERS[media_type]
    if media_type in _RAW_TYPES:
        check_claims(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return opener(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise MediaTooManyPixels(f"The image is a decompression bomb: {error}") from None
    except DECODER_ERRORS as error:
        raise _damage(media_type, error) from None


def probe_image(data: bytes, media_type: str, limits: MediaLimits) -> ImageFacts:
    """Check an image through to its last byte.

    Raises MediaTruncated, MediaUnreadable, MediaTooManyPixels, or MediaTooLong for
    an animation or a stack of pages beyond ``max_frames``.
    """
    frames = _check_frames(_structure(data, media_type, limits), limits)
    claimed = _claimed_size(data, media_type)
    if claimed is not None:
        _check_pixels(claimed, limits)
    if media_type not in _OPENERS:
        size = heif_size(data)
        if size:
            _check_pixels(size, limits)
        return ImageFacts(size[0] if size else None, size[1] if size else None, frames)
    with open_image(data, media_type) as image:
        _check_pixels(image.size, limits)
        width, height = image.size
        if media_type not in _COUNTED_TYPES:
            frames = _check_frames(max(frames, int(getattr(image, "n_frames", 1))), limits)
        _check_tiles(image, media_type, limits)
        _decode(image, media_type)
    return ImageFacts(width, height, frames)


def _structure(data: bytes, media_type: str, limits: MediaLimits) -> int:
    """Number of frames as far as the container tells, after its ends were checked."""
    if media_type == "image/jpeg":
        structure = jpeg_structure(data)
        exif = b"".join(data[at + 6 : at + n] for _, at, n in structure.segments if data.startswith(b"Exif\0\0", at))
        if exif:
            check_claims(exif)  # the decoder joins the blocks, and reads them before anything else
        if structure.end is None:
            raise MediaTruncated(f"The JPEG ends at byte {len(data):,} without its end mark. Get the whole file.")
    elif media_type == "image/png":
        for _ in png_chunks(data):
            pass
    elif media_type == "image/gif":
        return gif_frames(data)
    elif media_type in _RAW_TYPES:
        return _check_frames(tiff_pages(data, limits.max_frames), limits)
    elif media_type == "image/webp":
        claimed = int.from_bytes(data[4:8], "little") + 8
        if claimed > len(data) + 1:  # some writers count a padding byte that they do not write
            raise MediaTruncated(f"The WebP has {len(data):,} of the {claimed:,} bytes it claims. Get the whole file.")
    elif media_type == "image/avif":
        heif_size(data)
    return 1


def _claimed_size(data: bytes, media_type: str) -> tuple[int, int] | None:
    """Width and height where the decoder makes room for them as soon as it is opened; None where it is not known."""
    if media_type == "image/webp" and data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    return heif_size(data) if media_type == "image/avif" else None


def _check_tiles(image: Image.Image, media_type: str, limits: MediaLimits) -> None:
    """A tile is unpacked as a whole, however small the picture is."""
    if media_type in _RAW_TYPES:
        tags = getattr(image, "tag_v2", {})
        width, length = tags.get(_TILE_WIDTH), tags.get(_TILE_LENGTH)
        if isinstance(width, int) and isinstance(length, int):
            _check_pixels((width, length), limits)


def _check_pixels(size: tuple[int, int], limits: MediaLimits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise MediaUnreadable(f"The image is damaged: it claims {width} x {height} pixels.")
    if width * height > limits.max_pixels:
        raise MediaTooManyPixels(
            f"The image claims {width:,} x {height:,} pixels, over the limit of {limits.max_pixels:,}. "
            f"Make it smaller, or raise max_pixels in MediaLimits if you trust it."
        )


def _check_frames(frames: int, limits: MediaLimits) -> int:
    if frames > limits.max_frames:
        raise MediaTooLong(f"The image has over {limits.max_frames:,} frames, the limit of max_frames in MediaLimits.")
    return frames


def _decode(image: Image.Image, media_type: str) -> None:
    """Decode the first frame and throw it away; a JPEG at an eighth of its size, which still reads every byte."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if media_type == "image/jpeg":
                image.draft(image.mode, (max(1, image.width // 8), max(1, image.height // 8)))
            image.load()
    except Image.DecompressionBombError as error:
        raise MediaTooManyPixels(f"The image is a decompression bomb: {error}") from None
    except DECODER_ERRORS as error:
        if media_type in _RAW_TYPES and _no_decoder(error):
            return
        raise _damage(media_type, error) from None


def _no_decoder(error: Exception) -> bool:
    text = str(error)
    return "not available" in text or "unknown pixel mode" in text or "compression" in text.lower()


def _damage(media_type: str, error: Exception) -> MediaTruncated | MediaUnreadable:
    name = media_type.partition("/")[2].removeprefix("x-adobe-").upper()
    text = f"{type(error).__name__}: {error}"[:200]
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return MediaTruncated(f"The {name} ends before its picture does ({text}). Get the whole file.")
    return MediaUnreadable(f"The {name} is damaged: its decoder gave up ({text}).")
