"""A PDF is whole and readable, or the analyst is told what is wrong with it."""

from __future__ import annotations

import io
import re
import zlib
from typing import Any

import pikepdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.authenticity.media import pdf as media_pdf
from dfbatch.authenticity.media.limits import MediaLimits
from dfbatch.authenticity.media.pdf import probe_pdf
from dfbatch.errors import MediaError, MediaTooLarge, MediaTooLong, MediaTruncated, MediaUnreadable

pytestmark = pytest.mark.integration

LIMITS = MediaLimits()


@pytest.fixture(scope="module")
def plain(pdf_bench: Any) -> bytes:
    return pdf_bench.plain(pages=3)


def test_pages_are_counted_as_frames(plain: bytes) -> None:
    assert probe_pdf(plain, LIMITS) == {"frames": 3}


def test_junk_before_the_header_and_behind_the_end_is_tolerated(plain: bytes) -> None:
    assert probe_pdf(b"mail header\r\n" + plain + b"\r\n\0\0", LIMITS) == {"frames": 3}


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_cut_pdf_is_truncated(share: float, plain: bytes) -> None:
    with pytest.raises(MediaTruncated, match=r"again\.$"):
        probe_pdf(plain[: int(share * len(plain))], LIMITS)


def test_a_cut_in_the_second_section_is_truncated_although_the_first_is_whole(pdf_bench: Any) -> None:
    signed = pdf_bench.signed()
    with pytest.raises(MediaTruncated, match="last section"):
        probe_pdf(signed[:-200], LIMITS)


def test_a_cut_linearized_pdf_is_truncated(pdf_bench: Any) -> None:
    pdf = pikepdf.open(io.BytesIO(pdf_bench.plain(pages=5)))
    linear = pdf_bench.saved(pdf, linearize=True)
    assert probe_pdf(linear, LIMITS) == {"frames": 5}
    cut = linear[: linear.index(b"%%EOF") + 6]
    with pytest.raises(MediaTruncated, match="announces"):
        probe_pdf(cut, LIMITS)


def test_an_index_behind_the_end_is_truncated(plain: bytes) -> None:
    with pytest.raises(MediaTruncated, match="999,999"):
        probe_pdf(re.sub(rb"startxref\n\d+", b"startxref\n999999", plain), LIMITS)


def test_an_encrypted_pdf_is_read_if_it_opens_without_a_password(pdf_bench: Any, plain: bytes) -> None:
    pdf = pikepdf.open(io.BytesIO(plain))
    readable = pdf_bench.saved(pdf, encryption=pikepdf.Encryption(owner="secret", user=""))
    assert probe_pdf(readable, LIMITS) == {"frames": 3}
    locked = pdf_bench.saved(pdf, encryption=pikepdf.Encryption(owner="secret", user="secret"))
    with pytest.raises(MediaUnreadable, match="without the password"):
        probe_pdf(locked, LIMITS)


def test_more_pages_than_the_limit_are_refused(plain: bytes) -> None:
    with pytest.raises(MediaTooLong, match="3 pages; at most 2"):
        probe_pdf(plain, MediaLimits(max_pages=2))


def test_a_pdf_without_pages_is_unreadable(pdf_bench: Any) -> None:
    with pytest.raises(MediaUnreadable, match="no pages"):
        probe_pdf(pdf_bench.saved(pikepdf.new()), LIMITS)


@pytest.mark.parametrize("data", [b"", b"%PDF-", b"hello", b"%PDF-1.7\n%%EOF\n", b"%%EOF %PDF-1.4"])
def test_what_is_no_pdf_is_a_media_error(data: bytes) -> None:
    with pytest.raises(MediaError):
        probe_pdf(data, LIMITS)


def test_a_page_tree_that_bites_its_tail_ends(plain: bytes) -> None:
    with pytest.raises(MediaError):
        probe_pdf(re.sub(rb"/Kids \[[^]]*\]", b"/Kids [ 2 0 R ]", plain), LIMITS)


def test_object_streams_that_unpack_to_very_much_are_refused_before_any_reader_sees_them(
    pdf_bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_pdf, "MAX_UNPACKED", 1 << 20)
    bomb = zlib.compress(bytes(4 << 20))
    stream = b"9 0 obj\n<</Type /ObjStm /N 1 /First 4 /Filter /FlateDecode /Length %d>>\nstream\n" % len(bomb)
    data = pdf_bench.plain().replace(b"xref\n0", stream + bomb + b"\nendstream\nendobj\nxref\n0", 1)
    with pytest.raises(MediaTooLarge, match="exhaust memory"):
        probe_pdf(data, LIMITS)
    packed = pikepdf.open(io.BytesIO(pdf_bench.plain(pages=20)))
    modest = pdf_bench.saved(packed, object_stream_mode=pikepdf.ObjectStreamMode.generate)
    assert probe_pdf(modest, LIMITS) == {"frames": 20}


@given(start=st.integers(0, 1500), length=st.integers(0, 300), junk=st.binary(max_size=40))
def test_garbled_pdfs_give_a_result_or_a_media_error(start: int, length: int, junk: bytes, plain: bytes) -> None:
    try:
        is_answer = probe_pdf(plain[:start] + junk + plain[start + length :], LIMITS)["frames"] > 0
    except MediaError as error:
        is_answer = str(error).endswith(".")
    assert is_answer
