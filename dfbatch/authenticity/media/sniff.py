"""What bytes are, by their first signs; never by the name of the file."""

from __future__ import annotations

import re
import struct
from types import MappingProxyType

from dfbatch.authenticity.media.media import MediaKind

HEAD_BYTES = 4096
"""So many first bytes are enough to tell the kind; only TIFF and MP3 profit from more."""

Sniffed = tuple[MediaKind, str]

_IMAGE, _VIDEO, _AUDIO, _PDF = MediaKind.IMAGE, MediaKind.VIDEO, MediaKind.AUDIO, MediaKind.PDF

_PREFIXES: tuple[tuple[bytes, Sniffed], ...] = (
    (b"\xff\xd8\xff", (_IMAGE, "image/jpeg")),
    (b"\x89PNG\r\n\x1a\n", (_IMAGE, "image/png")),
    (b"GIF87a", (_IMAGE, "image/gif")),
    (b"GIF89a", (_IMAGE, "image/gif")),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", (_IMAGE, "image/jp2")),
    (b"\xff\x4f\xff\x51", (_IMAGE, "image/jp2")),
    (b"fLaC", (_AUDIO, "audio/flac")),
    (b"\x00\x00\x01\xba", (_VIDEO, "video/mpeg")),
)
_RIFF_FORMS: dict[bytes, Sniffed] = {
    b"WEBP": (_IMAGE, "image/webp"),
    b"AVI ": (_VIDEO, "video/x-msvideo"),
    b"WAVE": (_AUDIO, "audio/wav"),
}
_BRANDS: tuple[tuple[re.Pattern[bytes], Sniffed], ...] = (
    (re.compile(rb"avi[fs]"), (_IMAGE, "image/avif")),
    (re.compile(rb"he(ic|ix|im|is|vc|vx|vm|vs)"), (_IMAGE, "image/heic")),
    (re.compile(rb"mi[fa]1|msf1"), (_IMAGE, "image/heic")),
    (re.compile(rb"qt  "), (_VIDEO, "video/quicktime")),
    (re.compile(rb"M4[AB] |F4A "), (_AUDIO, "audio/mp4")),
    (re.compile(rb"3g[2egprs]."), (_VIDEO, "video/3gpp")),
)
_DIB_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_QUICKTIME_ATOMS = frozenset({b"moov", b"mdat", b"wide", b"pnot", b"skip", b"free"})
_DNG_VERSION_TAG = 50706

_TYPE_OF_SUFFIX = MappingProxyType(
    {
        "jpg jpeg jpe jfif mpo": "image/jpeg",
        "png apng": "image/png",
        "gif": "image/gif",
        "webp": "image/webp",
        "tif tiff": "image/tiff",
        "dng": "image/x-adobe-dng",
        "heic heif": "image/heic",
        "avif": "image/avif",
        "bmp dib": "image/bmp",
        "jp2 j2k jpf jpx": "image/jp2",
        "mp4 m4v": "video/mp4",
        "mov qt": "video/quicktime",
        "3gp 3g2": "video/3gpp",
        "mkv": "video/x-matroska",
        "webm": "video/webm",
        "avi": "video/x-msvideo",
        "ts mts m2ts": "video/mp2t",
        "mpg mpeg": "video/mpeg",
        "wav": "audio/wav",
        "mp3": "audio/mpeg",
        "flac": "audio/flac",
        "ogg oga opus": "audio/ogg",
        "ogv": "video/ogg",
        "m4a m4b": "audio/mp4",
        "aac": "audio/aac",
        "aif aiff aifc": "audio/aiff",
        "pdf": "application/pdf",
    }
)
_BY_SUFFIX = {suffix: kind for suffixes, kind in _TYPE_OF_SUFFIX.items() for suffix in suffixes.split()}


def sniff(data: bytes) -> Sniffed | None:
    """``(kind, media type)`` of bytes, whole or only their first HEAD_BYTES; None if they are no media we know."""
    for prefix, sniffed in _PREFIXES:
        if data.startswith(prefix):
            return sniffed
    return _riff(data) or _iso_base(data) or _tiff(data) or _other_containers(data) or _raw_streams(data)


def named_type(uri: str | None) -> str | None:
    """The media type that the suffix of a name or URI promises; None if it promises none."""
    if not uri:
        return None
    name = uri.rsplit("/", 1)[-1]
    if "://" in uri:
        name = name.partition("?")[0].partition("#")[0]
    _, dot, suffix = name.rpartition(".")
    return _BY_SUFFIX.get(suffix.lower()) if dot else None


