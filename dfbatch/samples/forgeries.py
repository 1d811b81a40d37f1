"""Forgeries made by seeded arithmetic: what was changed, and where, is known to the pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from dfbatch.samples.photographs import Album, Pixels, camera_exif, encode_jpeg
from dfbatch.samples.sample import Sample, SampleFile

Mask = npt.NDArray[np.bool_]
Weights = npt.NDArray[np.float64]

_FEATHER = 0.12
_CANDIDATES = 24


@dataclass(frozen=True, slots=True)
class Forgery:
    """``pixels`` (height, width, 3) before the final encoder; outside ``mask`` (height, width) they are the host's."""

    pixels: Pixels
    mask: Mask


@dataclass(frozen=True, slots=True)
class Window:
    """A box of pixels: rows ``top`` to ``top + height``, columns ``left`` to ``left + width``."""

    top: int
    left: int
    height: int
    width: int

    def of(self, pixels: Pixels) -> Pixels:
        """The pixels inside, as a view."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]


def splice(host: Pixels, donor: Pixels, rng: np.random.Generator) -> Forgery:
    """An ellipse of ``donor``, matched in mean colour, blended into ``host``."""
    size = _size_of_region(host, donor)
    place = _some_window(host, size, rng)
    patch = _busiest_window(donor, size, rng).of(donor).astype(np.float64)
    shift = place.of(host).mean(axis=(0, 1)) - patch.mean(axis=(0, 1))
    return _blended(host, place, patch + 0.5 * shift)


def copy_move(host: Pixels, rng: np.random.Generator) -> Forgery:
    """A textured ellipse of ``host`` repeated elsewhere in it, without overlap."""
    size = _size_of_region(host)
    source = _busiest_window(host, size, rng)
    return _blended(host, _window_apart(host, source, rng), source.of(host).astype(np.float64))


def blur(host: Pixels, rng: np.random.Generator) -> Forgery:
    """A region made unrecognisable by a Gaussian blur."""
    place = _busiest_window(host, _size_of_region(host), rng)
    softened = Image.fromarray(place.of(host), "RGB").filter(ImageFilter.GaussianBlur(5))
    return _blended(host, place, np.asarray(softened, dtype=np.float64))


def fill(host: Pixels, rng: np.random.Generator) -> Forgery:
    """A region taken out and filled from its rim, as simple retouching does, with a little grain."""
    place = _busiest_window(host, _size_of_region(host), rng)
    inside = place.of(host).astype(np.float64)
    hole = _ellipse(place.height, place.width) > 0
    filled = _harmonic_fill(inside, hole)
    grain = rng.normal(0.0, 1.5, filled.shape)
    return _blended(host, place, np.where(hole[..., None], filled + grain, inside))


def resample(host: Pixels, rng: np.random.Generator) -> Forgery:
    """A region enlarged by 1.2 and turned by some degrees in its place."""
    place = _busiest_window(host, _size_of_region(host), rng)
    angle = float(rng.uniform(4.0, 9.0))
    patch = Image.fromarray(place.of(host), "RGB")
    grown = patch.resize((round(place.width * 1.2), round(place.height * 1.2)), Image.Resampling.BICUBIC)
    turned = grown.rotate(angle, Image.Resampling.BICUBIC)
    top, left = (turned.height - place.height) // 2, (turned.width - place.width) // 2
    cut = turned.crop((left, top, left + place.width, top + place.height))
    return _blended(host, place, np.asarray(cut, dtype=np.float64))


def forged_files(album: Album, rng: np.random.Generator) -> Iterator[SampleFile]:
    """One of each kind. Control and forgery get the same EXIF and the same encoder, so only pixels tell them apart."""
    coffee, astronaut = album.pixels("coffee.png"), album.pixels("astronaut.png")
    motorcycle, flower = album.pixels("motorcycle_left.png"), album.pixels("flower.jpg")
    plans: tuple[tuple[str, str, str, Callable[[], Forgery]], ...] = (
        ("splice", "coffee", "a piece of another photograph pasted in", lambda: splice(coffee, flower, rng)),
        ("fill", "coffee", "a region filled in from its rim", lambda: fill(coffee, rng)),
        ("copy-move", "motorcycle", "a piece of itself repeated elsewhere", lambda: copy_move(motorcycle, rng)),
        ("blur", "astronaut", "a region blurred", lambda: blur(astronaut, rng)),
        ("resample", "astronaut", "a region enlarged and turned", lambda: resample(astronaut, rng)),
    )
    for method, scene, deed, forge in plans:
        what = f"Forged: {deed}; same EXIF and encoder as its control."
        sample = Sample(f"forged-{method}-{scene}.jpg", "image", what, control=f"photo-{scene}.jpg")
        yield SampleFile(sample, encode_jpeg(forge().pixels, exif=camera_exif()))


def _size_of_region(*pictures: Pixels) -> tuple[int, int]:
    """About a fifth of the smaller picture's side, high and wide."""
    shortest = min(min(picture.shape[:2]) for picture in pictures)
    if shortest < 32:
        raise ValueError(f"a picture of {shortest} pixels is too small to forge; it needs 32 or more a side")
    return round(shortest * 0.24), round(shortest * 0.28)


