"""What signatures of PDFs prove, and what they do not."""

from __future__ import annotations

import asyncio
import io
import logging
import re
from collections.abc import Callable
from typing import Any

import pikepdf
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyhanko.pdf_utils import generic
from pyhanko.sign.fields import MDPPerm
from pyhanko.sign.timestamps import DummyTimeStamper

from dfbatch.authenticity.detectors import bounded_reader
from dfbatch.authenticity.detectors.pdf_signatures import PdfSignatures
from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.media import MediaKind
from dfbatch.errors import InvalidInput

pytestmark = pytest.mark.integration

Examine = Callable[..., Finding]


@pytest.fixture(scope="module")
def examine(as_media: Any) -> Examine:
    def run(data: bytes, **options: Any) -> Finding:
        detector, media = PdfSignatures(**options), as_media(data, "application/pdf", MediaKind.PDF)
        assert detector.applies_to(media) is None
        return detector.examine(media)

    return run


@pytest.fixture(scope="module")
def signed(pdf_bench: Any) -> bytes:
    return pdf_bench.signed()


def replace_page(writer: Any) -> None:
    page = writer.root["/Pages"]["/Kids"][0]
    text = generic.StreamObject(stream_data=b"BT /F1 12 Tf 20 100 Td (Pay 999 EUR) Tj ET")
    page["/Contents"] = writer.add_object(text)
    writer.update_container(page)


def fill_field(writer: Any) -> None:
    field = writer.root["/AcroForm"]["/Fields"][0]
    field["/V"] = generic.TextStringObject("Grace")
    writer.update_container(field)


def test_an_untouched_signature_holds_and_an_unknown_signer_is_not_an_accusation(
    examine: Examine, signed: bytes
) -> None:
    finding = examine(signed)
    assert finding.applicable
    assert finding.score is None
    expected = {"n_signatures": 1, "intact": True, "coverage": "ENTIRE_FILE", "tampered_after_signing": False}
    expected |= {"suspicious_modification": False, "modified_after_signing_level": "none", "trusted": False}
    assert {key: finding.facts[key] for key in expected} == expected
    assert finding.facts["signer"] == "Ada Example"
    assert finding.facts["signatures"][0]["signed_at"] is not None


def test_a_signer_below_an_anchor_of_the_user_is_trusted(examine: Examine, pdf_bench: Any, tmp_path: Any) -> None:
    certificate = pdf_bench.certificate("Root of Trust")
    anchors = tmp_path / "anchors.pem"
    anchors.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    finding = examine(pdf_bench.signed(signer=pdf_bench.signer(certificate)), trust_anchors=anchors)
    assert finding.facts["trusted"] is True
    assert finding.score == 0.0
    form = pdf_bench.signed(pdf_bench.with_form(), signer=pdf_bench.signer(certificate))
    assert examine(form, trust_anchors=anchors).score == 0.0
    filled = examine(pdf_bench.updated(form, fill_field), trust_anchors=anchors)
    assert filled.facts["trusted"] is True
    assert filled.score is None, "the signer did not see what was filled in later"
    stranger = examine(pdf_bench.signed(), trust_anchors=anchors)
    assert stranger.facts["trusted"] is False
    assert stranger.score is None


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_anchors_that_cannot_be_read_are_refused_at_once(content: bytes | None, tmp_path: Any) -> None:
    path = tmp_path / "anchors.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match="trust_anchors"):
        PdfSignatures(path)


def test_a_changed_amount_in_the_signed_bytes_is_tampering(examine: Examine, signed: bytes) -> None:
    at = signed.index(b"/MediaBox")
    finding = examine(signed[:at] + signed[at:].replace(b"200", b"900", 1))
    assert finding.facts["tampered_after_signing"] is True
    assert finding.facts["intact"] is False
    assert finding.score == 1.0


def test_a_replaced_page_is_suspicious(examine: Examine, pdf_bench: Any, signed: bytes) -> None:
    finding = examine(pdf_bench.updated(signed, replace_page))
    assert finding.facts["signatures"][0]["digest_ok"] is True
    assert finding.facts["suspicious_modification"] is True
    assert finding.facts["modified_after_signing_level"] == "suspicious"
    assert finding.facts["tampered_after_signing"] is True
    assert finding.score == 1.0


def test_a_second_signature_is_benign(examine: Examine, pdf_bench: Any, signed: bytes) -> None:
    finding = examine(pdf_bench.signed(signed, field="Sig2"))
    assert finding.facts["n_signatures"] == 2
    assert finding.facts["coverage"] == "ENTIRE_REVISION"
    assert finding.facts["modified_after_signing_level"] == "benign"
    assert finding.facts["tampered_after_signing"] is False
    assert finding.facts["intact"] is True


