"""Frame times are facts; a variable rate is how phones record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.authenticity.detectors.av_timing import AvTiming
from dfbatch.authenticity.detectors.frame_timing import keyframe_facts, timing_facts
from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.media import MediaKind
from dfbatch.errors import MediaError

pytestmark = pytest.mark.integration

Examine = Callable[..., Finding]
STEP = 2400


@pytest.fixture(scope="module")
def examine(as_media: Any) -> Examine:
    def run(data: bytes, media_type: str = "video/mp4") -> Finding:
        detector, media = AvTiming(), as_media(data, media_type, MediaKind.VIDEO)
        assert detector.applies_to(media) is None
        finding = detector.examine(media)
        assert finding.score is None
        return finding

    return run


def test_a_constant_rate(examine: Examine, av_bench: Any) -> None:
    finding = examine(av_bench.video())
    expected = {"frame_rate": "constant", "fps": 25.0, "n_frames": 25, "duplicated_pts": 0, "n_gaps": 0}
    expected |= {"dropped_frames": 0, "declared_fps": 25.0, "decode_order_breaks": 0}
    assert {key: finding.facts[key] for key in expected} == expected


def test_a_variable_rate_is_named_without_suspicion(examine: Examine, av_bench: Any) -> None:
    steps = list(np.random.default_rng(1).integers(1900, 2900, 40))
    finding = examine(av_bench.video([int(step) for step in steps], frames=41))
    assert finding.facts["frame_rate"] == "variable"
    assert finding.facts["dropped_frames"] is None
    assert "phones" in finding.reason


def test_dropped_frames_are_counted_where_the_rate_is_constant_otherwise(examine: Examine, av_bench: Any) -> None:
    steps = [STEP] * 40
    steps[10], steps[25] = 2 * STEP, 4 * STEP
    finding = examine(av_bench.video(steps, frames=41))
    assert finding.facts["frame_rate"] == "constant_with_gaps"
    assert finding.facts["dropped_frames"] == 4
    assert [gap["at_s"] for gap in finding.facts["gaps"]] == pytest.approx([0.4, 1.04], abs=0.001)
    assert finding.facts["gaps"][1]["length_s"] == pytest.approx(0.16, abs=0.001)


@pytest.mark.parametrize(("container", "media_type"), [("matroska", "video/x-matroska"), ("avi", "video/x-msvideo")])
def test_coarse_clocks_do_not_make_a_rate_variable(
    container: str, media_type: str, examine: Examine, av_bench: Any
) -> None:
    assert examine(av_bench.video(container=container), media_type).facts["frame_rate"] == "constant"


def test_key_frames_and_their_spacing(examine: Examine, av_bench: Any) -> None:
    facts = examine(av_bench.video(frames=41, keyframe_every=10)).facts
    assert facts["n_keyframes"] == 5
    assert facts["keyframe_spacing_s"] == {"shortest": 0.4, "usual": 0.4, "longest": 0.4}
    assert facts["keyframes_regular"] is True


def test_key_frames_repeated_byte_for_byte_are_found(examine: Examine, av_bench: Any) -> None:
    """The picture of the bench moves in a circle and is where it was after 64 frames."""
    facts = examine(av_bench.video(frames=130, codec="mjpeg")).facts
    assert facts["all_keyframes"] is True
    assert facts["repeated_keyframes"] == 130 - 64
    assert facts["repeated_keyframes_at_s"][0] == pytest.approx([0.0, 2.56, 5.12])
    assert examine(av_bench.video(frames=20, codec="mjpeg")).facts["repeated_keyframes"] == 0


def test_sound_against_pictures(examine: Examine, av_bench: Any) -> None:
    facts = examine(av_bench.video(sound_s=2.0)).facts
    assert abs(facts["sound_starts_after_s"]) < 0.1
    assert facts["sound_ends_after_s"] == pytest.approx(1.0, abs=0.2)
    assert facts["sound_gaps"] == 0


def test_too_few_frames_are_not_applicable(examine: Examine, av_bench: Any) -> None:
    assert examine(av_bench.video(frames=2)).applicable is False


def test_it_applies_to_video_only(as_media: Any) -> None:
    assert AvTiming().applies_to(as_media(b"", "audio/wav", MediaKind.AUDIO)) is not None


@pytest.mark.parametrize(
    ("fps", "unit_s", "kind"),
    [
        (30000 / 1001, 1 / 1000, "constant"),  # Matroska: milliseconds
        (60, 1 / 1000, "constant"),
        (120, 1 / 1000, "constant"),
        (24000 / 1001, 1 / 90000, "constant"),
        (25, 1 / 25, "constant"),
    ],
)
def test_rounded_times_of_a_constant_rate(fps: float, unit_s: float, kind: str) -> None:
    times = np.round(np.arange(300) / fps / unit_s).astype(np.int64)
    facts = timing_facts(times, unit_s)
    assert facts["frame_rate"] == kind
    assert facts["fps_mean"] == pytest.approx(fps, rel=0.01)


def test_frames_that_share_a_time_are_duplicates() -> None:
    times = np.array([0, 10, 20, 20, 30, 40, 40, 40, 50])
    assert timing_facts(times, 0.01)["duplicated_pts"] == 3


def test_a_missing_frame_counts_where_a_unit_is_a_frame() -> None:
    facts = timing_facts(np.delete(np.arange(50), 20), 1 / 25)
    assert (facts["frame_rate"], facts["dropped_frames"]) == ("constant_with_gaps", 1)


def test_a_phone_clip_with_two_steps_is_variable_and_misses_nothing() -> None:
    """Steps of 2999 and 16610 in units of 1/90000 s, as a genuine phone recorded them."""
    steps = np.where(np.arange(200) % 7 == 0, 16610, 2999)
    facts = timing_facts(np.concatenate([[0], np.cumsum(steps)]), 1 / 90000)
    assert facts["frame_rate"] == "variable"
    assert facts["dropped_frames"] is None


@given(st.lists(st.integers(-(2**40), 2**40), max_size=60), st.sampled_from([1 / 25, 1e-3, 1 / 90000]))
def test_any_times_give_facts(times: list[int], unit_s: float) -> None:
    found = np.array(times, dtype=np.int64)
    facts = timing_facts(found, unit_s) | keyframe_facts(found, np.ones(found.size, dtype=bool), unit_s)
    assert facts["n_frames"] == len(times)
    assert facts["duplicated_pts"] == len(times) - len(set(times))


@given(where=st.floats(0, 1), junk=st.binary(min_size=1, max_size=24))
def test_garbled_video_gives_a_finding_or_a_media_error(where: float, junk: bytes, whole: bytes, as_media: Any) -> None:
    at = int(where * len(whole))
    media = as_media(whole[:at] + junk + whole[at + len(junk) :], "video/mp4", MediaKind.VIDEO)
    try:
        found: Any = AvTiming().examine(media)
    except MediaError as error:
        found = error
    assert isinstance(found, Finding | MediaError)


@pytest.fixture(scope="module")
def whole(av_bench: Any) -> bytes:
    return av_bench.video(sound_s=1.0)
