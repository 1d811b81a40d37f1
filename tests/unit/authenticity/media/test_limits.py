"""Limits say how much of an item is read."""

import pytest

from dfbatch.authenticity.media.limits import MediaLimits
from dfbatch.authenticity.media.media import MediaKind
from dfbatch.errors import InvalidInput


def test_every_kind_has_a_limit_of_bytes() -> None:
    limits = MediaLimits(max_image_bytes=1, max_video_bytes=4, max_audio_bytes=3, max_pdf_bytes=2)
    assert [limits.max_bytes(kind) for kind in MediaKind] == [1, 4, 3, 2]
    assert limits.most_bytes == 4


@pytest.mark.parametrize("bound", [0, -1])
def test_a_limit_must_be_above_zero(bound: int) -> None:
    with pytest.raises(InvalidInput, match="max_pixels"):
        MediaLimits(max_pixels=bound)
