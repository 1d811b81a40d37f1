"""What a video or sound file holds is read from its packets; damage is a typed error."""

from __future__ import annotations

import io
import struct
from functools import partial
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.authenticity.media.av import probe_av
from dfbatch.authenticity.media.limits import MediaLimits
from dfbatch.authenticity.media.media import MediaKind
from dfbatch.errors import (
    MediaError,
    MediaTooLong,
    MediaTooManyPixels,
    MediaTruncated,
    MediaUnreadable,
    MediaUnsupported,
)

pytestmark = pytest.mark.integration

LIMITS = MediaLimits()


def probe(data: bytes, media_type: str = "video/mp4", limits: MediaLimits = LIMITS) -> dict[str, Any]:
    kind = MediaKind.AUDIO if media_type.startswith("audio") else MediaKind.VIDEO
    return probe_av(data, media_type, kind, limits)


@pytest.fixture(scope="module")
def mp4(av_bench: Any) -> bytes:
    return av_bench.video()


@pytest.fixture(scope="module")
def wav(av_bench: Any) -> bytes:
    return av_bench.sound(av_bench.noise(0.5))


@pytest.mark.parametrize(
    ("container", "media_type"),
    [("mp4", "video/mp4"), ("mov", "video/quicktime"), ("matroska", "video/x-matroska"), ("avi", "video/x-msvideo")],
)
def test_size_frames_and_seconds_of_a_video(container: str, media_type: str, av_bench: Any) -> None:
    found = probe(av_bench.video(frames=25, container=container), media_type)
    assert found["kind"] is MediaKind.VIDEO
    assert (found["width"], found["height"], found["frames"]) == (64, 48, 25)
    assert found["duration_s"] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("format", "subtype", "media_type"),
    [
        ("WAV", "PCM_16", "audio/wav"),
        ("WAV", "FLOAT", "audio/wav"),
        ("RF64", "PCM_16", "audio/wav"),
        ("FLAC", "PCM_16", "audio/flac"),
        ("OGG", "VORBIS", "audio/ogg"),
        ("MP3", "MPEG_LAYER_III", "audio/mpeg"),
        ("AIFF", "PCM_16", "audio/aiff"),
    ],
)
def test_seconds_of_a_sound(format: str, subtype: str, media_type: str, av_bench: Any) -> None:
    found = probe(av_bench.sound(av_bench.noise(1.0), format=format, subtype=subtype), media_type)
    assert found["kind"] is MediaKind.AUDIO
    assert (found["width"], found["height"], found["frames"]) == (None, None, None)
    assert found["duration_s"] == pytest.approx(1.0, abs=0.12)


def test_a_very_short_ogg_is_not_taken_for_days(av_bench: Any) -> None:
    """FFmpeg gives its last packet a negative duration, as a huge unsigned number."""
    data = av_bench.sound(av_bench.noise(0.3), format="OGG", subtype="VORBIS")
    assert probe(data, "audio/ogg")["duration_s"] == pytest.approx(0.3, abs=0.05)


def test_a_container_without_pictures_is_sound_and_cover_art_is_no_video(av_bench: Any) -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as target:
        cover = target.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 32
        cover.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        tone = target.add_stream("aac", rate=16_000)
        target.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        target.mux(cover.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        target.mux(tone.encode(frame))
        target.mux(tone.encode(None))
    assert probe(out.getvalue())["kind"] is MediaKind.AUDIO


@pytest.mark.parametrize("moov_first", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.99])
def test_a_cut_mp4_is_truncated(share: float, moov_first: bool, av_bench: Any) -> None:
    data = av_bench.video(options={"movflags": "faststart"} if moov_first else {})
    with pytest.raises(MediaTruncated, match=r"(again|source)[^.]*\.$"):
        probe(data[: int(share * len(data))])


def test_an_mp4_cut_exactly_between_its_parts_is_truncated(av_bench: Any) -> None:
    data = av_bench.video(options={"movflags": "faststart"})
    with pytest.raises(MediaTruncated):
        probe(data[: data.index(b"mdat") - 4])


