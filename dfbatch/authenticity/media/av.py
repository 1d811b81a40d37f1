"""What a video or sound file really holds: streams, size, frames and seconds, from its packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from dfbatch.authenticity.media.boxes import check_boxes
from dfbatch.authenticity.media.containers import (
    ENDS_EARLY,
    demuxer_of,
    main_audio,
    main_video,
    open_container,
    packet_seconds,
    spoken,
)
from dfbatch.authenticity.media.limits import MediaLimits
from dfbatch.authenticity.media.media import MediaKind
from dfbatch.authenticity.media.riff import check_avi, check_matroska, check_wav
from dfbatch.errors import MediaTooLong, MediaTooManyPixels, MediaTruncated, MediaUnreadable

MAX_PACKETS = 10_000_000
# Packets that may pass before the decoder must have given its first frame.
PATIENCE = 120
STRUCTURE_CHECKS = {"mov": check_boxes, "wav": check_wav, "avi": check_avi, "matroska": check_matroska}
# Containers whose announced duration is exact enough that a much shorter stream means a cut file.
ANNOUNCING = frozenset({"flac", "matroska", "flv"})


@dataclass(slots=True)
class _Passage:
    """What was seen of one stream while its packets went by. Times in seconds."""

    packets: int = 0
    start_s: float | None = None
    end_s: float = 0.0
    decoded: bool = False
    trouble: str = ""


def probe_av(data: bytes, media_type: str, kind: MediaKind, limits: MediaLimits) -> dict[str, Any]:
    """``kind, width, height, frames, duration_s`` of a video or sound file.

    The kind is VIDEO iff there are moving pictures (cover art is none). ``frames``
    counts packets of the picture stream, None for sound. ``duration_s`` is from
    the first to the last packet. Only the first frame is decoded.

    Raises MediaTruncated, MediaUnreadable, MediaUnsupported, MediaTooLong or MediaTooManyPixels.
    """
    demuxer = demuxer_of(media_type)
    if demuxer in STRUCTURE_CHECKS:
        STRUCTURE_CHECKS[demuxer](data)
    with open_container(data, media_type, limits.max_pixels) as container:
        stream = main_video(container) or main_audio(container)
        if stream is None:
            raise MediaUnreadable(f"The {kind.value} file has neither pictures nor sound in it.")
        _checked_size(stream, limits)
        announced_s = container.duration / 1e6 if container.duration else 0.0
        if demuxer in STRUCTURE_CHECKS or demuxer in ANNOUNCING:
            _refuse_long(announced_s, limits)
        seen = _pass_through(container, stream, limits)
        width, height = _checked_size(stream, limits)
        _judge(seen, stream, demuxer, announced_s)
    video = isinstance(stream, VideoStream)
    return {
        "kind": MediaKind.VIDEO if video else MediaKind.AUDIO,
        "width": width,
        "height": height,
        "frames": seen.packets if video else None,
        "duration_s": max(0.0, seen.end_s - (seen.start_s or 0.0)),
    }


def _checked_size(stream: VideoStream | AudioStream, limits: MediaLimits) -> tuple[int | None, int | None]:
    if not isinstance(stream, VideoStream) or stream.codec_context is None:
        return None, None
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > limits.max_pixels:
        raise MediaTooManyPixels(
            f"The video is {width} x {height} pixels; at most {limits.max_pixels:,} are decoded. "
            f"Make it smaller, or raise max_pixels."
        )
    return (width, height) if width and height else (None, None)


def _refuse_long(duration_s: float, limits: MediaLimits) -> None:
    if duration_s > limits.max_duration_s:
        raise MediaTooLong(
            f"The file lasts {duration_s:,.0f} s; at most {limits.max_duration_s:,.0f} s are read. "
            f"Cut it, or raise max_duration_s."
        )


def _pass_through(container: InputContainer, stream: VideoStream | AudioStream, limits: MediaLimits) -> _Passage:
    """Let all packets of ``stream`` go by; decode until the first frame."""
    seen = _Passage(decoded=stream.codec_context is None)
    most = limits.max_frames if isinstance(stream, VideoStream) else MAX_PACKETS
    unit = float(stream.time_base) if stream.time_base else 0.0
    try:
        for packet in container.demux(stream):
            if not seen.decoded:
                _try_decoding(packet, seen)
            if packet.size == 0:
                continue
            seen.packets += 1
            if seen.packets > most:
                raise MediaTooLong(f"The file has more than {most:,} frames. Cut it, or raise max_frames.")
            if packet.pts is not None:
                time_s = packet.pts * unit
                seen.start_s = time_s if seen.start_s is None else min(seen.start_s, time_s)
                seen.end_s = max(seen.end_s, time_s + packet_seconds(packet, unit))
                if seen.packets & 0xFF == 0:
                    _refuse_long(seen.end_s - seen.start_s, limits)
    except ENDS_EARLY as error:
        seen.trouble = spoken(error)
    _refuse_long(seen.end_s - (seen.start_s or 0.0), limits)
    return seen


def _try_decoding(packet: Packet[Any], seen: _Passage) -> None:
    if seen.packets > PATIENCE:
        return
    try:
        seen.decoded = bool(packet.decode())
    except (av.error.FFmpegError, ValueError) as error:
        seen.trouble = spoken(error)


def _judge(seen: _Passage, stream: VideoStream | AudioStream, demuxer: str, announced_s: float) -> None:
    """Raise if what went by is less than a file of this kind must have."""
    if demuxer == "mov" and seen.packets < stream.frames:
        raise MediaTruncated(
            f"The file lists {stream.frames:,} frames, but only {seen.packets:,} can be read. Copy it again."
        )
    lasted_s = seen.end_s - (seen.start_s or 0.0)
    if demuxer in ANNOUNCING and lasted_s < 0.9 * announced_s - 1.0:
        raise MediaTruncated(
            f"The file announces {announced_s:.1f} s, but ends after {lasted_s:.1f} s. Copy or download it again."
        )
    what = "picture" if isinstance(stream, VideoStream) else "sound"
    why = f": {seen.trouble}" if seen.trouble else ""
    if seen.packets == 0:
        raise MediaUnreadable(f"The file has a {what} stream without content{why}.")
    if not seen.decoded:
        raise MediaUnreadable(
            f"No {what} could be decoded from the first {min(seen.packets, PATIENCE)} packets "
            f"({stream.codec_context.name}){why}."
        )
