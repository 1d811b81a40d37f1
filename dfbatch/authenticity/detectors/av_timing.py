"""When the frames of a video are shown: read from packets, without decoding."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from dfbatch.authenticity.detectors.frame_timing import keyframe_facts, timing_facts
from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.containers import ENDS_EARLY, main_audio, main_video, open_container
from dfbatch.authenticity.media.limits import DEFAULT_LIMITS, MediaLimits
from dfbatch.authenticity.media.media import Media, MediaKind

# Below this a key frame is nearly empty (black, a title), and equal ones mean nothing.
TELLING_BYTES = 1024
MAX_LISTED = 10


@dataclass(slots=True)
class _Track:
    """What the packets of one stream say, in units of the stream."""

    times: list[int] = field(default_factory=list)
    decode_times: list[int] = field(default_factory=list)
    keys: list[bool] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    without_time: int = 0
    key_hashes: dict[bytes, list[int]] = field(default_factory=dict)


class AvTiming:
    """Facts of the frame times: constant or variable rate, gaps, duplicates, key frames.

    No score: phones record at a variable rate, screen recorders and messengers
    drop frames, and cameras with a dim scene do both.
    """

    name = "av_timing"
    version = "1"

    def __init__(self, limits: MediaLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits

    def applies_to(self, media: Media) -> str | None:
        return None if media.kind is MediaKind.VIDEO else "Only video has frame times."

    def examine(self, media: Media) -> Finding:
        with open_container(media.data, media.media_type, self._limits.max_pixels) as container:
            video, sound = main_video(container), main_audio(container)
            if video is None:
                return Finding(self.name, self.version, False, "The file has no moving pictures.")
            pictures, tones = _pass_through(container, video, sound, self._limits.max_frames)
            unit_s = float(video.time_base or 0)
            tone_unit_s = float(sound.time_base or 0) if sound is not None else 0.0
            declared = float(video.average_rate) if video.average_rate else None
        if len(pictures.times) < 3 or unit_s <= 0:
            return Finding(self.name, self.version, False, "The video has fewer than three frames with a time.")
        facts = _facts(pictures, unit_s) | {"declared_fps": declared}
        facts |= _sound_facts(tones, tone_unit_s, min(pictures.times) * unit_s, max(pictures.times) * unit_s)
        return Finding(self.name, self.version, True, _reason(facts), facts=facts)


def _pass_through(
    container: InputContainer, video: VideoStream, sound: AudioStream | None, most: int
) -> tuple[_Track, _Track]:
    pictures, tones = _Track(), _Track()
    streams: list[Any] = [video] if sound is None else [video, sound]
    try:
        for packet in container.demux(streams):
            if packet.size == 0:
                continue
            track = pictures if packet.stream_index == video.index else tones
            _note(packet, track, with_hash=track is pictures)
            if len(pictures.times) >= most or len(tones.times) >= 10 * most:
                break
    except ENDS_EARLY:
        return pictures, tones  # what could be read up to the damage
    return pictures, tones


def _note(packet: Packet[Any], track: _Track, with_hash: bool) -> None:
    time = packet.pts if packet.pts is not None else packet.dts
    if packet.pts is None:
        track.without_time += 1
    if time is None:
        return
    track.times.append(time)
    track.keys.append(packet.is_keyframe)
    track.durations.append(packet.duration if packet.duration and packet.duration < 1 << 31 else 0)
    if packet.dts is not None:
        track.decode_times.append(packet.dts)
    if with_hash and packet.is_keyframe and packet.size >= TELLING_BYTES:
        track.key_hashes.setdefault(hashlib.blake2b(packet, digest_size=16).digest(), []).append(time)


def _facts(pictures: _Track, unit_s: float) -> dict[str, Any]:
    times = np.asarray(pictures.times, dtype=np.int64)
    keys = np.asarray(pictures.keys, dtype=np.bool_)
    decode = np.asarray(pictures.decode_times, dtype=np.int64)
    repeats = [found for found in pictures.key_hashes.values() if len(found) > 1]
    first = int(times.min())
    return {
        **timing_facts(times, unit_s),
        **keyframe_facts(times, keys, unit_s),
        "start_s": round(first * unit_s, 4),
        "frames_without_time": pictures.without_time,
        "decode_order_breaks": int((np.diff(decode) <= 0).sum()),
        "repeated_keyframes": sum(len(found) - 1 for found in repeats),
        "repeated_keyframes_at_s": [
            [round((time - first) * unit_s, 3) for time in found[:MAX_LISTED]] for found in repeats[:MAX_LISTED]
        ],
    }


def _sound_facts(tones: _Track, unit_s: float, start_s: float, end_s: float) -> dict[str, Any]:
    """Where sound starts and ends against the pictures, and where it has holes. Positive: sound is later."""
    if len(tones.times) < 2 or unit_s <= 0:
        return {}
    times = np.asarray(tones.times, dtype=np.int64)
    durations = np.asarray(tones.durations, dtype=np.int64)
    usual = float(np.median(durations))
    holes = np.flatnonzero(np.diff(times) - durations[:-1] > max(usual / 2, 1.0)) if usual > 0 else np.zeros(0, int)
    return {
        "sound_starts_after_s": round(float(times[0]) * unit_s - start_s, 4),
        "sound_ends_after_s": round(float(times[-1] + durations[-1]) * unit_s - end_s, 4),
        "sound_gaps": int(holes.size),
        "sound_gaps_at_s": [round(float(times[at + 1]) * unit_s, 3) for at in holes[:MAX_LISTED]],
    }


def _reason(facts: dict[str, Any]) -> str:
    notes = {
        "constant": f"Constant frame rate, {facts.get('fps')} a second.",
        "constant_with_gaps": f"Constant frame rate, {facts.get('fps')} a second, with {facts.get('n_gaps')} gap(s).",
        "variable": "Variable frame rate, as phones and screen recorders make it.",
        None: "Too few different frame times to tell a frame rate.",
    }
    more = []
    if facts["duplicated_pts"]:
        more.append(f"{facts['duplicated_pts']} frame(s) share the time of another.")
    if facts["repeated_keyframes"]:
        more.append(f"{facts['repeated_keyframes']} key frame(s) repeat an earlier one byte for byte.")
    return " ".join([notes[facts["frame_rate"]], *more])
