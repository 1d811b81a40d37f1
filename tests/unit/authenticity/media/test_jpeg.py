"""A JPEG is walked marker by marker, whatever its bytes."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dfbatch.authenticity.media.jpeg import jpeg_structure


def test_the_walk_finds_frame_scans_and_end(picture: Any) -> None:
    data = picture("JPEG")
    plain = jpeg_structure(data + b"behind the end \xff\xd8\xff")
    assert (plain.scans, plain.progressive, plain.end) == (1, False, len(data))
    assert plain.segments[0][0] == 0xE0
    layered = jpeg_structure(picture("JPEG", progressive=True))
    assert layered.progressive
    assert layered.scans > 1


def test_restart_marks_are_no_markers(picture: Any) -> None:
    data = picture("JPEG", restart_marker_blocks=1, size=(64, 64))
    assert b"\xff\xd0" in data
    assert jpeg_structure(data).end == len(data)


@given(st.binary(max_size=300))
def test_the_walk_ends_on_any_bytes(data: bytes) -> None:
    structure = jpeg_structure(b"\xff\xd8" + data)
    assert structure.end is None or structure.end <= len(data) + 2
