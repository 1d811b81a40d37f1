"""What sound is made of is told as facts, each with its innocent causes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.authenticity.detectors.audio_facts import AudioFacts
from dfbatch.authenticity.detectors.sound_measures import clipping_facts, cutoff_facts, runs, silence_facts
from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.media import MediaKind
from dfbatch.errors import MediaError

pytestmark = pytest.mark.integration

Examine = Callable[..., Finding]


@pytest.fixture(scope="module")
def examine(as_media: Any) -> Examine:
    def run(data: bytes, media_type: str = "audio/wav", **options: Any) -> Finding:
        detector = AudioFacts(**options)
        media = as_media(data, media_type, MediaKind.AUDIO)
        assert detector.applies_to(media) is None
        finding = detector.examine(media)
        assert finding.score is None
        return finding

    return run


def resampled(samples: np.ndarray, length: int) -> np.ndarray:
    """Band-limited interpolation to ``length`` samples."""
    spectrum = np.zeros(length // 2 + 1, dtype=complex)
    spectrum[: samples.size // 2 + 1] = np.fft.rfft(samples)
    return np.fft.irfft(spectrum, length) * length / samples.size


def test_rate_depth_and_channels(examine: Examine, av_bench: Any) -> None:
    stereo = np.column_stack([av_bench.noise(1.0), av_bench.noise(1.0, level=0.1)])
    facts = examine(av_bench.sound(stereo, subtype="PCM_24")).facts
    expected = {"sample_rate": 16_000, "channels": 2, "declared_bits": 24, "used_bits": 24, "padded": False}
    assert {key: facts[key] for key in expected} == expected
    assert facts["analysed_s"] == pytest.approx(1.0)
    assert facts["channels_identical"] is False


@pytest.mark.parametrize(("format", "media_type"), [("WAV", "audio/wav"), ("FLAC", "audio/flac")])
def test_sixteen_bits_in_a_file_of_twentyfour_are_padding(
    format: str, media_type: str, examine: Examine, av_bench: Any
) -> None:
    samples = (np.round(av_bench.noise(1.0) * 32767) / 32768).astype(np.float64)
    facts = examine(av_bench.sound(samples, format=format, subtype="PCM_24"), media_type).facts
    assert (facts["declared_bits"], facts["used_bits"], facts["padded"]) == (24, 16, True)


@pytest.mark.parametrize(("old", "new"), [(8000, 16_000), (8000, 48_000), (16_000, 44_100), (22_050, 44_100)])
def test_upsampled_sound_ends_where_its_old_rate_did(old: int, new: int, examine: Examine, av_bench: Any) -> None:
    samples = resampled(av_bench.noise(4.0, old), new * 4)
    finding = examine(av_bench.sound(samples, new))
    assert finding.facts["cutoff_hz"] == pytest.approx(old / 2, rel=0.08)
    assert old in finding.facts["could_have_been"]
    assert "lower rate" in finding.reason


def test_sound_from_a_lossy_encoder_ends_early_although_stored_without_loss(examine: Examine, av_bench: Any) -> None:
    lossy = av_bench.transcode(av_bench.noise(3.0, 44_100), 44_100, "libmp3lame", "mp3", 48_000)
    facts = examine(lossy, "audio/mpeg").facts
    assert 10_000 < facts["cutoff_hz"] < 18_000
    assert facts["declared_bits"] is None


def test_full_band_sound_fading_sound_and_tones_have_no_cutoff(examine: Examine, av_bench: Any) -> None:
    full = av_bench.noise(3.0, 44_100)
    assert examine(av_bench.sound(full, 44_100)).facts["cutoff_hz"] is None
    fading = np.convolve(full, 0.05 * 0.95 ** np.arange(200))  # 6 dB an octave, as in a voice or a room
    assert examine(av_bench.sound(fading, 44_100)).facts["cutoff_hz"] is None
    time = np.arange(3 * 44_100) / 44_100
    tones = sum(np.sin(2 * np.pi * 440 * k * time) / k for k in range(1, 12)) * 0.1
    assert examine(av_bench.sound(tones, 44_100)).facts["cutoff_hz"] is None


def test_clipping_is_a_flat_top_at_full_scale(examine: Examine, av_bench: Any) -> None:
    tone = np.sin(np.arange(16_000) * 0.05)
    assert examine(av_bench.sound(tone * 0.9)).facts["clipped_places"] == 0
    clipped = examine(av_bench.sound((tone * 1.5).clip(-1, 1)))
    assert clipped.facts["clipped_places"] > 100
    assert "clipped" in clipped.reason


def test_digital_silence_is_found_where_it_is(examine: Examine, av_bench: Any) -> None:
    samples = av_bench.noise(2.0)
    samples[8000:16_000] = 0.0
    facts = examine(av_bench.sound(samples)).facts
    assert facts["silences"] == [{"at_s": 0.5, "length_s": 0.5}]
    assert facts["silent_s"] == 0.5


def test_only_so_much_is_decoded_as_asked(examine: Examine, av_bench: Any) -> None:
    assert examine(av_bench.sound(av_bench.noise(3.0)), analysed_s=1.0).facts["analysed_s"] == 1.0


def test_sound_of_a_video_is_heard_and_a_silent_film_is_not_applicable(as_media: Any, av_bench: Any) -> None:
    with_sound = AudioFacts().examine(as_media(av_bench.video(sound_s=1.0), "video/mp4", MediaKind.VIDEO))
    assert with_sound.facts["codec"] == "aac"
    without = AudioFacts().examine(as_media(av_bench.video(), "video/mp4", MediaKind.VIDEO))
    assert (without.applicable, without.reason) == (False, "The file has no sound.")


def test_it_does_not_apply_to_pictures(as_media: Any) -> None:
    assert AudioFacts().applies_to(as_media(b"", "image/png", MediaKind.IMAGE)) is not None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_numbers_are_survived(value: float, examine: Examine, av_bench: Any) -> None:
    samples = av_bench.noise(2.0)
    samples[100:200] = value
    facts = examine(av_bench.sound(samples, subtype="FLOAT")).facts
    assert all(np.isfinite(one) for one in facts.values() if isinstance(one, float))


@given(st.lists(st.booleans(), max_size=80), st.integers(1, 6))
def test_runs_are_exactly_the_long_stretches(flags: list[bool], shortest: int) -> None:
    found = runs(np.array(flags, dtype=bool), shortest)
    covered = np.zeros(len(flags), dtype=bool)
    for start, length in found:
        assert length >= shortest
        assert all(flags[start : start + length])
        assert not any(flags[max(0, start - 1) : start])
        assert not any(flags[start + length : start + length + 1])
        covered[start : start + length] = True
    text = "".join("x" if flag else " " for flag in flags)
    assert int(covered.sum()) == sum(len(part) for part in text.split() if len(part) >= shortest)


@given(rate=st.sampled_from([1, 7, 8000, 44_100, 10**9]), length=st.integers(1, 20_000), level=st.floats(0, 1))
def test_any_sound_gives_measures(rate: int, length: int, level: float) -> None:
    samples = np.full((1, length), level, dtype=np.float32)
    facts = cutoff_facts(samples, rate) | clipping_facts(samples) | silence_facts(samples, rate)
    assert facts["cutoff_hz"] is None
    assert facts["peak"] == pytest.approx(level, abs=1e-4)


@given(where=st.floats(0, 1), junk=st.binary(min_size=1, max_size=24))
def test_garbled_sound_gives_a_finding_or_a_media_error(where: float, junk: bytes, whole: bytes, as_media: Any) -> None:
    at = int(where * 100)
    media = as_media(whole[:at] + junk + whole[at + len(junk) :], "audio/wav", MediaKind.AUDIO)
    try:
        found: Any = AudioFacts().examine(media)
    except MediaError as error:
        found = error
    assert isinstance(found, Finding | MediaError)


@pytest.fixture(scope="module")
def whole(av_bench: Any) -> bytes:
    return av_bench.sound(av_bench.noise(0.5))
