from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import dfbatch.samples.photographs as photographs
from dfbatch.errors import DfbatchError
from dfbatch.samples import SampleSet
from dfbatch.samples.photographs import Album, camera_exif, encode_jpeg

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(("file", "name"), [("photo-china.jpg", "china.jpg"), ("photo-rocket.jpg", "rocket.jpg")])
def test_untouched_photographs_are_the_bytes_their_package_ships(made: SampleSet, album: Album, file, name):
    assert made.path(file).read_bytes() == album.data(name)


def test_the_camera_data_can_be_read_back_and_names_no_real_camera():
    data = encode_jpeg(np.zeros((8, 8, 3), np.uint8), exif=camera_exif())
    with Image.open(io.BytesIO(data)) as image:
        exif = image.getexif()
    assert exif[0x010F] == "Samplewright"
    assert exif.get_ifd(0x8769)[0x9003] == "2024:05:18 10:42:07"
    assert exif.get_ifd(0x8769)[0x829D] == pytest.approx(2.8)


def test_the_hubble_picture_names_photoshop_and_is_still_not_accused(made: SampleSet):
    with Image.open(made.path("photo-hubble.jpg")) as image:
        assert "Photoshop" in image.getexif()[0x0131]
    assert made["photo-hubble.jpg"].verdict == "inconclusive"


def test_the_mislabelled_photograph_is_a_jpeg(made: SampleSet):
    with Image.open(made.path("photo-mislabelled.png")) as image:
        assert image.format == "JPEG"


def test_pixels_are_read_only_so_that_no_forger_changes_the_original(album: Album):
    with pytest.raises(ValueError, match="read-only"):
        album.pixels("china.jpg")[0, 0] = 0


def test_a_missing_package_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(photographs, "find_spec", lambda package: None)
    with pytest.raises(DfbatchError, match=r"scikit-learn, which is not installed.*dfbatch\[samples\]"):
        Album().data("china.jpg")


def test_a_release_without_the_photograph_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setattr(photographs, "_package_folder", lambda package: tmp_path)
    with pytest.raises(DfbatchError, match=r"china\.jpg is not in the installed scikit-learn"):
        Album().data("china.jpg")
