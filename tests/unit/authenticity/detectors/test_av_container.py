"""What a container says of itself is told as facts, and accuses nobody."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.authenticity.detectors.av_container import AvContainer
from dfbatch.authenticity.detectors.av_declarations import ai_declarations
from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.media import MediaKind
from dfbatch.errors import MediaError, MediaUnreadable

pytestmark = pytest.mark.integration

Examine = Callable[..., Finding]


@pytest.fixture(scope="module")
def examine(as_media: Any) -> Examine:
    def run(data: bytes, media_type: str = "video/mp4", kind: MediaKind = MediaKind.VIDEO) -> Finding:
        detector, media = AvContainer(), as_media(data, media_type, kind)
        assert detector.applies_to(media) is None
        finding = detector.examine(media)
        assert finding.score is None
        return finding

    return run


def test_format_brands_and_streams_of_an_mp4(examine: Examine, av_bench: Any) -> None:
    facts = examine(av_bench.video(sound_s=0.5)).facts
    assert facts["major_brand"] == "isom"
    assert "mp41" in facts["compatible_brands"]
    assert [one["codec"] for one in facts["streams"]] == ["mpeg4", "aac"]
    assert (facts["streams"][0]["width"], facts["streams"][0]["height"]) == (64, 48)
    assert facts["streams"][1]["sample_rate"] == 16_000
    assert facts["duration_s"] == pytest.approx(1.0, abs=0.1)


def test_the_encoder_is_named_from_tags_and_from_the_stream(examine: Examine, av_bench: Any) -> None:
    facts = examine(av_bench.video()).facts
    assert facts["trace_in_stream"].startswith("Lavc")
    assert facts["rewritten_by"] == ["FFmpeg"]


@pytest.mark.parametrize(("flags", "first"), [({}, False), ({"movflags": "faststart"}, True)])
def test_where_the_index_lies(flags: dict[str, str], first: bool, examine: Examine, av_bench: Any) -> None:
    facts = examine(av_bench.video(options=flags)).facts
    assert facts["moov_before_mdat"] is first
    assert facts["fragmented"] is False


def test_fragments_are_told(examine: Examine, av_bench: Any) -> None:
    assert examine(av_bench.video(options={"movflags": "frag_keyframe+empty_moov"})).facts["fragmented"] is True


def test_time_and_device_come_from_the_tags(examine: Examine, av_bench: Any) -> None:
    tags = {
        "creation_time": "2024-05-06T07:08:09Z",
        "com.apple.quicktime.make": "Example",
        "com.apple.quicktime.model": "Phone 9",
        "com.apple.quicktime.location.ISO6709": "+52.5+013.4/",
    }
    finding = examine(av_bench.video(metadata=tags, options={"movflags": "use_metadata_tags"}))
    assert finding.facts["created_at"].startswith("2024-05-06T07:08:09")
    assert finding.facts["movie_created_at"] == "2024-05-06T07:08:09+00:00"
    assert finding.facts["device"]["com.apple.quicktime.model"] == "Phone 9"
    assert finding.facts["has_location"] is True
    assert "Phone 9" in finding.reason


def edit_list(data: bytes, *edits: tuple[int, int]) -> bytes:
    """``data`` with the edit list of its only track replaced by a longer one; the index lies behind the pictures."""
    body = struct.pack(">II", 0, len(edits)) + b"".join(struct.pack(">Iii", *edit, 65536) for edit in edits)
    new = struct.pack(">I4s", len(body) + 8, b"elst") + body
    at = data.index(b"elst") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    grown = bytearray(data[:at] + new + data[at + size :])
    for kind in (b"moov", b"trak", b"edts"):
        where = data.index(kind) - 4
        old = int.from_bytes(data[where : where + 4], "big")
        grown[where : where + 4] = struct.pack(">I", old + len(new) - size)
    return bytes(grown)


@pytest.mark.parametrize(
    ("edits", "kind"),
    [
        ([(1000, 0)], "whole"),
        ([(1000, 2000)], "whole"),  # 33 ms: frames in coding order, as every encoder does it
        ([(500, 30_000)], "trimmed"),
        ([(200, -1), (800, 0)], "delayed"),
        ([(300, 0), (300, 30_000)], "cut"),
    ],
)
def test_what_an_edit_list_does(edits: list[tuple[int, int]], kind: str, examine: Examine, av_bench: Any) -> None:
    found = examine(edit_list(av_bench.video(), *edits)).facts["edit_lists"]
    assert [(one["track"], one["n_edits"], one["kind"]) for one in found] == [(0, len(edits), kind)]


def test_a_declaration_of_ai_is_repeated_as_such(examine: Examine, av_bench: Any) -> None:
    finding = examine(av_bench.video(metadata={"comment": "Generated with Sora"}))
    assert finding.facts["declared_ai"] == ["comment: Generated with Sora"]
    assert "declares AI" in finding.reason


def test_a_declaration_in_the_xmp_of_an_mp4_is_found(examine: Examine, av_bench: Any) -> None:
    source = b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<r:Description xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" i:DigitalSourceType="%s"/>'
        b"</r:RDF></x:xmpmeta>" % source
    )
    body = bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + packet
    finding = examine(av_bench.video() + struct.pack(">I4s", len(body) + 8, b"uuid") + body)
    assert finding.facts["has_xmp"] is True
    assert finding.facts["declared_ai"] == ["XMP digitalSourceType: trainedAlgorithmicMedia"]


@pytest.mark.parametrize(
    ("key", "value", "declared"),
    [
        ("encoder", "Runway Gen-3", True),
        ("software", "HeyGen", True),
        ("AIGC", '{"Label": "1"}', True),
        ("comment", "made by Suno", True),
        ("comment (0)", "made with suno; created=2026-05-01", True),
        ("digital_source_type", "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia", True),
        ("digital_source_type", "algorithmicMedia", False),  # a formula, no trained model
        ("comment", "trainedAlgorithmicMedia is a term of IPTC", False),
        ("title", "generated by AI", False),  # prose
        ("description", "This video was generated by AI", False),
        ("comment", "A talk about films made with Sora", False),
        ("producer", "Luma Okafor", False),  # a person
        ("AIGC", '{"Label": "3"}', False),  # only suspected
        ("title", "Sora dances in Veo", False),  # names
        ("comment", "Is this AI-generated?", False),  # a mention
        ("encoder", "Lavf62.3.100", False),
        ("comment", "generated with FFmpeg", False),
    ],
)
def test_only_declarations_count_as_such(key: str, value: str, declared: bool) -> None:
    assert bool(ai_declarations({key: value})) is declared


def test_sound_has_a_container_too(examine: Examine, av_bench: Any) -> None:
    finding = examine(av_bench.sound(av_bench.noise()), "audio/wav", MediaKind.AUDIO)
    assert finding.facts["format"] == "wav"
    assert "major_brand" not in finding.facts


def test_it_applies_to_video_and_sound_only(as_media: Any) -> None:
    assert AvContainer().applies_to(as_media(b"", "image/png", MediaKind.IMAGE)) is not None


def test_what_cannot_be_opened_is_unreadable(examine: Examine) -> None:
    with pytest.raises(MediaUnreadable):
        examine(b"\0\0\0\x08ftyp" + bytes(100))


@given(where=st.integers(0, 3000), junk=st.binary(min_size=1, max_size=24))
def test_garbled_headers_give_a_finding_or_a_media_error(where: int, junk: bytes, whole: bytes, as_media: Any) -> None:
    media = as_media(whole[:where] + junk + whole[where + len(junk) :], "video/mp4", MediaKind.VIDEO)
    try:
        found: Any = AvContainer().examine(media)
    except MediaError as error:
        found = error
    assert isinstance(found, Finding | MediaError)


@pytest.fixture(scope="module")
def whole(av_bench: Any) -> bytes:
    return av_bench.video(options={"movflags": "faststart"})


def test_metadata_in_a_strange_encoding_is_no_error(examine: Examine, av_bench: Any) -> None:
    data = av_bench.video(metadata={"title": "aaaaaaaa"})
    assert examine(data.replace(b"aaaaaaaa", b"\xff\xfe\x80aaaaa")).applicable