@pytest.mark.parametrize(
    ("container", "media_type"), [("avi", "video/x-msvideo"), ("matroska", "video/x-matroska"), ("webm", "video/webm")]
)
def test_a_cut_video_of_other_containers_is_truncated(container: str, media_type: str, av_bench: Any) -> None:
    data = av_bench.video(container="matroska" if container == "webm" else container)
    with pytest.raises(MediaTruncated):
        probe(data[: len(data) // 2], media_type)


@pytest.mark.parametrize(
    ("format", "media_type"), [("WAV", "audio/wav"), ("RF64", "audio/wav"), ("FLAC", "audio/flac")]
)
def test_a_cut_sound_is_truncated(format: str, media_type: str, av_bench: Any) -> None:
    data = av_bench.sound(av_bench.noise(5.0), format=format)
    with pytest.raises(MediaTruncated):
        probe(data[: len(data) // 2], media_type)


def test_a_wav_whose_writer_could_not_seek_back_is_whole(wav: bytes) -> None:
    at = wav.index(b"data") + 4
    streamed = wav[:4] + b"\xff" * 4 + wav[8:at] + b"\xff" * 4 + wav[at + 4 :]
    assert probe(streamed, "audio/wav")["duration_s"] == pytest.approx(0.5, abs=0.01)


def test_a_riff_file_without_a_format_is_unreadable(wav: bytes) -> None:
    with pytest.raises(MediaUnreadable, match="fmt"):
        probe(wav.replace(b"fmt ", b"fmX "), "audio/wav")


def test_trailing_bytes_behind_a_whole_mp4_are_tolerated(mp4: bytes) -> None:
    assert probe(mp4 + b"\0" * 50)["frames"] == 25
    assert probe(mp4 + struct.pack(">I4s", 1000, b"free"))["frames"] == 25


def test_limits_on_pixels_frames_and_seconds(mp4: bytes, wav: bytes) -> None:
    with pytest.raises(MediaTooManyPixels, match="64 x 48"):
        probe(mp4, limits=MediaLimits(max_pixels=3000))
    with pytest.raises(MediaTooLong, match="10 frames"):
        probe(mp4, limits=MediaLimits(max_frames=10))
    with pytest.raises(MediaTooLong, match="max_duration_s"):
        probe(mp4, limits=MediaLimits(max_duration_s=0.5))
    with pytest.raises(MediaTooLong, match="max_duration_s"):
        probe(wav, "audio/wav", MediaLimits(max_duration_s=0.1))


def test_an_index_that_claims_millions_of_samples_is_refused_before_memory_is_reserved(mp4: bytes) -> None:
    at = mp4.index(b"stsz") + 8
    endless = mp4[:at] + struct.pack(">II", 0, 2**31) + mp4[at + 8 :]
    with pytest.raises(MediaError, match="damaged"):
        probe(endless)
    constant = mp4[:at] + struct.pack(">II", 1, 2**31) + mp4[at + 8 :]
    with pytest.raises(MediaError):
        probe(constant)


def test_fragments_that_claim_millions_of_samples_are_refused(av_bench: Any) -> None:
    data = av_bench.video(options={"movflags": "frag_keyframe+empty_moov"})
    assert probe(data)["frames"] == 25
    at = data.index(b"trun") + 8
    with pytest.raises(MediaTooLong, match="fragments"):
        probe(data[:at] + struct.pack(">I", 2**31) + data[at + 4 :])


def test_pictures_that_cannot_be_decoded_are_said(mp4: bytes) -> None:
    at, end = mp4.index(b"mdat") + 4, mp4.index(b"moov") - 4
    with pytest.raises(MediaUnreadable, match="No picture could be decoded"):
        probe(mp4[:at] + bytes(end - at) + mp4[end:])


def test_a_playlist_is_never_followed(tmp_path: Any) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"")
    listing = f"ffconcat version 1.0\nfile {secret}\n".encode()
    for media_type in ("video/mp4", "video/x-matroska", "video/mp2t", "audio/mpeg"):
        with pytest.raises(MediaError):
            probe(listing, media_type)
    with pytest.raises(MediaUnsupported, match="Convert it"):
        probe(b"#EXTM3U\n/etc/passwd\n", "application/vnd.apple.mpegurl")


@pytest.mark.parametrize("data", [b"", b"\0", b"RIFF", b"\0\0\0\x08ftyp", b"\0\0\0\x01mdat\0\0\0\0\0\0\0\0"])
@pytest.mark.parametrize("media_type", ["video/mp4", "audio/wav", "video/x-msvideo", "video/x-matroska", "audio/flac"])
def test_a_few_bytes_are_a_media_error(data: bytes, media_type: str) -> None:
    with pytest.raises(MediaError):
        probe(data, media_type)


def test_nothing_is_printed(mp4: bytes, capfd: Any) -> None:
    with pytest.raises(MediaError):
        probe(mp4[:900])
    with pytest.raises(MediaError):
        probe(b"\xff\xfb\x90\x00" * 200, "video/mp2t")
    assert capfd.readouterr() == ("", "")


def is_answer(call: Any) -> bool:
    """A kind, or a media error that is a sentence; every other exception passes through."""
    try:
        return call()["kind"] in MediaKind
    except MediaError as error:
        return str(error).endswith(".")


@st.composite
def damage(draw: Any) -> Any:
    """A function that cuts, overwrites, drops or doubles bytes somewhere."""
    where, length = draw(st.floats(0, 1)), draw(st.integers(0, 64))
    junk, cut = draw(st.binary(max_size=16)), draw(st.booleans())

    def apply(data: bytes) -> bytes:
        at = int(where * len(data))
        return data[:at] if cut else data[:at] + junk + data[at + length :]

    return apply


@given(hurt=damage())
def test_damaged_video_gives_a_result_or_a_media_error(hurt: Any, mp4: bytes) -> None:
    assert is_answer(partial(probe, hurt(mp4)))


@given(hurt=damage(), head=st.binary(min_size=60, max_size=60))
def test_damaged_sound_gives_a_result_or_a_media_error(hurt: Any, head: bytes, wav: bytes) -> None:
    for data in (hurt(wav), hurt(wav[:12] + head + wav[72:])):
        assert is_answer(partial(probe, data, "audio/wav"))
