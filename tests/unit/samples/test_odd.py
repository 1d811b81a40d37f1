from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dfbatch.samples import SampleSet

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("file", "mode", "size", "frames"),
    [
        ("odd-cmyk.jpg", "CMYK", (600, 400), 1),
        ("odd-16-bit.png", "I;16", (600, 400), 1),
        ("odd-one-pixel.png", "RGB", (1, 1), 1),
        ("odd-animated.gif", "P", (200, 150), 8),
    ],
)
def test_odd_pictures_are_what_their_names_say_and_decode(made: SampleSet, file, mode, size, frames):
    with Image.open(made.path(file)) as image:
        image.load()
        assert (image.mode, image.size, getattr(image, "n_frames", 1)) == (mode, size, frames)


def test_the_deep_picture_uses_its_lower_bytes(made: SampleSet):
    with Image.open(made.path("odd-16-bit.png")) as image:
        assert len(np.unique(np.asarray(image) & 255)) == 256
