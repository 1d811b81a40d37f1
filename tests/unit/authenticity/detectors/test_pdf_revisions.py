"""The history of a PDF is told as facts: an update alone is everyday."""

from __future__ import annotations

import datetime
import io
from collections.abc import Callable
from typing import Any

import pikepdf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pikepdf import Array, Dictionary, Name, String
from pyhanko.pdf_utils import generic

from dfbatch.authenticity.detectors.pdf_history import moment
from dfbatch.authenticity.detectors.pdf_revisions import PdfRevisions
from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.media import MediaKind
from dfbatch.errors import MediaError

pytestmark = pytest.mark.integration

Examine = Callable[..., Finding]


@pytest.fixture(scope="module")
def examine(as_media: Any) -> Examine:
    def run(data: bytes) -> Finding:
        detector, media = PdfRevisions(), as_media(data, "application/pdf", MediaKind.PDF)
        assert detector.applies_to(media) is None
        finding = detector.examine(media)
        assert finding.score is None
        return finding

    return run


@pytest.fixture(scope="module")
def changed(pdf_bench: Any) -> Callable[[Callable[[pikepdf.Pdf], None]], bytes]:
    """``changed(edit)``: a plain PDF written anew after ``edit(pdf)``."""

    def make(edit: Callable[[pikepdf.Pdf], None]) -> bytes:
        with pikepdf.open(io.BytesIO(pdf_bench.plain())) as pdf:
            edit(pdf)
            return pdf_bench.saved(pdf)

    return make


def new_content(writer: Any) -> None:
    page = writer.root["/Pages"]["/Kids"][0]
    stream = writer.add_object(generic.StreamObject(stream_data=b"BT ET"))
    page["/Contents"] = stream
    writer.update_container(page)


def test_a_pdf_written_in_one_go_has_no_updates(examine: Examine, pdf_bench: Any) -> None:
    finding = examine(pdf_bench.plain(pages=2))
    expected = {"n_eof": 1, "n_revisions": 1, "n_updates": 0, "updates": [], "pages": 2, "linearized": False}
    expected |= {"active": {}, "pages_with_invisible_text": [], "problems": [], "encrypted": False}
    assert {key: finding.facts[key] for key in expected} == expected
    assert finding.reason == "Written in one go."


def test_an_update_says_what_it_added_and_redefined(examine: Examine, pdf_bench: Any) -> None:
    finding = examine(pdf_bench.updated(pdf_bench.plain(), new_content))
    assert finding.facts["n_eof"] == 2
    assert finding.facts["n_updates"] == 1
    assert len(finding.facts["startxref"]) == 2
    assert finding.facts["updates"][0]["redefined_kinds"]["Page"] == 1
    assert finding.facts["updates"][0]["added"] >= 1
    assert finding.facts["id_changed"] is True


def test_a_linearized_pdf_has_two_sections_and_no_update(examine: Examine, pdf_bench: Any) -> None:
    with pikepdf.open(io.BytesIO(pdf_bench.plain(pages=3))) as pdf:
        linear = pdf_bench.saved(pdf, linearize=True)
    finding = examine(linear)
    assert (finding.facts["n_eof"], finding.facts["n_updates"], finding.facts["linearized"]) == (2, 0, True)
    assert examine(pdf_bench.updated(linear, new_content)).facts["n_updates"] == 1


def test_signatures_are_updates(examine: Examine, pdf_bench: Any) -> None:
    assert examine(pdf_bench.signed(pdf_bench.signed(), field="Sig2")).facts["n_updates"] == 2


