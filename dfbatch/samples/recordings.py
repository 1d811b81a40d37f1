"""Short videos and sounds."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import cast

import av
import numpy as np
import numpy.typing as npt
import soundfile

from dfbatch.samples.photographs import Album
from dfbatch.samples.sample import Sample, SampleFile

Sound = npt.NDArray[np.float64]

SOUND_RATE = 16_000
_MUSIC_RATE = 44_100
_FRAMES = 50
_TICKS_A_SECOND = 30_000  # MPEG-4 part 2 allows 65,535 at most
_STEADY = 1_200  # 25 frames a second
_WIDTH, _HEIGHT = 320, 240
# Measured: with its assembler code x264 gave other bytes for the same frames in about one run of fifty.
_OPTIONS = {"libx264": {"preset": "ultrafast", "x264-params": "asm=0"}}


def panning_video(album: Album, ticks: Sequence[int] | None = None, codec: str | None = None) -> bytes:
    """An MP4 of a 2 s pan over a photograph, 320 x 240; ``ticks`` (1/30000 s) between frames, 25 a second if None."""
    scene = album.pixels("china.jpg")
    codec = codec or _video_codec()
    steps = [_STEADY] * (_FRAMES - 1) if ticks is None else list(ticks)
    times = np.concatenate([[0], np.cumsum(steps)])
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = cast(av.VideoStream, container.add_stream(codec, rate=25, options=_OPTIONS.get(codec)))
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, _TICKS_A_SECOND)
        stream.codec_context.thread_count = 1  # more threads split frames differently from machine to machine
        for number, time in enumerate(times):
            left = number * (scene.shape[1] - _WIDTH) // (len(times) - 1)
            top = number * (scene.shape[0] - _HEIGHT) // (len(times) - 1)
            pixels = np.ascontiguousarray(scene[top : top + _HEIGHT, left : left + _WIDTH])
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = int(time), Fraction(1, _TICKS_A_SECOND)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def spoken_sound(rng: np.random.Generator, duration_s: float = 2.0) -> Sound:
    """Speech-like sound, 16 kHz, -1..1: pulses of a gliding voice through two resonances, cut into syllables."""
    time = np.arange(round(duration_s * SOUND_RATE)) / SOUND_RATE
    pitch = 120 + 15 * np.sin(2 * np.pi * 0.7 * time) + rng.normal(0, 1.0, time.size).cumsum() * 0.01
    phase = np.cumsum(pitch) / SOUND_RATE
    voice = np.zeros_like(time)
    formants = np.stack([500 + 250 * np.sin(2 * np.pi * 1.3 * time), 1500 + 500 * np.sin(2 * np.pi * 0.9 * time + 1)])
    for harmonic in range(1, 40):
        frequency = harmonic * pitch
        gain = sum(np.exp(-(((frequency - formant) / 180) ** 2)) for formant in formants)
        voice += (gain + 0.02) / harmonic**0.5 * np.sin(2 * np.pi * harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * 2.2 * time) + 0.4, 0, 1) ** 0.7
    sound = voice * syllables + rng.normal(0, 0.01, time.size)
    spoken: Sound = 0.6 * sound / np.abs(sound).max()
    return spoken


def played_sound(rng: np.random.Generator, duration_s: float = 2.0) -> Sound:
    """Music-like sound, 44.1 kHz, two channels (samples, 2): plucked notes of a pentatonic scale."""
    length = round(duration_s * _MUSIC_RATE)
    sound = np.zeros((length, 2))
    scale = 220.0 * 2.0 ** (np.array([0, 2, 4, 7, 9, 12, 14]) / 12)
    for beat in np.arange(0, duration_s - 0.2, 0.2):
        start = round(beat * _MUSIC_RATE)
        time = np.arange(length - start) / _MUSIC_RATE
        pitch = float(rng.choice(scale))
        note = sum(np.sin(2 * np.pi * pitch * k * time) * np.exp(-time * (3 + k)) / k for k in range(1, 6))
        sound[start:] += np.outer(note, [1.0, 0.6] if rng.random() < 0.5 else [0.6, 1.0])
    played: Sound = 0.7 * sound / np.abs(sound).max()
    return played


def wav_bytes(sound: Sound) -> bytes:
    """A mono 16 kHz sound as 16-bit WAV."""
    return _encoded(sound, SOUND_RATE, "WAV", "PCM_16")


def recording_files(album: Album, rng: np.random.Generator) -> Iterator[SampleFile]:
    """Two videos with the same pictures, steady and with uneven timing, and three sounds."""
    what = "A pan of two seconds over a photograph, 25 frames a second."
    yield SampleFile(Sample("video-pan.mp4", "video", what), panning_video(album))
    uneven = [int(step) for step in rng.choice([999, 1_001, 1_200, 2_000], size=_FRAMES - 1)]
    what = "The same pan with a variable frame rate, as phones record; that is normal."
    yield SampleFile(Sample("video-variable-rate.mp4", "video", what), panning_video(album, uneven))
    speech, music = spoken_sound(rng), played_sound(rng)
    what = "Speech-like sound made by arithmetic, 16 kHz WAV."
    yield SampleFile(Sample("audio-voice.wav", "audio", what), wav_bytes(speech))
    what = "Music-like sound made by arithmetic, 44.1 kHz stereo FLAC."
    yield SampleFile(Sample("audio-music.flac", "audio", what), _encoded(music, _MUSIC_RATE, "FLAC", "PCM_16"))
    what = "The same music as MP3."
    yield SampleFile(Sample("audio-music.mp3", "audio", what), _encoded(music, _MUSIC_RATE, "MP3", "MPEG_LAYER_III"))


def _encoded(sound: Sound, rate: int, form: str, subtype: str) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, sound, rate, format=form, subtype=subtype)
    return out.getvalue()


def _video_codec() -> str:
    """H.264 where this build of FFmpeg has an encoder for it, else MPEG-4 part 2."""
    return "libx264" if "libx264" in av.codecs_available else "mpeg4"