def _some_window(picture: Pixels, size: tuple[int, int], rng: np.random.Generator) -> Window:
    height, width = size
    top = int(rng.integers(0, picture.shape[0] - height + 1))
    left = int(rng.integers(0, picture.shape[1] - width + 1))
    return Window(top, left, height, width)


def _busiest_window(picture: Pixels, size: tuple[int, int], rng: np.random.Generator) -> Window:
    """Of some random windows the one with most texture: a change of flat sky would be none."""

    def texture(window: Window) -> float:
        grey = window.of(picture).mean(axis=2)
        return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())

    return max((_some_window(picture, size, rng) for _ in range(_CANDIDATES)), key=texture)


def _window_apart(picture: Pixels, source: Window, rng: np.random.Generator) -> Window:
    """A random window that does not touch ``source``, or the farthest corner should chance find none."""
    for _ in range(_CANDIDATES):
        window = _some_window(picture, (source.height, source.width), rng)
        if _distance(window, source) >= 1:
            return window
    bottom, right = picture.shape[0] - source.height, picture.shape[1] - source.width
    corners = [Window(top, left, source.height, source.width) for top in (0, bottom) for left in (0, right)]
    return max(corners, key=lambda window: _distance(window, source))


def _distance(one: Window, other: Window) -> float:
    """In windows; 1 or more: no overlap."""
    return float(max(abs(one.top - other.top) / one.height, abs(one.left - other.left) / one.width))


def _ellipse(height: int, width: int) -> Weights:
    """Weights (height, width): 1 within the ellipse, falling to 0 at its rim."""
    rows = (np.arange(height) + 0.5) / height * 2 - 1
    columns = (np.arange(width) + 0.5) / width * 2 - 1
    radius = np.sqrt(rows[:, None] ** 2 + columns[None, :] ** 2)
    weights: Weights = np.clip((1.0 - radius) / _FEATHER, 0.0, 1.0)
    return weights


def _blended(host: Pixels, place: Window, patch: Weights) -> Forgery:
    weights = _ellipse(place.height, place.width)
    pixels = host.copy()
    mixed = weights[..., None] * patch + (1.0 - weights[..., None]) * place.of(host)
    place.of(pixels)[...] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    mask = np.zeros(host.shape[:2], dtype=np.bool_)
    mask[place.top : place.top + place.height, place.left : place.left + place.width] = weights > 0
    return Forgery(pixels, mask)


def _harmonic_fill(inside: Weights, hole: Mask, steps: int = 400) -> Weights:
    """Relax the hole (height, width) towards the mean of its neighbours, from the mean of the rim on."""
    filled = inside.copy()
    filled[hole] = inside[~hole].mean(axis=0)
    padded = np.pad(filled, ((1, 1), (1, 1), (0, 0)), mode="edge")
    inner = padded[1:-1, 1:-1]
    for _ in range(steps):
        around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
        inner[hole] = around[hole] / 4
    result: Weights = inner.copy()
    return result
