"""PDF samples: plain, signed with pyHanko, altered after signing, and updated in benign ways."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pikepdf
from pikepdf import Array, Dictionary, Name, String
from PIL import Image
from pyhanko.keys import load_certs_from_pemder_data, load_private_key_from_pemder_data
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import SigFieldSpec
from pyhanko_certvalidator.registry import SimpleCertificateStore

from dfbatch.samples.certificates import Identity, new_identity
from dfbatch.samples.photographs import Album, camera_exif, encode_jpeg
from dfbatch.samples.sample import Sample, SampleFile

# pyHanko is typed in part; these two are not.
_objects: Any = generic
_certificate_store: Any = SimpleCertificateStore

_PAGE_WIDTH, _PAGE_HEIGHT = 595, 842
_AMOUNT, _FORGED_AMOUNT = b"1,240.00 EUR", b"9,240.00 EUR"
_NOTE_BOX = (72, 250, 420, 270)


class _Document(NamedTuple):
    """``verdict`` without a trust list, ``trusted`` (the same if None) with ours."""

    file: str
    verdict: str
    what: str
    data: bytes
    trusted: str | None = None


def document_files(album: Album, identity: Identity) -> Iterator[SampleFile]:
    """All samples of the group ``pdf``. ``identity`` is the signer in the trust list; two others are made anew."""
    plain = report(encode_jpeg(album.pixels("motorcycle_left.png"), exif=camera_exif()))
    for made in (*_signed_documents(plain), *_other_documents(plain, identity)):
        sample = Sample(made.file, "pdf", made.what, made.verdict, trusted_verdict=made.trusted)
        yield SampleFile(sample, made.data)


def _signed_documents(plain: bytes) -> Iterator[_Document]:
    """By signers whom no trust list knows."""
    workshop, customer = new_identity("Workshop"), new_identity("Customer")
    intact, clean, forged = signed(plain, workshop, "Workshop"), "no_manipulation_found", "manipulated"
    what = "The report signed by the workshop, nothing done since."
    yield _Document("pdf-signed.pdf", clean, what, intact)
    what = "The signed report with one digit of the amount changed inside the signed bytes."
    yield _Document("pdf-signed-altered.pdf", forged, what, altered(intact))
    what = "The signed report with its text replaced by an update appended after the signature."
    yield _Document("pdf-signed-replaced.pdf", forged, what, page_replaced(intact))
    what = "The signed report with a second signature, by the customer, added as the format allows."
    yield _Document("pdf-countersigned.pdf", clean, what, signed(intact, customer, "Customer"))
    what = "The signed report with its form field filled in after signing, which a signature permits."
    yield _Document("pdf-form-filled.pdf", clean, what, form_filled(intact, "Collected on 18 May."))
    what = "The signed report with a comment pinned to its margin after signing; no word of the page is touched."
    yield _Document("pdf-commented.pdf", "inconclusive", what, commented(intact, "Please call the customer."))


def _other_documents(plain: bytes, identity: Identity) -> Iterator[_Document]:
    what = "A report of one page with text, a photograph and a form field; not signed."
    yield _Document("pdf-plain.pdf", "inconclusive", what, plain)
    what = "The unsigned report saved again as an incremental update, as editors do; benign."
    yield _Document("pdf-updated.pdf", "inconclusive", what, form_filled(plain, "Please call me."))
    what = "The report signed by the signer whose anchor is in the trust list."
    trusted = signed(plain, identity, "Camera")
    yield _Document("pdf-signed-trusted.pdf", "no_manipulation_found", what, trusted, "authentic")


def report(photograph: bytes) -> bytes:
    """The unsigned page around a JPEG. Its text is not compressed: a forger needs nothing but an editor."""
    pdf = pikepdf.new()
    page = pdf.add_blank_page(page_size=(_PAGE_WIDTH, _PAGE_HEIGHT))
    font = pdf.make_indirect(Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica))
    page.Resources = Dictionary(Font=Dictionary(F1=font), XObject=Dictionary(Photo=_photo_object(pdf, photograph)))
    page.Contents = pdf.make_stream(_page_content(_AMOUNT))
    note = pdf.make_indirect(
        Dictionary(
            Type=Name.Annot,
            Subtype=Name.Widget,
            FT=Name.Tx,
            T=String("Note"),
            Rect=Array(list(_NOTE_BOX)),
            F=4,
            DA=String("/F1 11 Tf 0 g"),
            P=page.obj,
        )
    )
    page.Annots = Array([note])
    pdf.Root.AcroForm = pdf.make_indirect(
        Dictionary(Fields=Array([note]), DA=String("/F1 11 Tf 0 g"), DR=Dictionary(Font=Dictionary(F1=font)))
    )
    pdf.docinfo.Title = "Repair report 117"
    pdf.docinfo.Producer = "dfbatch samples"
    out = io.BytesIO()
    pdf.save(out, compress_streams=False, object_stream_mode=pikepdf.ObjectStreamMode.disable, deterministic_id=True)
    return out.getvalue()


def signed(data: bytes, identity: Identity, field: str) -> bytes:
    """``data`` with an invisible approval signature in a new field, appended as an update."""
    key = load_private_key_from_pemder_data(identity.key_pem, passphrase=None)
    leaf, *others = load_certs_from_pemder_data(identity.chain_pem)
    registry = _certificate_store.from_certs(others)
    out = io.BytesIO()
    # pyHanko runs an event loop of its own, and in a notebook this thread already has one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(
            signers.sign_pdf,
            IncrementalPdfFileWriter(io.BytesIO(data)),
            signers.PdfSignatureMetadata(field_name=field, md_algorithm="sha256"),
            signers.SimpleSigner(signing_cert=leaf, signing_key=key, cert_registry=registry),
            new_field_spec=SigFieldSpec(field),
            output=out,
        ).result()
    return out.getvalue()


def altered(data: bytes) -> bytes:
    """``data`` with the amount changed in place, length and offsets kept. Raises ValueError if it is not there once."""
    if data.count(_AMOUNT) != 1:
        raise ValueError("the amount is not in the document exactly once")
    return data.replace(_AMOUNT, _FORGED_AMOUNT)


def page_replaced(data: bytes) -> bytes:
    """``data`` with an update appended that gives the page another text."""
    writer = IncrementalPdfFileWriter(io.BytesIO(data))
    page = writer.root["/Pages"]["/Kids"][0]
    page["/Contents"] = writer.add_object(_objects.StreamObject(stream_data=_page_content(_FORGED_AMOUNT)))
    writer.update_container(page)
    return _written(writer)


def commented(data: bytes, text: str) -> bytes:
    """``data`` with an update appended that pins a comment, a "sticky note", to the margin of the page."""
    writer = IncrementalPdfFileWriter(io.BytesIO(data))
    page = writer.root["/Pages"]["/Kids"][0]
    note = _objects.DictionaryObject(
        {
            _objects.NameObject("/Type"): _objects.NameObject("/Annot"),
            _objects.NameObject("/Subtype"): _objects.NameObject("/Text"),
            _objects.NameObject("/Rect"): _objects.ArrayObject(
                [_objects.NumberObject(side) for side in (20, 780, 40, 800)]
            ),
            _objects.NameObject("/Contents"): _objects.TextStringObject(text),
        }
    )
    page["/Annots"].append(writer.add_object(note))
    writer.update_container(page["/Annots"])
    return _written(writer)


def form_filled(data: bytes, text: str) -> bytes:
    """``data`` with an update appended that fills in the form field, with the look of the field."""
    writer = IncrementalPdfFileWriter(io.BytesIO(data))
    form = writer.root["/AcroForm"]
    field = form["/Fields"][0]
    left, bottom, right, top = _NOTE_BOX
    shown = _objects.StreamObject(
        dict_data={
            _objects.NameObject("/Type"): _objects.NameObject("/XObject"),
            _objects.NameObject("/Subtype"): _objects.NameObject("/Form"),
            _objects.NameObject("/BBox"): _objects.ArrayObject(
                [_objects.NumberObject(side) for side in (0, 0, right - left, top - bottom)]
            ),
            _objects.NameObject("/Resources"): form["/DR"],
        },
        stream_data=b"/Tx BMC q BT /F1 11 Tf 2 6 Td (" + text.encode("ascii") + b") Tj ET Q EMC",
    )
    field["/V"] = _objects.TextStringObject(text)
    field["/AP"] = _objects.DictionaryObject({_objects.NameObject("/N"): writer.add_object(shown)})
    writer.update_container(field)
    return _written(writer)


def _written(writer: Any) -> bytes:
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _photo_object(pdf: pikepdf.Pdf, photograph: bytes) -> pikepdf.Object:
    with Image.open(io.BytesIO(photograph)) as image:
        width, height = image.size
    return pdf.make_stream(
        photograph,
        Type=Name.XObject,
        Subtype=Name.Image,
        Width=width,
        Height=height,
        ColorSpace=Name.DeviceRGB,
        BitsPerComponent=8,
        Filter=Name.DCTDecode,
    )


def _page_content(amount: bytes) -> bytes:
    lines = (
        b"Repair report 117",
        b"Motorcycle: front brake and chain replaced.",
        b"Amount due: " + amount,
    )
    text = b" ".join(b"(" + line + b") Tj T*" for line in lines)
    photo = b"q 451 0 0 304 72 420 cm /Photo Do Q\n"
    label = b"BT /F1 11 Tf 72 276 Td (Note of the customer:) Tj ET\n"
    return photo + b"BT /F1 13 Tf 20 TL 72 385 Td " + text + b" ET\n" + label