def _riff(data: bytes) -> Sniffed | None:
    if data[:4] in (b"RIFF", b"RF64", b"BW64"):
        return _RIFF_FORMS.get(data[8:12])
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return _AUDIO, "audio/aiff"
    return None


def _iso_base(data: bytes) -> Sniffed | None:
    """MP4, QuickTime, HEIC and kin: the brand says which, the first one that we know."""
    if data[4:8] != b"ftyp":
        is_quicktime = data[4:8] in _QUICKTIME_ATOMS and 8 <= int.from_bytes(data[:4], "big") < 1 << 31
        return (_VIDEO, "video/quicktime") if is_quicktime else None
    size = min(int.from_bytes(data[:4], "big"), len(data))
    major = data[8:12]
    brands = [major, *(data[at : at + 4] for at in range(16, size - 3, 4))]
    if major in (b"mif1", b"msf1", b"miaf") and brands[1:]:
        brands.append(brands.pop(0))  # these say "some picture": a compatible brand says which
    for brand in brands if major in (b"mif1", b"msf1", b"miaf") else brands[:1]:
        for pattern, sniffed in _BRANDS:
            if pattern.fullmatch(brand):
                return sniffed
    return None if major == b"crx " else (_VIDEO, "video/mp4")


def _tiff(data: bytes) -> Sniffed | None:
    if data[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    dng = _DNG_VERSION_TAG.to_bytes(2, "little" if data[:1] == b"I" else "big")
    order = "<" if data[:1] == b"I" else ">"
    if data[2:4] in (b"*\0", b"\0*") and len(data) >= 8:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        count = int.from_bytes(data[at : at + 2], "little" if order == "<" else "big")
        if any(data[at + 2 + 12 * i : at + 4 + 12 * i] == dng for i in range(min(count, 512))):
            return _IMAGE, "image/x-adobe-dng"
    return _IMAGE, "image/tiff"


def _other_containers(data: bytes) -> Sniffed | None:
    if data[:4] == b"\x1aE\xdf\xa3":
        return _VIDEO, "video/webm" if b"webm" in data[:64] else "video/x-matroska"
    if data[:4] == b"OggS":
        return (_VIDEO, "video/ogg") if b"\x80theora" in data[:HEAD_BYTES] else (_AUDIO, "audio/ogg")
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _DIB_HEADER_SIZES and data[6:10] == bytes(4):
        return _IMAGE, "image/bmp"
    if data[:1024].lstrip(b"\xef\xbb\xbf\x00\t\n\x0c\r ").startswith(b"%PDF-"):
        return _PDF, "application/pdf"
    for packet, start in ((188, 0), (192, 4)):
        if len(data) > start + 2 * packet and all(data[start + i * packet] == 0x47 for i in range(3)):
            return _VIDEO, "video/mp2t"
    return None


def _raw_streams(data: bytes) -> Sniffed | None:
    """MP3 and AAC have no signature but a frame header; a second one where the first says it must be is the proof."""
    at = 0
    if data[:3] == b"ID3" and len(data) >= 10:
        at = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
        if at + 4 > len(data):
            return _AUDIO, "audio/mpeg"  # only the head is here; the tag alone says what it is
        if data[at : at + 4] == b"fLaC":
            return _AUDIO, "audio/flac"
    for length_of, media_type in ((_mp3_frame_bytes, "audio/mpeg"), (_adts_frame_bytes, "audio/aac")):
        length = length_of(data[at : at + 6])
        if length and length_of(data[at + length : at + length + 6]):
            return _AUDIO, media_type
    return (_AUDIO, "audio/mpeg") if at else None


_MP3_KBPS = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def _mp3_frame_bytes(header: bytes) -> int:
    """Length of an MPEG audio frame by its 4-byte header (ISO 11172-3, 2.4.2.3); 0 if it is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = (header[1] >> 3) & 3, 4 - ((header[1] >> 1) & 3)
    rate, hz = header[2] >> 4, (header[2] >> 2) & 3
    if version == 1 or layer == 4 or rate in (0, 15) or hz == 3:
        return 0
    bits_per_s = 1000 * _MP3_KBPS[version == 3, layer][rate - 1]
    padding = (header[2] >> 1) & 1
    if layer == 1:
        return (12 * bits_per_s // _MP3_HZ[version][hz] + padding) * 4
    samples_by_8 = 72 if layer == 3 and version != 3 else 144
    return samples_by_8 * bits_per_s // _MP3_HZ[version][hz] + padding


def _adts_frame_bytes(header: bytes) -> int:
    """Length of an ADTS frame by its header (ISO 14496-3, 1.A.2); 0 if it is none."""
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return 0
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length >= 7 and (header[2] >> 2) & 15 < 13 else 0
