"""What the sound in a file is made of: rate, depth, bandwidth, clipping, digital silence."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from dfbatch.authenticity.detectors.sound_measures import Samples, clipping_facts, cutoff_facts, silence_facts
from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.containers import ENDS_EARLY, main_audio, open_container
from dfbatch.authenticity.media.limits import DEFAULT_LIMITS, MediaLimits
from dfbatch.authenticity.media.media import Media, MediaKind

MAX_SAMPLES = 12_000_000
MAX_CHANNELS = 2
FULL_SCALE = {"u1": 128.0, "i2": 32768.0, "i4": 2147483648.0, "f4": 1.0, "f8": 1.0}
PCM_BITS = re.compile(r"pcm_[suf](\d+)")


@dataclass(slots=True)
class _Sound:
    """``samples`` (channels, n) in -1..1. ``used_bits`` is None for floating-point sound."""

    samples: Samples
    rate: int
    channels: int
    codec: str
    used_bits: int | None
    sample_bits: int | None


class AudioFacts:
    """Facts of the sound. No score: resampling, lossy coding, gates and loud mixes are everyday.

    At most ``analysed_s`` seconds from the start are decoded, of at most two channels.
    """

    name = "audio_facts"
    version = "1"

    def __init__(self, analysed_s: float = 120.0, limits: MediaLimits = DEFAULT_LIMITS) -> None:
        self._analysed_s = analysed_s
        self._limits = limits

    def applies_to(self, media: Media) -> str | None:
        return None if media.kind in (MediaKind.AUDIO, MediaKind.VIDEO) else "Only sound and video can be heard."

    def examine(self, media: Media) -> Finding:
        with open_container(media.data, media.media_type, self._limits.max_pixels) as container:
            stream = main_audio(container)
            if stream is None or stream.codec_context is None:
                why = "no sound" if stream is None else "sound of a codec that cannot be decoded"
                return Finding(self.name, self.version, False, f"The file has {why}.")
            sound = _decode(container, stream, self._analysed_s)
        if sound is None:
            return Finding(self.name, self.version, False, "No sound could be decoded.")
        facts = _facts(sound, _declared_bits(media, sound.codec))
        return Finding(self.name, self.version, True, _reason(facts), facts=facts)


def _decode(container: InputContainer, stream: AudioStream, most_s: float) -> _Sound | None:
    parts: list[NDArray[Any]] = []
    rate, length = stream.codec_context.sample_rate, 0
    most = int(min(most_s * max(rate, 1), MAX_SAMPLES))
    with suppress(*ENDS_EARLY):  # what could be decoded up to the damage is examined
        for frame in container.decode(stream):
            part = _planes(frame)[:MAX_CHANNELS]
            same = not parts or (part.shape[0], part.dtype) == (parts[0].shape[0], parts[0].dtype)
            if parts and not (same and frame.sample_rate == rate):
                break  # the stream changes its own kind: what came before is examined
            rate = frame.sample_rate
            parts.append(part)
            length += part.shape[1]
            if length >= most:
                break
    if not length or rate <= 0:
        return None
    raw = np.concatenate(parts, axis=1)[:, :most]
    used, width = _used_bits(raw)
    return _Sound(_scaled(raw), rate, stream.codec_context.channels, stream.codec_context.name, used, width)


def _planes(frame: AudioFrame) -> NDArray[Any]:
    """(channels, n), of the decoder's own sample type."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        channels = max(1, frame.layout.nb_channels)
        values = values.reshape(-1, channels).T
    return values


def _scaled(raw: NDArray[Any]) -> Samples:
    kind = raw.dtype.str[1:]
    offset = 128.0 if kind == "u1" else 0.0
    scaled = (raw.astype(np.float32) - np.float32(offset)) / np.float32(FULL_SCALE.get(kind, 1.0))
    return np.asarray(np.nan_to_num(scaled, nan=0.0, posinf=1.0, neginf=-1.0).clip(-8.0, 8.0), dtype=np.float32)


def _used_bits(raw: NDArray[Any]) -> tuple[int | None, int | None]:
    """(bits that are ever used, bits of the sample type): low bits that are always zero are padding."""
    if raw.dtype.kind != "i":
        return None, None
    width = raw.dtype.itemsize * 8
    together = int(np.bitwise_or.reduce(raw, axis=None)) & ((1 << width) - 1)
    if together == 0:
        return 0, width
    return width - ((together & -together).bit_length() - 1), width


def _declared_bits(media: Media, codec: str) -> int | None:
    match = PCM_BITS.match(codec)
    if match:
        return int(match[1])
    if codec != "flac":
        return None
    try:
        subtype = soundfile.info(io.BytesIO(media.data)).subtype
    except (soundfile.SoundFileError, RuntimeError):
        return None
    return int(subtype[4:]) if re.fullmatch(r"PCM_\d+", subtype) else None


def _facts(sound: _Sound, declared_bits: int | None) -> dict[str, Any]:
    padded = bool(declared_bits and sound.used_bits and sound.used_bits <= declared_bits - 8)
    return {
        "codec": sound.codec,
        "sample_rate": sound.rate,
        "channels": sound.channels,
        "analysed_s": round(sound.samples.shape[1] / sound.rate, 3),
        "declared_bits": declared_bits,
        "used_bits": sound.used_bits if declared_bits else None,
        "padded": padded,
        "channels_identical": _identical(sound.samples),
        "mean": round(float(sound.samples.mean()), 6),
        **cutoff_facts(sound.samples, sound.rate),
        **clipping_facts(sound.samples),
        **silence_facts(sound.samples, sound.rate),
    }


def _identical(samples: Samples) -> bool | None:
    return bool(np.array_equal(samples[0], samples[1])) if samples.shape[0] == 2 else None


def _reason(facts: dict[str, Any]) -> str:
    notes = [f"{facts['sample_rate']:,} Hz, {facts['channels']} channel(s), {facts['codec']}."]
    if facts["cutoff_hz"]:
        notes.append(
            f"The sound ends at {facts['cutoff_hz']:,} Hz of {facts['sample_rate'] // 2:,}, like sound that was once "
            f"stored at a lower rate or with a lossy encoder; most shared sound was."
        )
    if facts["padded"]:
        notes.append(f"{facts['declared_bits']} bits are declared, {facts['used_bits']} are used.")
    if facts["clipped_places"]:
        notes.append(f"It is clipped in {facts['clipped_places']:,} place(s).")
    if facts["silent_runs"]:
        notes.append(
            f"It has {facts['silent_runs']:,} stretch(es) of digital silence, as encoders and editors make them."
        )
    return " ".join(notes)
