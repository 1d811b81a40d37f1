"""What a PDF does and hides: scripts, actions, attachments, text that is not shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pikepdf

from dfbatch.authenticity.media.pdf import inflate

MAX_OBJECTS = 50_000
MAX_PAGES = 50
MAX_CONTENT = 4 << 20
MAX_DEPTH = 6
ACTIONS = {
    "/JavaScript": "javascript",
    "/Launch": "launch",
    "/SubmitForm": "submit_form",
    "/ImportData": "import_data",
    "/GoToR": "goto_remote",
    "/GoToE": "goto_embedded",
    "/URI": "links",
    "/Rendition": "media",
}
KEYS = {"/AA": "additional_actions", "/XFA": "xfa_forms", "/RichMedia": "media", "/EF": "embedded_files"}
WORTH_A_LOOK = re.compile(
    rb"/(?:JavaScript|Launch|SubmitForm|ImportData|GoToR|GoToE|URI|Rendition|AA|XFA|RichMedia|EF)\b"
)
INVISIBLE = re.compile(rb"(?<![\d.])3\s+Tr\b")
SHOWING = frozenset({"Tj", "TJ", "'", '"'})


def active_facts(pdf: pikepdf.Pdf) -> dict[str, Any]:
    """How many scripts, actions, attachments there are; zero counts are left out."""
    counts: Counter[str] = Counter()
    annotations: Counter[str] = Counter()
    scanned = 0
    for thing in pdf.objects:
        scanned += 1
        if scanned > MAX_OBJECTS:
            break
        if not isinstance(thing, pikepdf.Dictionary | pikepdf.Stream | pikepdf.Array):
            continue
        held = thing.stream_dict if isinstance(thing, pikepdf.Stream) else thing
        if WORTH_A_LOOK.search(held.unparse(resolved=True)):
            counts.update(_named(held, 0))
        if isinstance(held, pikepdf.Dictionary) and str(held.get("/Type", "")) == "/Annot":
            annotations[str(held.get("/Subtype", "")).strip("/")] += 1
    return {
        "open_action": "/OpenAction" in pdf.Root,
        "active": dict(counts),
        "annotations": dict(annotations),
        "all_objects_seen": scanned <= MAX_OBJECTS,
        "encrypted": pdf.is_encrypted,
    }


def _named(thing: Any, depth: int) -> Iterator[str]:
    """Names of the actions and features in ``thing`` and in what it holds directly."""
    if depth > MAX_DEPTH:
        return
    if isinstance(thing, pikepdf.Array):
        for held in list(thing):
            if not getattr(held, "is_indirect", False):
                yield from _named(held, depth + 1)
    if not isinstance(thing, pikepdf.Dictionary):
        return
    action = str(thing.get("/S", ""))
    if action in ACTIONS:
        yield ACTIONS[action]
    for key, held in thing.items():
        if key in KEYS:
            yield KEYS[key]
        if not getattr(held, "is_indirect", False):
            yield from _named(held, depth + 1)


def hidden_text_facts(pdf: pikepdf.Pdf) -> dict[str, Any]:
    """Pages with text in the invisible render mode. A scan with recognised text has it on every page."""
    hidden, pictures = [], 0
    for index, page in enumerate(pdf.pages):
        if index >= MAX_PAGES:
            break
        if _shows_invisibly(pdf, page):
            hidden.append(index + 1)
            pictures += _has_picture(page)
    return {
        "pages_examined": min(len(pdf.pages), MAX_PAGES),
        "pages_with_invisible_text": hidden,
        "invisible_text_over_pictures": bool(hidden) and pictures == len(hidden),
    }


def _shows_invisibly(pdf: pikepdf.Pdf, page: pikepdf.Page) -> bool:
    content = b"\n".join(_content(page))[:MAX_CONTENT]
    if not INVISIBLE.search(content):
        return False
    mode, saved = 0, []
    for instruction in pikepdf.parse_content_stream(pdf.make_stream(content)):
        name, operands = str(instruction.operator), instruction.operands
        if name == "q":
            saved.append(mode)
        elif name == "Q" and saved:
            mode = saved.pop()
        elif name == "Tr" and operands:
            mode = int(operands[0])
        elif name in SHOWING and mode == 3:
            return True
    return False


def _has_picture(page: pikepdf.Page) -> bool:
    drawn = page.resources.get("/XObject", pikepdf.Dictionary())
    return any(str(thing.get("/Subtype", "")) == "/Image" for thing in dict(drawn.items()).values())


def _content(page: pikepdf.Page) -> Iterator[bytes]:
    """The drawing operators of a page, unpacked only so far as MAX_CONTENT."""
    held = page.obj.get("/Contents")
    streams = list(held)[:1000] if isinstance(held, pikepdf.Array) else [held]
    for stream in streams:
        if not isinstance(stream, pikepdf.Stream):
            continue
        packing = stream.get("/Filter")
        names = [str(name) for name in packing] if isinstance(packing, pikepdf.Array) else [str(packing or "")]
        if names == ["/FlateDecode"]:
            yield inflate(stream.read_raw_bytes(), MAX_CONTENT)
        elif names in ([""], []):
            yield stream.read_raw_bytes()[:MAX_CONTENT]
