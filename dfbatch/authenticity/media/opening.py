"""From a path, a URI or bytes to a Media: read, hashed, told by its bytes and proved decodable."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dfbatch.authenticity.media.av import probe_av
from dfbatch.authenticity.media.image import probe_image
from dfbatch.authenticity.media.limits import DEFAULT_LIMITS, MediaLimits
from dfbatch.authenticity.media.locate import read_media
from dfbatch.authenticity.media.media import Media, MediaKind
from dfbatch.authenticity.media.pdf import probe_pdf
from dfbatch.authenticity.media.sniff import named_type, sniff
from dfbatch.errors import MediaError, MediaNotWhatItsNameSays, MediaUnsupported

_LOOKS_LIKE = (
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML text"),
    (b"pk\x03\x04", "a ZIP archive or office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7felf", "a program"),
    (b"mz", "a program"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself"),
)


def open_media(
    source: str | os.PathLike[str] | bytes, *, uri: str | None = None, limits: MediaLimits = DEFAULT_LIMITS
) -> Media:
    """Open one item. ``source`` is what to read, ``uri`` how to call it (by default the path or URI itself).

    Raises a MediaError that says what is wrong with the item; OSError or
    TransientError where the storage, not the item, is in trouble.
    """
    if uri is None and not isinstance(source, (bytes, bytearray, memoryview)):
        uri = os.fspath(source)
    located = read_media(source, limits)
    named = named_type(uri)
    sniffed = sniff(located.data)
    if sniffed is None:
        raise _no_media(located.data, uri, named)
    kind, media_type = sniffed
    try:
        probed = _probe(located.data, kind, media_type, limits)
    except MediaError as error:
        raise _with_name(error, uri) from None
    return Media(
        data=located.data,
        sha256=located.sha256,
        kind=MediaKind(probed.get("kind") or kind),
        media_type=probed.get("media_type") or media_type,
        uri=uri,
        named_type=named,
        width=probed.get("width"),
        height=probed.get("height"),
        frames=probed.get("frames"),
        duration_s=probed.get("duration_s"),
    )


def _probe(data: bytes, kind: MediaKind, media_type: str, limits: MediaLimits) -> Mapping[str, Any]:
    if kind is MediaKind.IMAGE:
        return probe_image(data, media_type, limits)._asdict()
    if kind is MediaKind.PDF:
        return probe_pdf(data, limits)
    return probe_av(data, media_type, kind, limits)


def _with_name(error: MediaError, uri: str | None) -> MediaError:
    return type(error)(f"{uri}: {error}") if uri and uri not in str(error) else error


def _no_media(data: bytes, uri: str | None, named: str | None) -> MediaError:
    looks = _look(data)
    if named:
        return MediaNotWhatItsNameSays(f"{uri} is named like {named}, but its bytes are {looks}.")
    return MediaUnsupported(
        f"{uri or 'The item'} is {looks}, which dfbatch does not verify. It verifies images, video, audio and PDF."
    )


def _look(data: bytes) -> str:
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, looks in _LOOKS_LIKE:
        if head.startswith(start):
            return looks
    if not any(data[:4096]):
        return "zeros: an empty shell of a file"
    try:
        text = data[:4096].decode()
    except UnicodeDecodeError as error:
        text = data[: error.start].decode() if error.start > len(data[:4096]) - 4 else "\0"
    return "plain text" if text.isprintable() or not set(text) & set(map(chr, range(9))) else "of no kind we know"
