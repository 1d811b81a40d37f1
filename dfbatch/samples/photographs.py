"""Photographs that come with installed packages, and the one encoder that all our JPEGs pass."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dfbatch.errors import DfbatchError
from dfbatch.samples.sample import Sample, SampleFile

Pixels = npt.NDArray[np.uint8]

_BUNDLED = {
    "china.jpg": ("sklearn", "datasets/images"),
    "flower.jpg": ("sklearn", "datasets/images"),
    "rocket.jpg": ("skimage", "data"),
    "retina.jpg": ("skimage", "data"),
    "hubble_deep_field.jpg": ("skimage", "data"),
    "astronaut.png": ("skimage", "data"),
    "chelsea.png": ("skimage", "data"),
    "coffee.png": ("skimage", "data"),
    "motorcycle_left.png": ("skimage", "data"),
}
_DISTRIBUTION = {"sklearn": "scikit-learn", "skimage": "scikit-image"}
_QUALITY = 90
_EXIF_IFD = 0x8769


class Album:
    """Bundled photographs by file name: their bytes as shipped, and their pixels, decoded once."""

    def __init__(self) -> None:
        self._pixels: dict[str, Pixels] = {}

    def data(self, name: str) -> bytes:
        """The file as its package ships it."""
        package, folder = _BUNDLED[name]
        path = _package_folder(package) / folder / name
        try:
            return path.read_bytes()
        except OSError as problem:
            raise DfbatchError(
                f"The photograph {name} is not in the installed {_DISTRIBUTION[package]} ({problem.strerror}). "
                f"Install a release that bundles it: scikit-image 0.26 and scikit-learn 1.9 do."
            ) from problem

    def pixels(self, name: str) -> Pixels:
        """Its pixels as a read-only array of (height, width, 3), red first."""
        if name not in self._pixels:
            with Image.open(io.BytesIO(self.data(name))) as image:
                pixels = np.asarray(image.convert("RGB"), dtype=np.uint8).copy()
            pixels.setflags(write=False)
            self._pixels[name] = pixels
        return self._pixels[name]

    @cached_property
    def capture(self) -> bytes:
        """The JPEG with camera data that signed samples start from."""
        return encode_jpeg(self.pixels("coffee.png"), exif=camera_exif())


def encode_jpeg(pixels: Pixels, *, exif: Image.Exif | None = None, xmp: bytes | None = None) -> bytes:
    """``pixels`` (height, width, 3) as a JPEG of quality 90, 4:2:0: forged and untouched ones alike."""
    options: dict[str, Any] = {"quality": _QUALITY, "subsampling": "4:2:0"}
    if exif is not None:
        options["exif"] = exif
    if xmp is not None:
        options["xmp"] = xmp
    out = io.BytesIO()
    Image.fromarray(pixels, "RGB").save(out, "JPEG", **options)
    return out.getvalue()


def camera_exif(description: str | None = None, software: str = "SW-1 firmware 1.4") -> Image.Exif:
    """EXIF as a camera writes it. Maker and model are invented, so that no real camera is impersonated."""
    exif = Image.Exif()
    exif[0x010F] = "Samplewright"
    exif[0x0110] = "Samplewright SW-1"
    exif[0x0112] = 1
    exif[0x0131] = software
    exif[0x0132] = "2024:05:18 10:42:07"
    if description is not None:
        exif[0x010E] = description
    exif.get_ifd(_EXIF_IFD).update(
        {
            0x829A: 0.008,  # exposure time, s
            0x829D: 2.8,  # f-number
            0x8827: 200,  # ISO speed
            0x9003: "2024:05:18 10:42:07",
            0x9004: "2024:05:18 10:42:07",
            0x920A: 35.0,  # focal length, mm
            0xA434: "SW 35mm f/2",
        }
    )
    return exif


def photograph_files(album: Album) -> Iterator[SampleFile]:
    """Untouched photographs: as shipped, or saved once by our encoder."""
    for file, name, what in (
        ("photo-china.jpg", "china.jpg", "Photograph of a temple in China, the bytes that scikit-learn ships."),
        ("photo-flower.jpg", "flower.jpg", "Photograph of a dahlia, the bytes that scikit-learn ships."),
        ("photo-rocket.jpg", "rocket.jpg", "Photograph of a rocket on its pad, the bytes that scikit-image ships."),
        ("photo-retina.jpg", "retina.jpg", "Medical photograph of a retina, the bytes that scikit-image ships."),
        (
            "photo-hubble.jpg",
            "hubble_deep_field.jpg",
            "Genuine telescope picture whose EXIF names Photoshop, which is no reason to accuse it.",
        ),
        ("photo-chelsea.png", "chelsea.png", "Photograph of a cat, the PNG that scikit-image ships."),
        ("photo-mislabelled.png", "rocket.jpg", "A good JPEG whose name says PNG; it must be verified all the same."),
    ):
        yield SampleFile(Sample(file, "image", what), album.data(name))
    for file, name, what in (
        ("photo-astronaut.jpg", "astronaut.png", "Portrait of an astronaut"),
        ("photo-coffee.jpg", "coffee.png", "Photograph of a cup of coffee"),
        ("photo-motorcycle.jpg", "motorcycle_left.png", "Photograph of a motorcycle in a workshop"),
    ):
        what = f"{what}, saved once as JPEG with camera EXIF; the untouched control of forged samples."
        yield SampleFile(Sample(file, "image", what), encode_jpeg(album.pixels(name), exif=camera_exif()))


def _package_folder(package: str) -> Path:
    spec = find_spec(package)  # finds the folder without importing the package
    if spec is None or not spec.submodule_search_locations:
        raise DfbatchError(
            f"The sample photographs come with {_DISTRIBUTION[package]}, which is not installed. "
            f"Install it with: pip install 'dfbatch[samples]'"
        )
    return Path(next(iter(spec.submodule_search_locations)))
