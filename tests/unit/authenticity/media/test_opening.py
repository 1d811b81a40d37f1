"""An item is what its bytes are, whole and decodable, or it has a typed error."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from dfbatch.authenticity.media.limits import MediaLimits
from dfbatch.authenticity.media.media import MediaKind
from dfbatch.authenticity.media.opening import open_media
from dfbatch.errors import MediaError, MediaNotWhatItsNameSays, MediaTruncated, MediaUnsupported


def test_an_image_opens_with_its_size_and_hash(tmp_path: Path, picture: Any) -> None:
    data = picture("JPEG", size=(40, 30))
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    media = open_media(path)
    assert (media.kind, media.media_type, media.width, media.height, media.frames) == (
        MediaKind.IMAGE, "image/jpeg", 40, 30, 1,
    )  # fmt: skip
    assert media.sha256 == hashlib.sha256(data).hexdigest()
    assert (media.uri, media.named_type, media.data) == (str(path), "image/jpeg", data)


def test_the_bytes_win_over_the_name(picture: Any) -> None:
    media = open_media(picture("PNG"), uri="s3://bucket/photo.jpg")
    assert (media.media_type, media.named_type) == ("image/png", "image/jpeg")


def test_video_sound_and_pdf_open_by_their_probes(av_bench: Any, pdf_bench: Any) -> None:
    clip = open_media(av_bench.video(frames=10))
    assert (clip.kind, clip.width, clip.height, clip.frames) == (MediaKind.VIDEO, 64, 48, 10)
    sound = open_media(av_bench.sound(av_bench.noise(0.5)))
    assert sound.kind is MediaKind.AUDIO
    assert sound.duration_s == pytest.approx(0.5, abs=0.1)
    assert open_media(pdf_bench.plain(pages=3)).frames == 3


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        (b"This is a note.", "plain text"),
        ("Grüße aus Köln".encode(), "plain text"),
        (b"<!DOCTYPE html><title>404</title>", "a web page"),
        (b"PK\x03\x04" + bytes(30), "a ZIP archive"),
        (bytes(9000), "zeros"),
        (b"\x01\x02\x03\xfe\xff", "of no kind we know"),
    ],
)
def test_what_is_no_media_is_said_to_be_what_it_is(data: bytes, looks: str) -> None:
    with pytest.raises(MediaNotWhatItsNameSays, match=looks):
        open_media(data, uri="photo.jpg")
    with pytest.raises(MediaUnsupported, match=looks):
        open_media(data, uri="notes.txt")


def test_an_error_names_the_item(picture: Any) -> None:
    with pytest.raises(MediaTruncated, match=r"^album/photo\.jpg: The JPEG ends"):
        open_media(picture("JPEG")[:-20], uri="album/photo.jpg")


def test_limits_are_those_given(picture: Any) -> None:
    with pytest.raises(MediaError, match="max_pixels"):
        open_media(picture("PNG", size=(40, 30)), limits=MediaLimits(max_pixels=1199))
    assert open_media(picture("PNG", size=(40, 30)), limits=MediaLimits(max_pixels=1200)).width == 40
