"""Pages of a TIFF are counted, and hostile chains end."""

from typing import Any

import pytest

from dfbatch.authenticity.media.tiff import tiff_pages
from dfbatch.errors import MediaTruncated, MediaUnreadable


@pytest.mark.parametrize("big", [False, True])
def test_pages_are_counted_in_small_and_big_tiffs(big: bool, picture: Any) -> None:
    assert tiff_pages(picture("TIFF", big_tiff=big), 10) == 1


def test_counting_stops_behind_the_limit() -> None:
    pages = b"".join(b"\0\0" + (14 + 6 * page).to_bytes(4, "little") for page in range(100))
    assert tiff_pages(b"II*\0\x08\0\0\0" + pages, 10) == 11


def test_a_chain_that_bites_its_tail_is_damage() -> None:
    with pytest.raises(MediaUnreadable, match="itself"):
        tiff_pages(b"II*\0\x08\0\0\0" + b"\0\0\x08\0\0\0", 10)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"II*\0\xff\0\0\0", MediaTruncated),
        (b"II*\0", MediaTruncated),
        (b"II+\0\x08\0\0\0" + b"\xff" * 8, MediaTruncated),
        (b"MM\0*\0\0\0\0", MediaUnreadable),
    ],
)
def test_a_chain_without_a_page_fails(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        tiff_pages(data, 10)