def test_a_filled_field_is_benign_unless_the_signer_forbade_it(examine: Examine, pdf_bench: Any) -> None:
    form = pdf_bench.with_form()
    allowed = pdf_bench.updated(pdf_bench.signed(form), fill_field)
    assert examine(allowed).facts["modified_after_signing_level"] == "benign"
    assert examine(allowed).score is None
    locked = pdf_bench.signed(form, certify=True, docmdp_permissions=MDPPerm.NO_CHANGES)
    assert examine(locked).facts["modified_after_signing_level"] == "none"
    assert examine(pdf_bench.updated(locked, fill_field)).facts["tampered_after_signing"] is True


def test_a_timestamp_added_later_is_benign(examine: Examine, pdf_bench: Any, signed: bytes) -> None:
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign.signers import PdfTimeStamper

    signer = pdf_bench.signer()
    stamper = PdfTimeStamper(DummyTimeStamper(signer.signing_cert, signer.signing_key))
    stamped = stamper.timestamp_pdf(IncrementalPdfFileWriter(io.BytesIO(signed)), "sha256").getvalue()
    finding = examine(stamped)
    assert sorted(one["kind"] for one in finding.facts["signatures"]) == ["signature", "timestamp"]
    assert finding.facts["tampered_after_signing"] is False
    assert finding.facts["intact"] is True
    at = stamped.index(b"/MediaBox")
    broken = examine(stamped[:at] + stamped[at:].replace(b"200", b"900", 1))
    assert all(one["digest_ok"] is False for one in broken.facts["signatures"])


def test_line_ends_behind_the_signature_are_nothing(examine: Examine, signed: bytes) -> None:
    finding = examine(signed + b"\r\n\r\n")
    assert finding.facts["tampered_after_signing"] is False
    assert finding.facts["modified_after_signing_level"] == "none"


def test_objects_appended_without_an_index_are_suspicious(examine: Examine, signed: bytes) -> None:
    """Some viewers rebuild the index and would show them."""
    finding = examine(signed + b"\n4 0 obj\n<</Length 3>>\nstream\nabc\nendstream\nendobj\n%%EOF\n")
    assert finding.facts["tampered_after_signing"] is True


def test_a_signature_moved_to_other_bytes_does_not_cover_the_file(examine: Examine, signed: bytes) -> None:
    """The sum of the two stretches is that of the file, but they overlap and leave its end uncovered."""
    found = re.search(rb"/ByteRange \[0 (\d+) (\d+) (\d+)\]( *)", signed)
    assert found is not None
    length, second, rest = (int(found[n]) for n in (1, 2, 3))
    wrong = b"/ByteRange [0 %d %d %d]" % (length - 10, second - 20, rest + 10)
    forged = signed[: found.start()] + wrong.ljust(len(found[0])) + signed[found.end() :]
    finding = examine(forged)
    assert finding.facts["coverage"] == "UNCLEAR"
    assert finding.facts["tampered_after_signing"] is True


def test_a_prepared_but_never_signed_field_is_said_and_not_accused(examine: Examine, signed: bytes) -> None:
    found = re.search(rb"/Contents <([0-9a-fA-F]+)>", signed)
    assert found is not None
    empty = signed[: found.start(1)] + b"0" * len(found[1]) + signed[found.end(1) :]
    finding = examine(empty)
    assert finding.applicable
    assert finding.score is None
    assert "never signed" in finding.reason
    assert finding.facts["tampered_after_signing"] is False
    assert finding.facts["intact"] is False


@pytest.mark.parametrize("value", [b"00", b"zz", b"3080", b"30820fff", b"04020000"])
def test_a_signature_value_of_garbage_is_a_problem_not_a_crash(value: bytes, examine: Examine, signed: bytes) -> None:
    found = re.search(rb"/Contents <([0-9a-fA-F]+)>", signed)
    assert found is not None
    garbage = (value * len(found[1]))[: len(found[1])]
    finding = examine(signed[: found.start(1)] + garbage + signed[found.end(1) :])
    assert finding.facts["intact"] is False
    assert finding.facts["problem"]


def test_a_removed_signature_is_still_seen(examine: Examine, pdf_bench: Any, signed: bytes) -> None:
    def remove(writer: Any) -> None:
        writer.root["/AcroForm"] = generic.DictionaryObject({generic.NameObject("/Fields"): generic.ArrayObject()})
        writer.update_root()

    finding = examine(pdf_bench.updated(signed, remove))
    assert finding.facts["signatures"] == []
    assert finding.facts["signatures_without_field"][0]["bytes_unchanged"] is True
    assert finding.score is None