def test_dates_and_writers_that_differ_are_named(examine: Examine, changed: Any) -> None:
    def edit(pdf: pikepdf.Pdf) -> None:
        pdf.docinfo["/Producer"] = "Scanner 3"
        pdf.docinfo["/CreationDate"] = "D:20240102030405+01'00'"
        pdf.docinfo["/ModDate"] = "D:20240302030405+01'00'"
        with pdf.open_metadata(set_pikepdf_as_editor=False, update_docinfo=False) as xmp:
            xmp["pdf:Producer"] = "Editor 9"
            xmp["xmp:CreateDate"] = "2024-01-02T02:04:05+00:00"
            xmp["xmp:ModifyDate"] = "2025-03-02T02:04:05Z"

    facts = examine(changed(edit)).facts
    assert facts["info"]["producer"] == "Scanner 3"
    assert facts["xmp"]["producer"] == "Editor 9"
    assert facts["info_and_xmp_differ"] == ["producer", "modified_at"]
    assert facts["modified_after_creation"] is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("D:20240102030405Z", datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)),
        ("D:20240102030405+01'00'", datetime.datetime(2024, 1, 2, 2, 4, 5, tzinfo=datetime.UTC)),
        ("2024-01-02T03:04:05-05:00", datetime.datetime(2024, 1, 2, 8, 4, 5, tzinfo=datetime.UTC)),
        ("D:2024", datetime.datetime(2024, 1, 1)),  # noqa: DTZ001 -- the date has no zone, and that is the point
        ("D:20241399", None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_dates_are_read_in_both_spellings(text: str | None, expected: datetime.datetime | None) -> None:
    assert moment(text) == expected


def add_script(pdf: pikepdf.Pdf) -> None:
    pdf.Root.OpenAction = Dictionary(S=Name.JavaScript, JS=String("app.alert(1)"))


def add_launch(pdf: pikepdf.Pdf) -> None:
    action = Dictionary(S=Name.Launch, F=String("run.exe"))
    pdf.pages[0].obj.Annots = Array([pdf.make_indirect(Dictionary(Type=Name.Annot, Subtype=Name.Link, A=action))])


def add_attachment(pdf: pikepdf.Pdf) -> None:
    pdf.attachments["note.txt"] = b"hello"


@pytest.mark.parametrize(
    ("edit", "name"), [(add_script, "javascript"), (add_launch, "launch"), (add_attachment, "embedded_files")]
)
def test_scripts_actions_and_attachments_are_counted(edit: Any, name: str, examine: Examine, changed: Any) -> None:
    finding = examine(changed(edit))
    assert finding.facts["active"] == {name: 1}
    assert finding.facts["open_action"] is (edit is add_script)
    assert name.replace("_", " ") in finding.reason


def test_a_text_that_only_mentions_a_script_is_none(examine: Examine, pdf_bench: Any) -> None:
    assert examine(pdf_bench.plain(Title="How /JavaScript and /Launch work")).facts["active"] == {}


@pytest.mark.parametrize(
    ("content", "hidden"),
    [
        (b"BT /F1 12 Tf 3 Tr (secret) Tj ET", True),
        (b"BT 3 Tr ET q BT (secret) Tj ET Q", True),  # the mode outlives the text object
        (b"q BT 3 Tr ET Q BT (shown) Tj ET", False),  # and is restored with the rest
        (b"BT 3 Tr 0 Tr (shown) Tj ET", False),
        (b"BT 3 Tr ET", False),
        (b"BT (3 Tr) Tj ET", False),
        (b"BT 13 Tr ( ) Tj ET", False),
    ],
)
def test_invisible_text(content: bytes, hidden: bool, examine: Examine, changed: Any) -> None:
    def edit(pdf: pikepdf.Pdf) -> None:
        pdf.pages[0].obj.Contents = pdf.make_stream(content)

    facts = examine(changed(edit)).facts
    assert facts["pages_with_invisible_text"] == ([1] if hidden else [])
    assert facts["invisible_text_over_pictures"] is False


def test_invisible_text_over_a_scan_is_told_apart(examine: Examine, changed: Any) -> None:
    def edit(pdf: pikepdf.Pdf) -> None:
        image = pdf.make_stream(bytes(4), Type=Name.XObject, Subtype=Name.Image, Width=2, Height=2)
        pdf.pages[0].obj.Resources.XObject = Dictionary(Im0=image)
        pdf.pages[0].obj.Contents = pdf.make_stream(b"q /Im0 Do Q BT 3 Tr (words) Tj ET")

    finding = examine(changed(edit))
    assert finding.facts["invisible_text_over_pictures"] is True
    assert "scans" in finding.reason


def test_xml_with_entities_is_not_expanded(examine: Examine, changed: Any) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'

    def edit(pdf: pikepdf.Pdf) -> None:
        pdf.Root.Metadata = pdf.make_stream(bomb, Type=Name.Metadata, Subtype=Name.XML)

    assert examine(changed(edit)).facts["xmp"] == {}


def test_an_encrypted_pdf_that_opens_is_examined(examine: Examine, pdf_bench: Any) -> None:
    with pikepdf.open(io.BytesIO(pdf_bench.plain())) as pdf:
        locked = pdf_bench.saved(pdf, encryption=pikepdf.Encryption(owner="x", user=""))
    assert examine(locked).facts["encrypted"] is True


def test_it_applies_to_pdfs_only(as_media: Any) -> None:
    assert PdfRevisions().applies_to(as_media(b"", "image/png", MediaKind.IMAGE)) is not None


@given(start=st.floats(0, 1), length=st.integers(0, 60), junk=st.binary(max_size=40))
def test_garbled_pdfs_give_a_finding_or_a_media_error(
    start: float, length: int, junk: bytes, whole: bytes, as_media: Any
) -> None:
    at = int(start * len(whole))
    media = as_media(whole[:at] + junk + whole[at + length :], "application/pdf", MediaKind.PDF)
    try:
        found: Any = PdfRevisions().examine(media)
    except MediaError as error:
        found = error
    assert isinstance(found, Finding | MediaError)


@pytest.fixture(scope="module")
def whole(pdf_bench: Any) -> bytes:
    return pdf_bench.updated(pdf_bench.plain(pages=2, Title="x"), new_content)
