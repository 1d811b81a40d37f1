"""Good pictures of rare kinds: each must get a result, and none an accusation."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from dfbatch.samples.photographs import Album
from dfbatch.samples.sample import Sample, SampleFile

_FRAMES, _FRAME_MS = 8, 120


def odd_files(album: Album) -> Iterator[SampleFile]:
    """All samples of the group ``odd``."""
    photo = Image.fromarray(album.pixels("coffee.png"), "RGB")
    for file, what, data in (
        ("odd-cmyk.jpg", "A photograph saved for print, as a JPEG in CMYK.", _saved(photo.convert("CMYK"), "JPEG")),
        ("odd-16-bit.png", "A grey picture of 16 bits a pixel, as scanners write.", _saved(_deep(photo), "PNG")),
        ("odd-one-pixel.png", "A picture of a single pixel, which nothing can be said of.", _saved(_pixel(), "PNG")),
        ("odd-animated.gif", "An animation of eight frames.", _animation(photo)),
    ):
        yield SampleFile(Sample(file, "image", what), data)


def _deep(photo: Image.Image) -> Image.Image:
    grey = np.asarray(photo.convert("L"), dtype=np.uint16)
    # A slope below one step of 8 bits, so that the lower byte carries something.
    return Image.fromarray(grey * 256 + np.arange(grey.shape[1], dtype=np.uint16) % 256)


def _pixel() -> Image.Image:
    return Image.new("RGB", (1, 1), (200, 40, 40))


def _animation(photo: Image.Image) -> bytes:
    width, height = 200, 150
    step = (photo.width - width) // _FRAMES
    frames = [photo.crop((n * step, 100, n * step + width, 100 + height)).quantize(64) for n in range(_FRAMES)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=_FRAME_MS, loop=0)
    return out.getvalue()


def _saved(image: Image.Image, form: str) -> bytes:
    out = io.BytesIO()
    image.save(out, form)
    return out.getvalue()
