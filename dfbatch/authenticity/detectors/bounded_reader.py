"""The reader of pyhanko, made safe for hostile files.

Two things in it have no bound. An index packed as a stream may announce billions
of entries, each of which is kept; and comparing revisions follows every path to
every object, of which a file of 2 kB can have 2^40.
"""

from __future__ import annotations

import io
import re
from typing import Any

import pikepdf
from pyhanko.pdf_utils.misc import PdfReadError
from pyhanko.pdf_utils.reader import HistoricalResolver, PdfFileReader
from pyhanko.sign.fields import enumerate_sig_fields

from dfbatch.authenticity.detectors.raw_signatures import PARSER_ERRORS

# A document of 1000 pages with five signatures takes 8,000; the limit is some seconds of work.
MAX_STEPS = 200_000
PACKED_INDEX = re.compile(rb"/(?:X|#58)(?:R|#52)(?:e|#65)(?:f|#66)\b")


class ComparisonTooLong(PdfReadError):
    """Following all paths through the revisions would take too long."""

    def __init__(self) -> None:
        super().__init__("The objects of the PDF refer to each other in too many ways to be compared")


class BoundedReader(PdfFileReader):
    """A reader whose comparisons of revisions end with ComparisonTooLong after MAX_STEPS steps in all."""

    def __init__(self, data: bytes, strict: bool) -> None:
        self.steps_left = MAX_STEPS
        self._bounded: dict[int, _BoundedResolver] = {}
        super().__init__(io.BytesIO(data), strict=strict)

    def get_historical_resolver(self, revision: int) -> HistoricalResolver:
        if revision not in self._bounded:
            self._bounded[revision] = _BoundedResolver(self, revision)
        return self._bounded[revision]

    def spend(self) -> None:
        """Count one step."""
        self.steps_left -= 1
        if self.steps_left < 0:
            raise ComparisonTooLong


class _BoundedResolver(HistoricalResolver):
    """A view of one revision that counts each reference that is followed in it."""

    def __call__(self, ref: Any) -> Any:
        reader = self.reader
        assert isinstance(reader, BoundedReader)
        reader.spend()
        return super().__call__(ref)


def open_reader(data: bytes) -> BoundedReader:
    """Strict if the file allows it, else lenient as viewers are. Raises PARSER_ERRORS."""
    _refuse_false_index(data)
    try:
        reader = BoundedReader(data, strict=True)
        list(enumerate_sig_fields(reader, filled_status=True))
        return reader
    except PARSER_ERRORS:
        return BoundedReader(data, strict=False)


def _refuse_false_index(data: bytes) -> None:
    """Packed indexes are read only if a reader that measures them first finds them whole."""
    if not PACKED_INDEX.search(data):
        return
    try:
        with pikepdf.open(io.BytesIO(data), attempt_recovery=False):
            return
    except (pikepdf.PdfError, pikepdf.PasswordError) as error:
        raise PdfReadError("The index of the PDF is damaged") from error
