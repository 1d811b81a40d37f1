"""Blocks of a GIF are counted and its end is found."""

from typing import Any

import pytest

from dfbatch.authenticity.media.gif import gif_frames
from dfbatch.errors import MediaTruncated, MediaUnreadable


def test_every_cut_of_a_gif_is_found(picture: Any) -> None:
    data = picture("GIF", size=(9, 7))
    assert gif_frames(data) == 1
    for end in range(7, len(data)):
        with pytest.raises(MediaTruncated):
            gif_frames(data[:end])


def test_a_byte_that_begins_no_block_is_damage() -> None:
    with pytest.raises(MediaUnreadable, match="byte 13"):
        gif_frames(b"GIF89a\x01\0\x01\0\0\0\0\x99\x3b")
