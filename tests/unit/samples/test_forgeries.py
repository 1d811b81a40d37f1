from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dfbatch.samples import SampleSet
from dfbatch.samples.forgeries import blur, copy_move, fill, resample, splice
from dfbatch.samples.photographs import Album, Pixels, camera_exif, encode_jpeg

pytestmark = pytest.mark.integration


def _noise(height: int, width: int, seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


METHODS = {
    "splice": lambda host, rng: splice(host, _noise(48, 60, 99), rng),
    "copy-move": copy_move,
    "blur": blur,
    "fill": fill,
    "resample": resample,
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
@settings(max_examples=15, deadline=None)
@given(height=st.integers(32, 90), width=st.integers(32, 90), seed=st.integers(0, 2**32 - 1))
def test_before_the_encoder_a_forgery_differs_only_inside_its_region(method, height, width, seed):
    host = _noise(height, width, 1)
    forgery = method(host, np.random.default_rng(seed))
    changed = (forgery.pixels != host).any(axis=2)
    assert forgery.pixels.shape == host.shape
    assert forgery.mask.shape == host.shape[:2]
    assert not (changed & ~forgery.mask).any()
    assert changed.sum() > 0.5 * forgery.mask.sum()
    assert 0.005 < forgery.mask.mean() < 0.25


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_the_host_is_left_as_it_was_and_the_seed_decides(method, album: Album):
    host = album.pixels("coffee.png")
    before = host.copy()
    one, same, other = (method(host, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(host, before)
    assert np.array_equal(one.pixels, same.pixels)
    assert not np.array_equal(one.pixels, other.pixels)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(32, 90), width=st.integers(32, 90), seed=st.integers(0, 2**32 - 1))
def test_a_copied_piece_is_found_elsewhere_in_the_host_to_the_pixel(height, width, seed):
    host = _noise(height, width, 3)
    forgery = copy_move(host, np.random.default_rng(seed))
    rows, columns = np.nonzero(forgery.mask)
    row, column = int(rows.mean()), int(columns.mean())
    centre = forgery.pixels[row - 1 : row + 2, column - 1 : column + 2]
    windows = np.lib.stride_tricks.sliding_window_view(host, (3, 3), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    found = np.argwhere((windows == centre).all(axis=(2, 3, 4)))
    assert len(found) == 1
    assert not forgery.mask[tuple(found[0] + 1)]


def test_a_picture_too_small_to_forge_is_refused():
    with pytest.raises(ValueError, match="too small"):
        blur(_noise(20, 200, 0), np.random.default_rng(0))


def test_forged_and_control_share_size_container_and_camera_data(made: SampleSet):
    for sample in made:
        if sample.group != "forged":
            continue
        with Image.open(made.path(sample)) as forged, Image.open(made.path(sample.control)) as control:
            assert forged.size == control.size
            assert forged.quantization == control.quantization
            assert forged.info["exif"] == control.info["exif"]
            assert not np.array_equal(np.asarray(forged), np.asarray(control))


def test_the_control_went_through_the_same_encoder(made: SampleSet, album: Album):
    expected = encode_jpeg(album.pixels("coffee.png"), exif=camera_exif())
    assert made.path("photo-coffee.jpg").read_bytes() == expected


def test_after_the_encoder_most_of_the_picture_is_the_control(made: SampleSet):
    for sample in made:
        if sample.group == "forged":
            pictures = [
                np.asarray(Image.open(io.BytesIO(made.path(file).read_bytes())), dtype=np.int16)
                for file in (sample.file, sample.control)
            ]
            changed = (np.abs(pictures[0] - pictures[1]) > 8).any(axis=2).mean()
            assert 0.001 < changed < 0.25, sample.file
