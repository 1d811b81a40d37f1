"""PDF samples: plain, signed with pyHanko, altered after signing, and updated in benign ways."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

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


def document_files(album: Album, identity: Identity) -> Iterator[SampleFile]:
    """All samples of the group ``pdf``. ``identity`` is the signer in the trust list; two others are made anew."""
    workshop, customer = new_identity("Workshop"), new_identity("Customer")
    plain = report(encode_jpeg(album.pixels("motorcycle_left.png"), exif=camera_exif()))
    intact = signed(plain, workshop, "Workshop")
    clean, forged, unknown = "no_manipulation_found", "manipulated", "inconclusive"
    for file, verdict, what, data in (
        ("pdf-plain.pdf", unknown, "A report of one page with text, a photograph and a form field; not signed.", plain),
        ("pdf-signed.pdf", clean, "The report signed by the workshop, nothing done since.", intact),
        (
            "pdf-signed-altered.pdf",
            forged,
            "The signed report with one digit of the amount changed inside the signed bytes.",
            altered(intact),
        ),
        (
            "pdf-signed-replaced.pdf",
            forged,
            "The signed report with its text replaced by an update appended after the signature.",
            page_replaced(intact),
        ),
        (
            "pdf-countersigned.pdf",
            clean,
            "The signed report with a second signature, by the customer, added as the format allows.",
            signed(intact, customer, "Customer"),
        ),
        (
            "pdf-form-filled.pdf",
            clean,
            "The signed report with its form field filled in after signing, which a signature permits.",
            form_filled(intact, "Collected on 18 May."),
        ),
        (
            "pdf-updated.pdf",
            unknown,
            "The unsigned report saved again as an incremental update, as editors do; benign.",
            form_filled(plain, "Please call me."),
        ),
    ):
        yield SampleFile(Sample(file, "pdf", what, verdict), data)
    what = "The report signed by the signer whose anchor is in the trust list."
    trusted = Sample("pdf-signed-trusted.pdf", "pdf", what, clean, trusted_verdict="authentic")
    yield SampleFile(trusted, signed(plain, identity, "Camera"))


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
    signers.sign_pdf(
        IncrementalPdfFileWriter(io.BytesIO(data)),
        signers.PdfSignatureMetadata(field_name=field, md_algorithm="sha256"),
        signers.SimpleSigner(signing_cert=leaf, signing_key=key, cert_registry=registry),
        new_field_spec=SigFieldSpec(field),
        output=out,
    )
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
