"""How a video or sound file is packed, by whom, and when, as far as it says so itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from dfbatch.authenticity.detectors.av_declarations import ai_declarations
from dfbatch.authenticity.detectors.mov_facts import mov_facts, xmp_of
from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.containers import COVER, ENDS_EARLY, demuxer_of, main_video, open_container
from dfbatch.authenticity.media.limits import DEFAULT_LIMITS, MediaLimits
from dfbatch.authenticity.media.media import Media, MediaKind

MAX_STREAMS = 32
MAX_TAGS = 100
MAX_VALUE = 500
ENCODER_TRACE = re.compile(rb"(x26[45] (?:- core|\(build)[ -~]{0,60}|Lavc\d+[\d.]*|Lavf\d+[\d.]*)")
WRITERS = re.compile(
    r"(?i)^(encoder|writing_?app|software|.*\.software|encoded_by|originator|coding_history|.*creator.*)$"
)
DEVICE = re.compile(r"(?i)^(?:com\.apple\.quicktime\.|com\.android\.)?(make|model|manufacturer|device)$")
EDITORS = {
    "FFmpeg": r"Lav[fc]\d",
    "HandBrake": r"HandBrake",
    "Adobe Premiere": r"Premiere|Adobe Media Encoder",
    "DaVinci Resolve": r"DaVinci|Blackmagic",
    "Final Cut or iMovie": r"Final Cut|iMovie",
    "CapCut": r"CapCut|JianYing",
    "After Effects": r"After Effects",
    "Vegas": r"\bVEGAS\b",
    "Shotcut or Kdenlive": r"Shotcut|Kdenlive|MLT ",
    "Audacity": r"Audacity",
}


class AvContainer:
    """Facts of the container: format, brands, streams, writers, times, edit lists, device, declared AI.

    Facts only: every one of them has innocent causes (messengers and
    platforms rewrite all files), so there is no score.
    """

    name = "av_container"
    version = "1"

    def __init__(self, limits: MediaLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits

    def applies_to(self, media: Media) -> str | None:
        return None if media.kind in (MediaKind.VIDEO, MediaKind.AUDIO) else "Only video and sound have containers."

    def examine(self, media: Media) -> Finding:
        is_mov = demuxer_of(media.media_type) == "mov"
        with open_container(media.data, media.media_type, self._limits.max_pixels) as container:
            tags = _tags(container.metadata)
            streams = [_stream(stream) for stream in list(container.streams)[:MAX_STREAMS]]
            facts: dict[str, Any] = {
                "format": container.format.name,
                "duration_s": container.duration / 1e6 if container.duration else None,
                "bit_rate": container.bit_rate or None,
                "tags": tags,
                "streams": streams,
                "trace_in_stream": _trace(container),
            }
        facts |= mov_facts(media.data) if is_mov else {}
        all_tags = tags | {f"{key} ({one['index']})": value for one in streams for key, value in one["tags"].items()}
        facts["created_at"] = tags.get("creation_time") or tags.get("date")
        facts["writers"] = _writers(all_tags, facts["trace_in_stream"])
        facts["rewritten_by"] = _editors(facts["writers"])
        facts["device"] = {key: value for key, value in tags.items() if DEVICE.match(key)}
        facts["has_location"] = any("location" in key.lower() for key in tags)
        facts["declared_ai"] = ai_declarations(all_tags, xmp_of(media.data) if is_mov else None)
        return Finding(self.name, self.version, True, _reason(facts), facts=facts)


def _tags(metadata: Mapping[str, str]) -> dict[str, str]:
    return {str(key)[:100]: str(value)[:MAX_VALUE] for key, value in list(metadata.items())[:MAX_TAGS]}


def _stream(stream: Stream) -> dict[str, Any]:
    codec = stream.codec_context
    facts: dict[str, Any] = {
        "index": stream.index,
        "type": stream.type,
        "codec": codec.name if codec is not None else None,
        "profile": stream.profile if codec is not None else None,
        "bit_rate": codec.bit_rate if codec is not None else None,
        "language": stream.language,
        "cover": bool(stream.disposition & COVER),
        "frames": stream.frames or None,
        "time_base": str(stream.time_base),
        "tags": _tags(stream.metadata),
    }
    if isinstance(stream, VideoStream) and codec is not None:
        video = stream.codec_context
        facts |= {"width": video.width, "height": video.height}
        facts |= {"average_rate": str(stream.average_rate) if stream.average_rate else None}
    if isinstance(stream, AudioStream) and codec is not None:
        sound = stream.codec_context
        facts |= {
            "sample_rate": sound.sample_rate,
            "channels": sound.channels,
            "sample_format": sound.format.name if sound.format else None,
        }
    return facts


def _trace(container: InputContainer) -> str | None:
    """What the video encoder wrote about itself into the first packets."""
    stream = main_video(container)
    if stream is None:
        return None
    head = bytes(getattr(stream.codec_context, "extradata", None) or b"")
    try:
        for count, packet in enumerate(container.demux(stream)):
            match = ENCODER_TRACE.search(head + bytes(packet)[:65536])
            if match or count >= 2:
                return match[1].decode("latin-1") if match else None
    except ENDS_EARLY:
        return None
    return None


def _writers(tags: Mapping[str, str], trace: str | None) -> list[str]:
    named = [value for key, value in tags.items() if WRITERS.match(key.partition(" (")[0])]
    return list(dict.fromkeys([*named, *([trace] if trace else [])]))


def _editors(writers: list[str]) -> list[str]:
    text = "\n".join(writers)
    return [name for name, pattern in EDITORS.items() if re.search(f"(?i){pattern}", text)]


def _reason(facts: dict[str, Any]) -> str:
    if facts["declared_ai"]:
        return f"The file's own metadata declares AI ({facts['declared_ai'][0]})."
    codecs = ", ".join(str(one["codec"]) for one in facts["streams"] if one["codec"])
    written = f"; written by {', '.join(facts['rewritten_by'])}" if facts["rewritten_by"] else ""
    device = " ".join(facts["device"].values())
    return f"{facts['format'].partition(',')[0]} with {codecs}{written}{f'; recorded with {device}' if device else ''}."
