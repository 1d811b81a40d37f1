"""How a PDF came to be: its sections, what each of them redefined, and the dates it gives itself."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from typing import Any

import pikepdf
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from dfbatch.authenticity.detectors.bounded_reader import open_reader
from dfbatch.authenticity.media.pdf import EOF, STARTXREF, inflate

MAX_REVISIONS = 200
MAX_LISTED = 20
MAX_XMP = 1 << 20
SAME_WITHIN_S = 60.0
PDF_DATE = re.compile(r"D?:?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:(Z)|([+-])(\d\d)'?(\d\d)?)?")
XMP_NAMES = {
    "{http://ns.adobe.com/xap/1.0/}CreateDate": "created_at",
    "{http://ns.adobe.com/xap/1.0/}ModifyDate": "modified_at",
    "{http://ns.adobe.com/xap/1.0/}CreatorTool": "creator",
    "{http://ns.adobe.com/pdf/1.3/}Producer": "producer",
}
INFO_NAMES = {"/CreationDate": "created_at", "/ModDate": "modified_at", "/Creator": "creator", "/Producer": "producer"}


def section_facts(data: bytes) -> dict[str, Any]:
    """End marks and index positions, as they stand in the bytes."""
    return {
        "n_eof": data.count(EOF),
        "startxref": [int(found) for found in STARTXREF.findall(data)][-MAX_LISTED:],
        "bytes_behind_last_eof": len(data) - (data.rfind(EOF) + len(EOF)),
    }


def revision_facts(data: bytes, pdf: pikepdf.Pdf) -> dict[str, Any]:
    """``updates``: one entry for each incremental update, with how many objects it added and redefined, by kind.

    Raises what the reader raises on a damaged index.
    """
    xrefs = open_reader(data).xrefs
    # A linearized file is written in one go, but as two sections.
    written_at_once = 2 if pdf.is_linearized or b"/Linearized" in data[:2048] else 1
    known: set[tuple[int, int]] = set()
    updates = []
    for revision in range(min(xrefs.total_revisions, MAX_REVISIONS)):
        refs = {(ref.idnum, ref.generation) for ref in xrefs.explicit_refs_in_revision(revision)}
        if revision >= written_at_once:
            again = refs & known
            kinds = Counter(_kind(pdf, number, generation) for number, generation in sorted(again)[:500])
            updates.append({"added": len(refs - known), "redefined": len(again), "redefined_kinds": dict(kinds)})
        known |= refs
    return {"n_revisions": xrefs.total_revisions, "n_updates": len(updates), "updates": updates[:MAX_LISTED]}


def _kind(pdf: pikepdf.Pdf, number: int, generation: int) -> str:
    """What an object is today: its /Type and /Subtype, or the kind of value."""
    found = pdf.get_object(number, generation)
    if not isinstance(found, pikepdf.Dictionary | pikepdf.Stream):
        return str(found._type_name)
    names = [str(found.get(key, "")).strip("/") for key in ("/Type", "/Subtype")]
    return " ".join(name for name in names if name) or str(found._type_name)


def date_facts(pdf: pikepdf.Pdf) -> dict[str, Any]:
    """Dates and writers from Info and from XMP, and where the two differ."""
    info = {name: _text(pdf.docinfo.get(key)) for key, name in INFO_NAMES.items()} if "/Info" in pdf.trailer else {}
    xmp = _xmp(pdf)
    differ = [name for name in ("creator", "producer") if _differ(info.get(name), xmp.get(name))]
    differ += [name for name in ("created_at", "modified_at") if _moments_differ(info.get(name), xmp.get(name))]
    ids = [bytes(part) for part in pdf.trailer.get("/ID", [])]
    return {
        "info": {name: value for name, value in info.items() if value},
        "xmp": xmp,
        "info_and_xmp_differ": differ,
        "modified_after_creation": _later(info.get("created_at"), info.get("modified_at")),
        "id_changed": ids[0] != ids[1] if len(ids) == 2 else None,
    }


def _text(value: Any) -> str | None:
    return str(value).replace("\0", "")[:300] if value is not None else None


def _xmp(pdf: pikepdf.Pdf) -> dict[str, str]:
    stream = pdf.Root.get("/Metadata")
    if not isinstance(stream, pikepdf.Stream):
        return {}
    raw = stream.read_raw_bytes()
    packed = str(stream.get("/Filter", "")) == "/FlateDecode"
    try:
        root = ElementTree.fromstring(inflate(raw, MAX_XMP) if packed else raw[:MAX_XMP])
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError):
        return {}
    found: dict[str, str] = {}
    for element in root.iter():
        for tag, value in [(element.tag, element.text), *element.attrib.items()]:
            if tag in XMP_NAMES and value and value.strip():
                found.setdefault(XMP_NAMES[tag], value.strip()[:300])
    return found


def _differ(one: str | None, other: str | None) -> bool:
    return bool(one and other and one.strip() != other.strip())


def moment(text: str | None) -> datetime.datetime | None:
    """A PDF or ISO 8601 date; without a zone it stays naive. None if it is no date."""
    match = PDF_DATE.match(text.strip()) if text else None
    if text is None or match is None:
        return None
    try:
        if "-" in text[:8]:
            return datetime.datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
        parts = [int(part) if part else 0 for part in match.groups()[:6]]
        zone = None
        if match[7] or match[8]:
            away = datetime.timedelta(hours=int(match[9] or 0), minutes=int(match[10] or 0))
            zone = datetime.timezone(-away if match[8] == "-" else away)
        day = datetime.datetime(parts[0], max(parts[1], 1), max(parts[2], 1), tzinfo=zone)
        return day.replace(hour=parts[3], minute=parts[4], second=parts[5])
    except (ValueError, OverflowError):
        return None


def _moments_differ(one: str | None, other: str | None) -> bool:
    first, second = moment(one), moment(other)
    if first is None or second is None:
        return False
    if (first.tzinfo is None) != (second.tzinfo is None):
        # One does not say its zone: only a difference that no zone explains counts.
        apart = abs((first.replace(tzinfo=None) - second.replace(tzinfo=None)).total_seconds())
        return apart > 14 * 3600 or SAME_WITHIN_S < apart % 900 < 900 - SAME_WITHIN_S
    return abs((first - second).total_seconds()) > SAME_WITHIN_S


def _later(created: str | None, modified: str | None) -> bool | None:
    first, second = moment(created), moment(modified)
    if first is None or second is None or (first.tzinfo is None) != (second.tzinfo is None):
        return None
    return (second - first).total_seconds() > SAME_WITHIN_S
