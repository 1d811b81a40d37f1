"""PDF signatures found in the bytes alone.

A byte changed in a signed file can make the file unreadable as a PDF. The
signature then still stands in the bytes and still tells whether what it signed
is what is there, so it is looked for without a PDF parser.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from asn1crypto import cms
from cryptography.exceptions import UnsupportedAlgorithm
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.sign.general import extract_signer_info
from pyhanko.sign.validation.generic_cms import extract_certs_for_validation, validate_sig_integrity

from dfbatch.authenticity.media.pdf import OBJECT

BYTE_RANGE = re.compile(rb"/ByteRange\s*\[\s*(\d{1,12})\s+(\d{1,12})\s+(\d{1,12})\s+(\d{1,12})\s*\]")
MAX_SIGNATURES = 50
# What parsers of PDF, ASN.1 and X.509 raise on hostile bytes.
PARSER_ERRORS = (
    PdfError,
    UnsupportedAlgorithm,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class SignedRange:
    """The four numbers of a ``/ByteRange``: two stretches, as (start, length), around the signature value."""

    start: int
    length: int
    second: int
    second_length: int

    @property
    def end(self) -> int:
        """Offset in bytes behind the second stretch."""
        return self.second + self.second_length

    def is_regular(self, data: bytes) -> bool:
        """From the first byte, within the file, and interrupted by exactly one hex string."""
        if self.start != 0 or self.end > len(data) or self.second <= self.length or self.second_length <= 0:
            return False
        gap = data[self.length : self.second]
        return gap[:1] == b"<" and gap[-1:] == b">" and re.fullmatch(rb"[0-9A-Fa-f\s]*", gap[1:-1]) is not None


def signed_ranges(data: bytes) -> Iterator[SignedRange]:
    """Every distinct ``/ByteRange`` written in the file, the first MAX_SIGNATURES of them."""
    seen: set[SignedRange] = set()
    for match in BYTE_RANGE.finditer(data):
        found = SignedRange(*(int(number) for number in match.groups()))
        if found not in seen:
            seen.add(found)
            yield found
        if len(seen) >= MAX_SIGNATURES:
            return


def has_unlisted_objects(data: bytes, end: int) -> bool:
    """Whether objects stand behind ``end`` without an index of their own; viewers that repair files show them."""
    return data.find(b"startxref", end) < 0 and OBJECT.search(data, end) is not None


def bytes_unchanged(data: bytes, signed: SignedRange) -> bool | None:
    """Whether the signed bytes are those that were signed; None where the signature value cannot be read."""
    if not signed.is_regular(data):
        return None
    try:
        value = bytes.fromhex(data[signed.length + 1 : signed.second - 1].decode("ascii"))
        content = cms.ContentInfo.load(value)["content"]
        signer = extract_signer_info(content)
        kind = content["encap_content_info"]["content_type"].native
        if kind != "data":
            return None
        digest = _digest(data, signed, signer["digest_algorithm"]["algorithm"].native)
        certificate = extract_certs_for_validation(content).signer_cert
        intact, valid = validate_sig_integrity(signer, certificate, kind, digest)
    except PARSER_ERRORS:
        return None
    return bool(intact and valid)


def _digest(data: bytes, signed: SignedRange, algorithm: str) -> bytes:
    engine = hashlib.new(algorithm)
    view = memoryview(data)
    engine.update(view[: signed.length])
    engine.update(view[signed.second : signed.end])
    return engine.digest()
