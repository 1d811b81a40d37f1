from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from dfbatch.samples import SampleSet
from dfbatch.samples.broken import damaged_png, pixel_bomb
from dfbatch.samples.photographs import Album

pytestmark = pytest.mark.integration


def test_the_truncated_jpeg_opens_but_does_not_load(made: SampleSet):
    with Image.open(made.path("broken-truncated.jpg")) as image, pytest.raises(OSError, match="truncated"):
        image.load()


def test_the_truncated_video_is_a_part_of_the_good_one(made: SampleSet):
    cut, whole = (made.path(file).read_bytes() for file in ("broken-truncated.mp4", "video-pan.mp4"))
    assert whole.startswith(cut)
    assert 0 < len(cut) < len(whole)


def test_the_bomb_is_small_on_disk_and_has_900_megapixels(made: SampleSet):
    assert made.path("broken-bomb.png").stat().st_size < 200_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(made.path("broken-bomb.png"))


def test_a_bomb_of_harmless_size_is_a_complete_png():
    with Image.open(io.BytesIO(pixel_bomb(side=50))) as image:
        image.load()
        assert (image.size, image.mode) == ((50, 50), "1")


def test_the_damaged_png_keeps_its_size_and_does_not_load(made: SampleSet):
    assert made.path("broken-damaged.png").stat().st_size == made.path("photo-chelsea.png").stat().st_size
    with Image.open(made.path("broken-damaged.png")) as image, pytest.raises((OSError, SyntaxError)):
        image.load()


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_seed_the_damage_breaks_the_pixel_data(album: Album, seed: int):
    damaged = damaged_png(album.data("chelsea.png"), np.random.default_rng(seed))
    with pytest.raises((OSError, SyntaxError, zlib.error)), Image.open(io.BytesIO(damaged)) as image:
        image.load()


def test_the_text_file_and_the_empty_file_are_what_they_are_called(made: SampleSet):
    assert made.path("broken-text.jpg").read_text().startswith("This is a note")
    assert made.path("broken-empty.jpg").read_bytes() == b""
