"""How much of one item dfbatch is willing to read and decode."""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import MappingProxyType

from dfbatch.authenticity.media.media import MediaKind
from dfbatch.errors import InvalidInput

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """Bounds on one item; what is beyond them is a MediaError, before it costs memory.

    ``max_*_bytes`` are file sizes in bytes. ``max_pixels`` counts the pixels of one
    frame (200 megapixels: an uncompressed RGB picture of 600 MB). ``max_frames``
    counts pictures of an animation, pages of a TIFF or frames of a video,
    ``max_pages`` pages of a PDF. ``max_duration_s`` is in seconds.
    """

    max_image_bytes: int = 512 * _MIB
    max_video_bytes: int = 2048 * _MIB
    max_audio_bytes: int = 512 * _MIB
    max_pdf_bytes: int = 256 * _MIB
    max_pixels: int = 200_000_000
    max_frames: int = 2_000_000
    max_pages: int = 20_000
    max_duration_s: float = 6 * 3600.0

    def __post_init__(self) -> None:
        for limit in fields(self):
            if not getattr(self, limit.name) > 0:
                raise InvalidInput(limit.name, f"{getattr(self, limit.name)!r} is not above zero", "Give a bound")

    def max_bytes(self, kind: MediaKind) -> int:
        """Greatest file size of a kind, in bytes."""
        return int(getattr(self, _BYTES_OF[kind]))

    @property
    def most_bytes(self) -> int:
        """Greatest file size of any kind: what is beyond it need not even be looked at."""
        return max(self.max_bytes(kind) for kind in MediaKind)


_BYTES_OF = MappingProxyType({kind: f"max_{kind}_bytes" for kind in MediaKind})

DEFAULT_LIMITS = MediaLimits()
