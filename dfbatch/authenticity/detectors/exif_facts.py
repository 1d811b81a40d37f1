"""What EXIF says of camera, times and software, and where it contradicts itself or the picture. Facts, no score."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.exif import ExifBlock, printable, read_exif
from dfbatch.authenticity.media.image import open_image
from dfbatch.authenticity.media.media import Media, MediaKind
from dfbatch.authenticity.media.metadata import METADATA_TYPES, read_metadata
from dfbatch.errors import MediaError

_TEXTS = {"make": 0x010F, "model": 0x0110, "software": 0x0131, "lens": 0xA434}
_TIMES = {
    "modified_at": (0x0132, 0x9010),
    "taken_at": (0x9003, 0x9011),
    "digitised_at": (0x9004, 0x9012),
}
"""Tag of the local time, and of its offset from UTC."""
_WIDTH, _HEIGHT = 0xA002, 0xA003
_THUMBNAIL_START, _THUMBNAIL_BYTES = 0x0201, 0x0202
_TIME = re.compile(r"(\d{4})[:\-](\d\d)[:\-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_SLACK_S = 60.0
_ASPECT_SLACK = 0.06
_BOXED_ASPECT = 4 / 3  # the EXIF thumbnail of 160 x 120; cameras put bars around other shapes

_EDITOR = re.compile(
    r"photoshop|lightroom|gimp|snapseed|affinity|capture one|darktable|rawtherapee|pixelmator|paint\.net|canva|"
    r"picsart|facetune|vsco|imagemagick|luminar|dxo|acdsee|corel|paintshop|photoscape|instagram|krita",
    re.IGNORECASE,
)


class ExifFacts:
    """Camera, times, software, presence of a place, and contradictions.

    Facts: ``make, model, lens, software, editor`` (bool: the software is an editor),
    ``taken_at, modified_at, digitised_at`` (as written), ``gps`` (bool: the place itself is
    not copied), ``size_tag`` and ``thumbnail`` ([width, height] in pixels), ``notes``
    (sentences). None of them proves a manipulation: every editor that only turns a
    picture leaves the same.
    """

    name = "exif_facts"
    version = "1"

    def applies_to(self, media: Media) -> str | None:
        if media.kind is not MediaKind.IMAGE or media.media_type not in METADATA_TYPES:
            return f"EXIF is not read from {media.media_type} files."
        return None

    def examine(self, media: Media) -> Finding:
        block = read_metadata(media).exif
        exif = read_exif(block)
        if not exif:
            return Finding(self.name, self.version, False, "The file has no EXIF data.")
        facts: dict[str, Any] = {name: exif.text(tag) for name, tag in _TEXTS.items()}
        facts |= {name: _moment(exif, *tags) for name, tags in _TIMES.items()}
        facts["editor"] = bool(_EDITOR.search(facts["software"] or ""))
        facts["gps"] = any(tag in exif.gps for tag in (2, 4))
        facts["size_tag"] = _size_tag(exif)
        facts["thumbnail"] = _thumbnail_size(block or b"", exif.thumbnail)
        facts["notes"] = list(_notes(facts, media))
        return Finding(self.name, self.version, True, _sentence(facts), facts=facts)


def _moment(exif: ExifBlock, tag: int, offset_tag: int) -> str | None:
    text = exif.text(tag, 40)
    offset = exif.text(offset_tag, 10)
    return f"{text} {offset}" if text and offset else text


def _size_tag(exif: ExifBlock) -> list[int] | None:
    size = [exif.capture.get(_WIDTH), exif.capture.get(_HEIGHT)]
    return [int(side) for side in size if isinstance(side, int)] if all(isinstance(s, int) for s in size) else None


def _thumbnail_size(block: bytes, thumbnail: Mapping[int, Any]) -> list[int] | None:
    start, length = thumbnail.get(_THUMBNAIL_START), thumbnail.get(_THUMBNAIL_BYTES)
    if not isinstance(start, int) or not isinstance(length, int):
        return None
    data = block[start : start + length]
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    try:
        with open_image(data, "image/jpeg") as image:
            return [image.width, image.height]
    except MediaError:
        return None


def _notes(facts: Mapping[str, Any], media: Media) -> Iterator[str]:
    taken, modified = _parsed(facts["taken_at"]), _parsed(facts["modified_at"])
    digitised = _parsed(facts["digitised_at"])
    if taken and modified and (modified - taken).total_seconds() > _SLACK_S:
        yield f"The file was modified after it was taken ({facts['modified_at']}, taken {facts['taken_at']})."
    if taken and modified and (taken - modified).total_seconds() > _SLACK_S:
        yield f"The EXIF times contradict each other: modified {facts['modified_at']}, taken {facts['taken_at']}."
    if taken and digitised and abs((digitised - taken).total_seconds()) > _SLACK_S:
        yield f"It was digitised at another time ({facts['digitised_at']}) than it was taken ({facts['taken_at']})."
    size = facts["size_tag"]
    if size and media.width and media.height and sorted(size) != sorted((media.width, media.height)) and all(size):
        yield f"EXIF gives {size[0]} x {size[1]} pixels, the picture has {media.width} x {media.height}."
    if _aspect_differs(facts["thumbnail"], media):
        yield "The thumbnail has another shape than the picture: it was cropped, or the thumbnail is an older one."


def _aspect_differs(thumbnail: list[int] | None, media: Media) -> bool:
    if not thumbnail or not media.width or not media.height:
        return False
    small, large = max(thumbnail) / min(thumbnail), max(media.width, media.height) / min(media.width, media.height)
    return abs(small / large - 1) > _ASPECT_SLACK and abs(small / _BOXED_ASPECT - 1) > 0.01


def _parsed(text: str | None) -> datetime.datetime | None:
    """Local time as written; offsets are left out, for most cameras write none."""
    match = _TIME.match(text or "")
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(number) for number in match.groups())
    try:
        return datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.UTC)
    except ValueError:
        return None


def _sentence(facts: Mapping[str, Any]) -> str:
    camera = printable(" ".join(part for part in (facts["make"], facts["model"]) if part))
    parts = [f"EXIF names the camera {camera}." if camera else "EXIF names no camera."]
    if facts["software"]:
        parts.append(f"Software: {facts['software']}.")
    return " ".join([*parts, *facts["notes"]])
