"""What a PDF really holds: is it whole, can it be read, how many pages."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pikepdf

from dfbatch.authenticity.media.limits import MediaLimits
from dfbatch.errors import MediaTooLarge, MediaTooLong, MediaTruncated, MediaUnreadable


def _name(letters: str) -> bytes:
    """A pattern for a name of PDF, each letter plain or as ``#`` and its number."""
    return b"/" + b"".join(b"(?:%c|#%02X|#%02x)" % (ord(c), ord(c), ord(c)) for c in letters)


HEADER_WITHIN = 1024
EOF = b"%%EOF"
STARTXREF = re.compile(rb"startxref\s+(\d{1,12})")
LINEARIZED = re.compile(rb"/Linearized\b[^>]{0,200}?/L\s+(\d{1,12})")
OBJECT = re.compile(rb"(?<!\d)\d{1,10}\s+\d{1,5}\s+obj\b")
PACKED = re.compile(
    _name("Type") + rb"(?:\s|%[^\r\n]{0,200}[\r\n])*(?:" + _name("ObjStm") + rb"|" + _name("XRef") + rb")\b"
)
"""However its names are spelled: any letter may be written by its number."""
_FILTERS = re.compile(rb"/(?:FlateDecode|LZWDecode|RunLengthDecode|Fl|LZW|RL)\b")
# Object streams are unpacked as a whole by every reader; far above what real documents need.
MAX_UNPACKED = 512 * 1024 * 1024


def probe_pdf(data: bytes, limits: MediaLimits) -> dict[str, Any]:
    """``frames``: the number of pages. An encrypted PDF that opens without a password is read like any other.

    Raises MediaTruncated, MediaUnreadable, MediaTooLong or MediaTooLarge.
    """
    check_whole(data)
    with open_pdf(data) as pdf:
        pages = len(pdf.pages)
    if pages == 0:
        raise MediaUnreadable(
            "The PDF has no pages. Open it in a PDF reader; if it is empty there too, export it again."
        )
    if pages > limits.max_pages:
        raise MediaTooLong(
            f"The PDF has {pages:,} pages; at most {limits.max_pages:,} are read. Split it, or raise max_pages."
        )
    return {"frames": pages}


def header_offset(data: bytes) -> int:
    """Where ``%PDF-`` stands: offsets in a PDF count from there. Raises MediaUnreadable."""
    at = data.find(b"%PDF-", 0, HEADER_WITHIN + 5)
    if at < 0:
        raise MediaUnreadable("The file does not begin like a PDF ('%PDF-'); export or download it again.")
    return at


def check_whole(data: bytes) -> None:
    """Raise MediaTruncated if the end of the PDF is missing."""
    offset = header_offset(data)
    again = "Download or export it again."
    end = data.rfind(EOF)
    if end < 0:
        raise MediaTruncated(f"The PDF ends without its end mark (%%EOF): the rest is missing. {again}")
    if OBJECT.search(data, end):
        raise MediaTruncated(f"The PDF stops in the middle of its last section: objects follow the last %%EOF. {again}")
    starts = STARTXREF.findall(data, max(0, end - 1024), end)
    if starts and offset + int(starts[-1]) > len(data):
        raise MediaTruncated(
            f"The index of the PDF should lie at byte {int(starts[-1]):,}, but the file has {len(data):,}. {again}"
        )
    linear = LINEARIZED.search(data, offset, offset + 2048)
    if linear and int(linear[1]) > len(data) - offset:
        raise MediaTruncated(f"The PDF announces {int(linear[1]):,} bytes, but the file has {len(data):,}. {again}")


@contextmanager
def open_pdf(data: bytes) -> Iterator[pikepdf.Pdf]:
    """The PDF opened by pikepdf; what it raises inside becomes MediaUnreadable with a remedy."""
    _refuse_bomb(data)
    try:
        with pikepdf.open(io.BytesIO(data)) as pdf:
            yield pdf
    except pikepdf.PasswordError as error:
        raise MediaUnreadable("The PDF is locked with a password. Save a copy without the password.") from error
    except (pikepdf.PdfError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise MediaUnreadable(
            f"The PDF is damaged and cannot be repaired ({_short(error)}). Export or download it again."
        ) from error


def inflate(packed: bytes, most: int) -> bytes:
    """At most ``most`` bytes of a deflate stream; what could be read before damage."""
    engine = zlib.decompressobj()
    try:
        return engine.decompress(packed, most)
    except zlib.error:
        return b""


def _refuse_bomb(data: bytes) -> None:
    """Readers unpack object streams without a limit, so they are measured before."""
    total = 0
    for found in PACKED.finditer(data):
        start = data.find(b"stream", found.end(), found.end() + 2048)
        if start < 0:
            continue
        own = data.rfind(b"obj", max(0, found.start() - 2048), found.start())
        if len(_FILTERS.findall(data, max(0, own), start)) > 1:
            raise MediaTooLarge("The PDF packs its objects twice over, which only a file made to exhaust memory does.")
        start += 8 if data[start + 6 : start + 8] == b"\r\n" else 7
        total += _unpacked_size(data, start, MAX_UNPACKED - total)
        if total >= MAX_UNPACKED:
            raise MediaTooLarge(
                f"The PDF unpacks to more than {MAX_UNPACKED >> 20} MiB of objects: it is made to exhaust memory."
            )


def _unpacked_size(data: bytes, start: int, most: int) -> int:
    engine = zlib.decompressobj()
    size = 0
    feed = memoryview(data)[start : start + 65536]
    while feed and not engine.eof and size < most:
        try:
            out = engine.decompress(feed, 1 << 20)
        except zlib.error:
            break
        size += len(out)
        feed = memoryview(engine.unconsumed_tail)
        if not feed and not engine.eof:
            start += 65536
            feed = memoryview(data)[start : start + 65536]
    return size


def _short(error: BaseException) -> str:
    text = " ".join(re.sub(r"^stream <[^>]*>:?", "", str(error)).split())
    return text[:160].rstrip(".") or type(error).__name__
