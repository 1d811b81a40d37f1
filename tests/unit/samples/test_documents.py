from __future__ import annotations

import asyncio
import io
import logging

import pikepdf
import pytest
from pyhanko.keys import load_certs_from_pemder_data
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import ModificationLevel, SuspiciousModification
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko.sign.validation.status import SignatureCoverageLevel
from pyhanko_certvalidator import ValidationContext

from dfbatch.samples import SampleSet
from dfbatch.samples.certificates import new_identity
from dfbatch.samples.documents import altered, signed

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _quiet():
    """PyHanko logs a traceback for every certificate without an anchor, and ours have none."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


def _statuses(made: SampleSet, file: str, *, trusted: bool = False) -> list:
    anchors = list(load_certs_from_pemder_data(made.trust_list.read_bytes())) if trusted else []
    with made.path(file).open("rb") as opened:
        signatures = PdfFileReader(opened).embedded_signatures
        context = ValidationContext(trust_roots=anchors, allow_fetching=False)
        return [validate_pdf_signature(signature, context) for signature in signatures]


def _text(made: SampleSet, file: str) -> bytes:
    with pikepdf.open(made.path(file)) as pdf:
        return pdf.pages[0].Contents.read_bytes()


def test_the_signed_report_is_intact_and_covered_to_its_end(made: SampleSet):
    (status,) = _statuses(made, "pdf-signed.pdf")
    assert status.intact
    assert status.valid
    assert status.coverage == SignatureCoverageLevel.ENTIRE_FILE


@pytest.mark.parametrize(("file", "trusted"), [("pdf-signed-trusted.pdf", True), ("pdf-signed.pdf", False)])
def test_the_trust_list_vouches_for_one_signer_of_reports_only(made: SampleSet, file, trusted):
    (status,) = _statuses(made, file, trusted=True)
    assert status.intact
    assert status.trusted is trusted


def test_the_altered_report_shows_another_amount_and_fails_its_digest(made: SampleSet):
    (status,) = _statuses(made, "pdf-signed-altered.pdf")
    assert not status.intact
    assert b"9,240.00" in _text(made, "pdf-signed-altered.pdf")
    assert made.path("pdf-signed-altered.pdf").stat().st_size == made.path("pdf-signed.pdf").stat().st_size


def test_the_replaced_report_keeps_the_signed_bytes_and_is_a_suspicious_update(made: SampleSet):
    (status,) = _statuses(made, "pdf-signed-replaced.pdf")
    assert status.intact
    assert isinstance(status.diff_result, SuspiciousModification)
    assert b"9,240.00" in _text(made, "pdf-signed-replaced.pdf")
    replaced, signed = (made.path(f"pdf-signed{word}.pdf").read_bytes() for word in ("-replaced", ""))
    assert replaced.startswith(signed)


@pytest.mark.parametrize(("file", "signatures"), [("pdf-countersigned.pdf", 2), ("pdf-form-filled.pdf", 1)])
def test_benign_updates_after_signing_are_allowed_by_the_standard_policy(made: SampleSet, file, signatures):
    statuses = _statuses(made, file)
    assert len(statuses) == signatures
    assert all(status.intact and status.valid and status.docmdp_ok for status in statuses)
    assert statuses[0].modification_level == ModificationLevel.FORM_FILLING


def test_the_commented_report_shows_the_same_page_and_one_more_annotation(made: SampleSet):
    assert _text(made, "pdf-commented.pdf") == _text(made, "pdf-signed.pdf")
    with pikepdf.open(made.path("pdf-commented.pdf")) as pdf:
        assert [str(one.Subtype) for one in pdf.pages[0].Annots][-1] == "/Text"


def test_a_report_can_be_signed_where_an_event_loop_runs():
    """As in the cell of a notebook."""

    async def cell() -> bytes:
        pdf = pikepdf.new()
        pdf.add_blank_page()
        out = io.BytesIO()
        pdf.save(out)
        return signed(out.getvalue(), new_identity("Cell"), "Signature")

    assert b"/ByteRange" in asyncio.run(cell())


@pytest.mark.parametrize(("file", "revisions"), [("pdf-plain.pdf", 1), ("pdf-updated.pdf", 2)])
def test_unsigned_reports_have_their_revisions_and_no_signature(made: SampleSet, file, revisions):
    with made.path(file).open("rb") as opened:
        reader = PdfFileReader(opened)
        assert reader.xrefs.total_revisions == revisions
        assert reader.embedded_signatures == []


def test_the_form_field_shows_what_was_filled_in(made: SampleSet):
    with pikepdf.open(made.path("pdf-form-filled.pdf")) as pdf:
        field = pdf.Root.AcroForm.Fields[0]
        assert str(field.V) == "Collected on 18 May."
        assert b"Collected on 18 May." in field.AP.N.read_bytes()


def test_every_report_opens_in_another_library_and_shows_its_photograph(made: SampleSet):
    for sample in made:
        if sample.kind == "pdf":
            with pikepdf.open(made.path(sample)) as pdf:
                image = pikepdf.PdfImage(pdf.pages[0].Resources.XObject.Photo)
                assert image.as_pil_image().size == (741, 500), sample.file


def test_a_document_without_the_amount_is_not_altered():
    with pytest.raises(ValueError, match="exactly once"):
        altered(b"%PDF-1.7 nothing")
