"""Chunks of a PNG come with their checksum proved."""

from typing import Any

import pytest

from dfbatch.authenticity.media.png import png_chunks
from dfbatch.errors import MediaTruncated, MediaUnreadable


def test_all_chunks_come_in_order(picture: Any) -> None:
    data = picture("PNG")
    chunks = list(png_chunks(data + b"behind the end"))
    assert chunks[0][0] == b"IHDR"
    assert chunks[-1] == (b"IEND", len(data) - 4, 0)


def test_a_cut_or_changed_stream_is_told_apart(picture: Any) -> None:
    data = picture("PNG")
    with pytest.raises(MediaTruncated):
        list(png_chunks(data[:-1]))
    with pytest.raises(MediaUnreadable, match="IHDR"):
        list(png_chunks(data[:20] + b"\x77" + data[21:]))
    with pytest.raises(MediaUnreadable, match="claims"):
        list(png_chunks(data[:8] + b"\xff\xff\xff\xff" + data[12:]))
