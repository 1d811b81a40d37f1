"""The frame every detector fits in."""

from __future__ import annotations

from typing import Protocol

from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.media import Media


class Detector(Protocol):
    """One signal. Detectors are constructed once a worker and must not keep items."""

    name: str
    version: str

    def applies_to(self, media: Media) -> str | None:
        """None if the detector applies, else a short reason why it does not (that becomes the finding)."""
        ...

    def examine(self, media: Media) -> Finding:
        """Look at an item to which the detector applies. Raise MediaError only if the *item* is unreadable."""
        ...
