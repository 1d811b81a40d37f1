"""EXIF is told as facts; contradictions are notes and accuse nobody."""

import io
from typing import Any

import pytest
from PIL import Image

from dfbatch.authenticity.detectors.exif_facts import ExifFacts
from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.opening import open_media

MAKE, MODEL, SOFTWARE, MODIFIED = 0x010F, 0x0110, 0x0131, 0x0132
TAKEN, DIGITISED, OFFSET_TAKEN, WIDTH, HEIGHT = 0x9003, 0x9004, 0x9011, 0xA002, 0xA003


def examined(image: dict[int, Any], capture: dict[int, Any] | None = None, size: tuple[int, int] = (60, 40)) -> Finding:
    exif = Image.Exif()
    for tag, value in image.items():
        exif[tag] = value
    if capture:
        exif.get_ifd(0x8769).update(capture)
        if capture.get(WIDTH) == 777:
            exif.get_ifd(0x8825)[2] = (50.0, 1.0, 2.0)
    out = io.BytesIO()
    Image.effect_noise(size, 60).save(out, "JPEG", exif=exif)
    return ExifFacts().examine(open_media(out.getvalue()))


def test_camera_times_and_software_are_told() -> None:
    found = examined(
        {MAKE: "Works", MODEL: "One", SOFTWARE: "GIMP 2.10", MODIFIED: "2024:05:01 10:00:30"},
        {TAKEN: "2024:05:01 10:00:00", OFFSET_TAKEN: "+02:00", WIDTH: 60, HEIGHT: 40},
    )
    assert found.score is None
    facts = found.facts
    assert (facts["make"], facts["model"], facts["editor"], facts["gps"]) == ("Works", "One", True, False)
    assert (facts["taken_at"], facts["size_tag"]) == ("2024:05:01 10:00:00 +02:00", [60, 40])
    assert facts["notes"] == []
    assert found.reason == "EXIF names the camera Works One. Software: GIMP 2.10."


@pytest.mark.parametrize(
    ("image", "capture", "note"),
    [
        ({MODIFIED: "2024:05:02 10:00:00"}, {TAKEN: "2024:05:01 10:00:00"}, "was modified after it was taken"),
        ({MODIFIED: "2024:05:01 10:00:00"}, {TAKEN: "2024:05:02 10:00:00"}, "contradict each other"),
        ({}, {TAKEN: "1987:05:02 10:00:00", DIGITISED: "2024:05:02 10:00:00"}, "digitised at another time"),
        ({}, {TAKEN: "2024:05:02 10:00:00", WIDTH: 4000, HEIGHT: 3000}, "EXIF gives 4000 x 3000 pixels"),
    ],
)
def test_contradictions_are_notes(image: dict[int, Any], capture: dict[int, Any], note: str) -> None:
    notes = examined(image, capture).facts["notes"]
    assert len(notes) == 1
    assert note in notes[0]


@pytest.mark.parametrize("time", ["", "0000:00:00 00:00:00", "2024:13:45 99:99:99", "yesterday", "    :  :     :  :  "])
def test_times_that_are_none_are_no_contradiction(time: str) -> None:
    assert examined({MAKE: "Works", MODIFIED: time}, {TAKEN: "2024:05:01 10:00:00"}).facts["notes"] == []


def test_a_picture_turned_upright_has_the_size_it_had() -> None:
    assert examined({}, {WIDTH: 40, HEIGHT: 60}).facts["notes"] == []


def test_the_place_is_told_to_be_there_but_not_copied() -> None:
    found = examined({}, {WIDTH: 777})
    assert found.facts["gps"] is True
    assert "50" not in str(found.facts)


def with_thumbnail(thumbnail: tuple[int, int], size: tuple[int, int] = (60, 40)) -> Finding:
    """A JPEG with a thumbnail in the second directory of its EXIF block."""
    small = io.BytesIO()
    Image.effect_noise(thumbnail, 60).save(small, "JPEG")
    first = b"\x01\x00" + b"\x0f\x01\x02\x00\x04\x00\x00\x00Wo\x00\x00" + (26).to_bytes(4, "little")
    start, length = (56).to_bytes(4, "little"), len(small.getvalue()).to_bytes(4, "little")
    second = b"\x02\x00" + b"\x01\x02\x04\x00\x01\x00\x00\x00" + start + b"\x02\x02\x04\x00\x01\x00\x00\x00" + length
    block = b"II*\0\x08\x00\x00\x00" + first + second + bytes(4)
    out = io.BytesIO()
    Image.effect_noise(size, 60).save(out, "JPEG", exif=b"Exif\0\0" + block.ljust(56, b"\0") + small.getvalue())
    return ExifFacts().examine(open_media(out.getvalue()))


def test_a_thumbnail_of_another_shape_is_a_note() -> None:
    assert with_thumbnail((90, 60)).facts["notes"] == []
    found = with_thumbnail((60, 60))
    assert found.facts["thumbnail"] == [60, 60]
    assert "another shape" in found.facts["notes"][0]


def test_the_usual_boxed_thumbnail_is_none() -> None:
    assert with_thumbnail((160, 120)).facts["notes"] == []


def test_no_exif_is_missing_evidence() -> None:
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "PNG")
    assert not ExifFacts().examine(open_media(out.getvalue())).applicable