def test_a_pdf_without_signature_is_not_applicable(as_media: Any, pdf_bench: Any, av_bench: Any) -> None:
    detector = PdfSignatures()
    assert (
        detector.applies_to(as_media(pdf_bench.plain(), "application/pdf", MediaKind.PDF))
        == "The PDF has no signature."
    )
    assert detector.applies_to(as_media(b"", "image/png", MediaKind.IMAGE)) is not None
    reserved = as_media(pdf_bench.reserved(), "application/pdf", MediaKind.PDF)
    assert detector.examine(reserved).applicable is False


def test_it_runs_where_an_event_loop_already_runs(examine: Examine, signed: bytes) -> None:
    """A notebook cell runs inside a loop."""

    async def cell() -> Finding:
        return examine(signed)

    assert asyncio.run(cell()).facts["intact"] is True


def test_a_changed_title_and_date_are_benign(examine: Examine, pdf_bench: Any) -> None:
    def rename(writer: Any) -> None:
        info = writer.trailer["/Info"]
        info["/ModDate"] = generic.TextStringObject("D:20300101000000Z")
        writer.update_container(info)

    signed = pdf_bench.signed(pdf_bench.plain(Title="Contract"))
    assert examine(pdf_bench.updated(signed, rename)).facts["modified_after_signing_level"] == "benign"


def test_an_index_that_announces_billions_of_objects_is_not_believed(examine: Examine, pdf_bench: Any) -> None:
    with pikepdf.open(io.BytesIO(pdf_bench.plain(pages=5))) as pdf:
        packed = pdf_bench.saved(pdf, object_stream_mode=pikepdf.ObjectStreamMode.generate)
    signed = pdf_bench.signed(packed)
    assert examine(signed).facts["intact"] is True
    at = signed.rindex(b"/Index")
    finding = examine(signed[:at] + re.sub(rb"/Index ?\[[^]]*\]", b"/Index [0 2000000000]", signed[at:], count=1))
    assert finding.facts["problem"]


def test_a_small_file_with_endless_paths_is_not_followed_for_ever(
    examine: Examine, pdf_bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty arrays that each name the next one twice: 2^40 ways to the last."""
    monkeypatch.setattr(bounded_reader, "MAX_STEPS", 5000)
    with pikepdf.open(io.BytesIO(pdf_bench.plain())) as pdf:
        last = pdf.make_indirect(pikepdf.Dictionary(A=1))
        for _ in range(40):
            last = pdf.make_indirect(pikepdf.Array([last, last]))
        pdf.Root.Maze = last
        maze = pdf_bench.saved(pdf)
    signed = pdf_bench.signed(maze)
    assert examine(signed).facts["modified_after_signing_level"] == "none"
    finding = examine(pdf_bench.updated(signed, replace_page))
    assert finding.facts["signatures"][0]["digest_ok"] is True
    assert finding.facts["modified_after_signing_level"] is None
    assert "too many ways" in finding.facts["problem"]
    assert finding.score is None


def test_log_lines_of_the_library_stay_inside(
    examine: Examine, pdf_bench: Any, signed: bytes, caplog: Any, capfd: Any
) -> None:
    with caplog.at_level(logging.INFO):
        examine(pdf_bench.updated(signed, replace_page))
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("pyhanko").propagate is True


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(where=st.floats(0, 1), flip=st.integers(1, 255))
def test_no_changed_byte_in_the_signed_range_goes_unnoticed(
    where: float, flip: int, signed: bytes, as_media: Any
) -> None:
    """Either the change is called tampering, or it is said that the signature cannot be verified."""
    found = re.search(rb"/Contents <[0-9a-fA-F]+>", signed)
    assert found is not None
    at = min(int(where * len(signed)), len(signed) - 1)
    if found.start() <= at < found.end():
        at = found.start() - 1
    changed = bytearray(signed)
    changed[at] ^= flip
    media = as_media(bytes(changed), "application/pdf", MediaKind.PDF)
    finding = PdfSignatures().examine(media)
    assert finding.facts.get("tampered_after_signing") or finding.facts.get("problem") or not finding.applicable


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_no_cut_or_garbled_pdf_makes_it_fail(data: Any, signed: bytes, as_media: Any) -> None:
    start = data.draw(st.integers(0, len(signed)))
    junk = data.draw(st.binary(max_size=40))
    length = data.draw(st.integers(0, 400))
    media = as_media(signed[:start] + junk + signed[start + length :], "application/pdf", MediaKind.PDF)
    assert isinstance(PdfSignatures().examine(media), Finding)
