"""Opening video and sound with PyAV such that hostile bytes can do little.

The demuxer is pinned to what the bytes were sniffed as: playlists and the like,
which would open other files or addresses, are never tried. Nothing is opened but
the bytes at hand.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from dfbatch.errors import MediaUnreadable, MediaUnsupported

FORMATS = {
    "video/mp4": "mov",
    "video/quicktime": "mov",
    "video/x-m4v": "mov",
    "video/3gpp": "mov",
    "video/3gpp2": "mov",
    "audio/mp4": "mov",
    "audio/m4a": "mov",
    "audio/x-m4a": "mov",
    "video/x-matroska": "matroska",
    "video/matroska": "matroska",
    "audio/x-matroska": "matroska",
    "video/webm": "matroska",
    "audio/webm": "matroska",
    "video/x-msvideo": "avi",
    "video/avi": "avi",
    "video/mpeg": "mpeg",
    "video/mp2t": "mpegts",
    "video/x-flv": "flv",
    "video/x-ms-wmv": "asf",
    "video/x-ms-asf": "asf",
    "audio/x-ms-wma": "asf",
    "video/ogg": "ogg",
    "audio/ogg": "ogg",
    "application/ogg": "ogg",
    "audio/opus": "ogg",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/flac": "flac",
    "audio/x-flac": "flac",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/aac": "aac",
    "audio/aiff": "aiff",
    "audio/x-aiff": "aiff",
    "audio/amr": "amr",
    "audio/basic": "au",
    "audio/ac3": "ac3",
}
SPOKEN = {"mov": "MP4 or QuickTime", "matroska": "Matroska or WebM", "mpegts": "MPEG transport stream"}
READ_TIMEOUT_S = 30.0
COVER = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image


def demuxer_of(media_type: str) -> str:
    """Name of the demuxer for a sniffed media type; raises MediaUnsupported."""
    try:
        return FORMATS[media_type]
    except KeyError:
        raise MediaUnsupported(
            f"Video or sound of type '{media_type}' is not verified. Convert it to MP4, MOV, MKV, WAV, FLAC or MP3."
        ) from None


# What may end the reading of packets early: damage, or a stream that PyAV was not told of at the start.
ENDS_EARLY = (av.error.FFmpegError, IndexError)


@contextmanager
def open_container(data: bytes, media_type: str, max_pixels: int, **options: str) -> Iterator[InputContainer]:
    """An open container over ``data``; every error of FFmpeg inside becomes MediaUnreadable.

    Edit lists are ignored, so that times are those of the stored packets.
    """
    name = demuxer_of(media_type)
    chosen = {
        "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegvideo,mpegts,flv,asf,ogg,wav,flac,"
        "mp3,aac,aiff,amr,au,ac3",
        "protocol_whitelist": "none",
        "threads": "1",
        # Opening would decode a second of video only to guess what the headers say: 30 ms against 1 ms.
        "skip_frame": "all",
        **({"ignore_editlist": "1"} if name == "mov" else {}),
        **options,
    }
    try:
        with av.open(
            io.BytesIO(data),
            format=name,
            options=chosen,
            metadata_errors="replace",
            timeout=READ_TIMEOUT_S,
        ) as container:
            assert isinstance(container, InputContainer)
            for stream in container.streams:
                if isinstance(stream, VideoStream | AudioStream) and stream.codec_context is not None:
                    stream.codec_context.options = {"max_pixels": str(max_pixels)}
                    stream.codec_context.thread_count = 1
            yield container
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        raise MediaUnreadable(
            f"The {SPOKEN.get(name, name.upper())} file is damaged, or its decoder gave up: {spoken(error)}. "
            f"Play it to check, and copy it again."
        ) from error


def spoken(error: BaseException) -> str:
    """The words of an FFmpeg error without its number and file name."""
    return str(getattr(error, "strerror", None) or error).rstrip(".")


def packet_seconds(packet: Packet[Any], unit_s: float) -> float:
    """How long a packet is shown or heard, in seconds; 0 where that is not known.

    FFmpeg gives some last packets a negative duration as a huge unsigned number.
    """
    duration = packet.duration or 0
    return duration * unit_s if 0 < duration < 1 << 31 else 0.0


def main_video(container: InputContainer) -> VideoStream | None:
    """The first stream of moving pictures. Cover art and thumbnails are not video."""
    for stream in container.streams.video:
        if not stream.disposition & COVER:
            return stream
    return None


def main_audio(container: InputContainer) -> AudioStream | None:
    """The first stream of sound."""
    return container.streams.audio[0] if container.streams.audio else None
