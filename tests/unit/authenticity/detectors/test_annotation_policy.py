"""Notes pinned to a signed PDF accuse nobody; whatever else comes with them still does."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pikepdf
import pytest
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers
from pyhanko.sign.fields import MDPPerm

from dfbatch.authenticity.detectors.pdf_signatures import PdfSignatures
from dfbatch.authenticity.findings import Finding, Verdict
from dfbatch.authenticity.media.media import MediaKind
from dfbatch.authenticity.verdict import judge

pytestmark = pytest.mark.integration

Name, Number, Dict, Array = (
    generic.NameObject,
    generic.NumberObject,
    generic.DictionaryObject,
    generic.ArrayObject,
)


def note(writer: Any, subtype: str = "/Text", **more: Any) -> Any:
    """A new annotation with an appearance of its own."""
    look = generic.StreamObject(
        {Name("/Subtype"): Name("/Form"), Name("/BBox"): Array(map(Number, (0, 0, 20, 20)))},
        stream_data=b"1 1 0 rg 0 0 20 20 re f",
    )
    made = Dict(
        {
            Name("/Type"): Name("/Annot"),
            Name("/Subtype"): Name(subtype),
            Name("/Rect"): Array(map(Number, (10, 10, 30, 30))),
            Name("/Contents"): generic.TextStringObject("Please check"),
            Name("/AP"): Dict({Name("/N"): writer.add_object(look)}),
        }
    )
    made.update({Name(f"/{key}"): value for key, value in more.items()})
    return writer.add_object(made)


def page_of(writer: Any) -> Any:
    return writer.root["/Pages"]["/Kids"][0]


def pin(writer: Any, subtype: str = "/Text") -> None:
    page = page_of(writer)
    listed = Array(page.get("/Annots", ()) if "/Annots" not in page else list(page["/Annots"]))
    page[Name("/Annots")] = Array([*listed, note(writer, subtype)])
    writer.update_container(page)


def replace_text(writer: Any) -> None:
    page = page_of(writer)
    page[Name("/Contents")] = writer.add_object(generic.StreamObject(stream_data=b"BT (Pay 999 EUR) Tj ET"))
    writer.update_container(page)


def overwrite_text(writer: Any) -> None:
    """The stream itself gets another value, the page still names the same object."""
    stream = page_of(writer)["/Contents"]
    stream._data, stream._encoded_data = b"BT (Pay 999 EUR) Tj ET", None
    writer.update_container(stream)


@pytest.fixture(scope="module")
def examine(as_media: Any) -> Callable[..., Finding]:
    return lambda data, **options: PdfSignatures(**options).examine(as_media(data, "application/pdf", MediaKind.PDF))


@pytest.fixture(scope="module")
def signed(pdf_bench: Any) -> bytes:
    return pdf_bench.signed()


@pytest.mark.parametrize("subtype", ["/Text", "/Highlight", "/FreeText", "/Stamp", "/Link"])
def test_an_added_annotation_is_said_and_accuses_nobody(subtype, examine, pdf_bench, signed, as_media):
    data = pdf_bench.updated(signed, lambda writer: pin(writer, subtype))
    finding = examine(data)
    assert finding.facts["modified_after_signing_level"] == "annotated"
    assert finding.facts["tampered_after_signing"] is False
    assert finding.score is None
    judgement = judge(as_media(data, "application/pdf", MediaKind.PDF), [finding])
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "Annotations were added after signing" in judgement.reasons[0]


@pytest.mark.parametrize("change", [replace_text, overwrite_text])
def test_a_note_is_no_cover_for_another_text(change, examine, pdf_bench, signed):
    def both(writer: Any) -> None:
        pin(writer)
        change(writer)

    for data in (pdf_bench.updated(signed, both), pdf_bench.updated(pdf_bench.updated(signed, pin), change)):
        assert examine(data).facts["tampered_after_signing"] is True


def test_a_note_is_no_cover_for_text_of_the_page_that_the_signature_left_open(examine, pdf_bench):
    """The signed page names an object that does not exist yet; the note brings it."""
    with pikepdf.open(io.BytesIO(pdf_bench.plain())) as pdf:
        page = pdf.pages[0].obj
        page.Contents = pikepdf.Array([page.Contents, pdf.make_stream(b"BT (later) Tj ET")])
        prepared = pdf_bench.saved(pdf, object_stream_mode=pikepdf.ObjectStreamMode.disable)
        open_number = page.Contents[1].objgen[0]
    signed = pdf_bench.signed(prepared.replace(b" %d 0 R ]" % open_number, b" 90 0 R ]"))
    assert b" 90 0 R" in signed

    def fill(writer: Any) -> None:
        pin(writer)
        shown = generic.StreamObject(stream_data=b"BT (Pay 999 EUR) Tj ET")
        reference = generic.Reference(90, 0, writer)
        writer.objects[(0, 90)] = shown
        shown.container_ref = reference
        annotation = page_of(writer)["/Annots"][-1]
        annotation["/AP"] = Dict({Name("/N"): generic.IndirectObject(90, 0, writer)})
        writer.update_container(page_of(writer))

    assert examine(pdf_bench.updated(signed, fill)).facts["tampered_after_signing"] is True


def test_a_removed_note_is_a_change_of_what_was_signed(examine, pdf_bench):
    def remove(writer: Any) -> None:
        page = page_of(writer)
        page[Name("/Annots")] = Array()
        writer.update_container(page)

    signed = pdf_bench.signed(pdf_bench.updated(pdf_bench.plain(), pin))
    assert examine(pdf_bench.updated(signed, remove)).facts["tampered_after_signing"] is True


def test_a_signer_may_forbid_notes(examine, pdf_bench):
    for permission, level in (
        (MDPPerm.NO_CHANGES, "suspicious"),
        (MDPPerm.FILL_FORMS, "suspicious"),
        (MDPPerm.ANNOTATE, "annotated"),
    ):
        certified = pdf_bench.signed(certify=True, docmdp_permissions=permission)
        finding = examine(pdf_bench.updated(certified, pin))
        assert finding.facts["modified_after_signing_level"] == level


def test_a_note_before_the_next_signature_accuses_nobody(examine, pdf_bench, signed):
    finding = examine(pdf_bench.signed(pdf_bench.updated(signed, pin), field="Sig2"))
    assert finding.facts["n_signatures"] == 2
    assert finding.facts["modified_after_signing_level"] == "annotated"
    assert finding.facts["tampered_after_signing"] is False


def test_a_note_written_together_with_the_next_signature_accuses_nobody(examine, pdf_bench, signed):
    writer = IncrementalPdfFileWriter(io.BytesIO(signed))
    pin(writer)
    field = fields.SigFieldSpec("Sig2", box=(100, 100, 150, 120))
    meta = signers.PdfSignatureMetadata(field_name="Sig2")
    data = signers.sign_pdf(writer, meta, signer=pdf_bench.signer(), new_field_spec=field).getvalue()
    finding = examine(data)
    assert finding.facts["n_signatures"] == 2
    assert finding.facts["modified_after_signing_level"] == "annotated"


def test_a_text_field_slipped_in_as_a_note_is_suspicious(examine, pdf_bench, signed):
    def add_field(writer: Any) -> None:
        page = page_of(writer)
        field = note(writer, "/Widget", FT=Name("/Tx"), T=generic.TextStringObject("amount"))
        page[Name("/Annots")] = Array([*page["/Annots"], field])
        writer.update_container(page)

    assert examine(pdf_bench.updated(signed, add_field)).facts["tampered_after_signing"] is True
