from __future__ import annotations

import io

import av
import numpy as np
import pytest
import soundfile

from dfbatch.samples import SampleSet
from dfbatch.samples.photographs import Album
from dfbatch.samples.recordings import panning_video, played_sound, spoken_sound, wav_bytes

pytestmark = pytest.mark.integration


def _frame_times(data: bytes) -> list[float]:
    with av.open(io.BytesIO(data)) as container:
        return [float(frame.time) for frame in container.decode(video=0)]


def test_the_steady_video_has_fifty_frames_at_even_times(made: SampleSet):
    steps = np.diff(_frame_times(made.path("video-pan.mp4").read_bytes()))
    assert len(steps) == 49
    assert steps == pytest.approx(0.04, abs=1e-4)


def test_the_variable_rate_video_has_the_same_pictures_at_uneven_times(made: SampleSet):
    steps = np.diff(_frame_times(made.path("video-variable-rate.mp4").read_bytes()))
    assert len(steps) == 49
    assert steps.min() > 0.03
    assert len(set(np.round(steps, 3))) >= 3


def test_the_other_codec_serves_where_there_is_no_h264_encoder(album: Album):
    data = panning_video(album, codec="mpeg4")
    assert _frame_times(data) == pytest.approx(np.arange(50) / 25)
    with av.open(io.BytesIO(data)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


@pytest.mark.parametrize(
    ("file", "form", "rate", "channels"),
    [
        ("audio-voice.wav", "WAV", 16_000, 1),
        ("audio-music.flac", "FLAC", 44_100, 2),
        ("audio-music.mp3", "MP3", 44_100, 2),
    ],
)
def test_sounds_decode_to_two_seconds_that_are_not_silent(made: SampleSet, file, form, rate, channels):
    info = soundfile.info(made.path(file))
    assert (info.format, info.samplerate, info.channels) == (form, rate, channels)
    assert info.duration == pytest.approx(2.0, abs=0.1)
    sound, _ = soundfile.read(made.path(file))
    assert 0.3 < np.abs(sound).max() <= 1.0


@pytest.mark.parametrize("make", [spoken_sound, played_sound])
def test_sounds_stay_in_range_and_follow_their_seed(make):
    one, same, other = (make(np.random.default_rng(seed), 0.5) for seed in (1, 1, 2))
    assert np.abs(one).max() < 1
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_wav_is_sixteen_bit():
    assert soundfile.info(io.BytesIO(wav_bytes(np.zeros(160)))).subtype == "PCM_16"
