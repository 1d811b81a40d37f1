"""The history and the inner life of a PDF, as facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pikepdf

from dfbatch.authenticity.detectors.pdf_content import active_facts, hidden_text_facts
from dfbatch.authenticity.detectors.pdf_history import date_facts, revision_facts, section_facts
from dfbatch.authenticity.detectors.quiet_loggers import quiet_loggers
from dfbatch.authenticity.detectors.raw_signatures import PARSER_ERRORS
from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.media import Media, MediaKind
from dfbatch.authenticity.media.pdf import open_pdf

Facts = dict[str, Any]


class PdfRevisions:
    """Facts: sections and updates, redefined objects, dates, scripts, attachments, invisible text.

    No score. Saving a change as an update is what editors, signers and form
    fillers do; scripts and attachments are features. ``problems`` names the parts
    that could not be read.
    """

    name = "pdf_revisions"
    version = "1"

    def applies_to(self, media: Media) -> str | None:
        return None if media.kind is MediaKind.PDF else "Only PDFs have revisions."

    def examine(self, media: Media) -> Finding:
        facts: Facts = section_facts(media.data)
        problems: list[str] = []
        with quiet_loggers("pyhanko", "pikepdf"), open_pdf(media.data) as pdf:
            facts |= {"pages": len(pdf.pages), "pdf_version": pdf.pdf_version, "linearized": pdf.is_linearized}
            for part, read in _parts(media.data, pdf).items():
                facts |= _read(part, read, problems)
        facts["problems"] = problems
        return Finding(self.name, self.version, True, _reason(facts), facts=facts)


def _parts(data: bytes, pdf: pikepdf.Pdf) -> dict[str, Callable[[], Facts]]:
    return {
        "revisions": lambda: revision_facts(data, pdf),
        "dates": lambda: date_facts(pdf),
        "active content": lambda: active_facts(pdf),
        "invisible text": lambda: hidden_text_facts(pdf),
    }


def _read(part: str, read: Callable[[], Facts], problems: list[str]) -> Facts:
    try:
        return read()
    except (pikepdf.PdfError, *PARSER_ERRORS) as error:
        problems.append(f"{part}: {' '.join(str(error).split())[:160] or type(error).__name__}")
        return {}


def _reason(facts: Facts) -> str:
    updates = facts.get("n_updates")
    notes = ["How often the PDF was updated cannot be read."] if updates is None else []
    if updates is not None:
        changed = sum(one["redefined"] for one in facts["updates"])
        notes.append(f"Updated {updates} time(s), redefining {changed} object(s)." if updates else "Written in one go.")
    if facts.get("info_and_xmp_differ"):
        notes.append(f"Its two sets of metadata differ in {', '.join(facts['info_and_xmp_differ'])}.")
    risky = [name for name in ("javascript", "launch", "embedded_files") if facts.get("active", {}).get(name)]
    if risky:
        notes.append(f"It carries {', '.join(name.replace('_', ' ') for name in risky)}.")
    if facts.get("pages_with_invisible_text"):
        why = ", as scans with recognised text have" if facts["invisible_text_over_pictures"] else ""
        notes.append(f"{len(facts['pages_with_invisible_text'])} page(s) have invisible text{why}.")
    return " ".join(notes)
