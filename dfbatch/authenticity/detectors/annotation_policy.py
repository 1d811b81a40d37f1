"""Tells comments that were added to a signed PDF from changes of what was signed.

The standard policy of pyhanko calls every new annotation suspicious. Readers and
reviewers pin notes to signed documents all the time, so an addition that is
nothing but annotations gets a level of its own here. It is not benign either: an
annotation can be drawn over what was signed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.misc import PdfReadError
from pyhanko.pdf_utils.reader import HistoricalResolver, PdfFileReader, RawPdfPath
from pyhanko.sign.diff_analysis import (
    DEFAULT_DIFF_POLICY,
    DiffPolicy,
    DiffResult,
    FormUpdatingRule,
    GenericFieldModificationRule,
    ModificationLevel,
    QualifiedWhitelistRule,
    ReferenceUpdate,
    SigFieldCreationRule,
    SigFieldModificationRule,
    StandardDiffPolicy,
    SuspiciousModification,
)
from pyhanko.sign.diff_analysis.rules_api import RelativeContext
from pyhanko.sign.fields import FieldMDPSpec, MDPPerm

from dfbatch.authenticity.detectors.raw_signatures import PARSER_ERRORS

Update = tuple[ModificationLevel, ReferenceUpdate]
MAX_DEPTH = 50
MAX_ANNOTATIONS = 2000


class AddedAnnotations(QualifiedWhitelistRule):
    """Clears pages to which annotations were added and nothing else was done, at the level ANNOTATIONS.

    Form fields are annotations too; they stay the affair of the rules for forms.
    """

    def apply_qualified(self, old: HistoricalResolver, new: HistoricalResolver) -> Iterator[Update]:
        """What the additions between the two revisions explain. Raises SuspiciousModification, PdfReadError."""
        yield from self._tree(old, new, old.root.raw_get("/Pages"), 0)

    def _tree(self, old: HistoricalResolver, new: HistoricalResolver, node: Any, depth: int) -> Iterator[Update]:
        if depth > MAX_DEPTH:
            raise PdfReadError("The page tree is too deep")
        before, after = old(node.reference), new(node.reference)
        if before.get("/Type") == "/Page":
            yield from self._page(old, new, node.reference)
            return
        kids = list(before["/Kids"])
        if list(after["/Kids"]) != kids:
            raise SuspiciousModification("Pages were added, removed or moved")
        for kid in kids:
            yield from self._tree(old, new, kid, depth + 1)

    def _page(self, old: HistoricalResolver, new: HistoricalResolver, page: Any) -> Iterator[Update]:
        before, after = old(page), new(page)
        kept, found = _annotations(before), _annotations(after)
        if kept == found:
            return
        if [one for one in found if one in kept] != kept:
            raise SuspiciousModification("Annotations were removed or moved")
        if {key: before.raw_get(key) for key in before if key != "/Annots"} != {
            key: after.raw_get(key) for key in after if key != "/Annots"
        }:
            raise SuspiciousModification("A page was changed beyond its annotations")
        yield ModificationLevel.ANNOTATIONS, ReferenceUpdate(page)
        # Bound to this place: an object that the signed revision already names elsewhere is not cleared there.
        here = RelativeContext(page, RawPdfPath("/Annots"))
        listed = after.raw_get("/Annots")
        refs = {listed.reference} if isinstance(listed, generic.IndirectObject) else set()
        for one in found:
            if one not in kept and not _is_form_field(new, one):
                refs |= set(_new_objects(old, new, one, set(), 0))
        for ref in refs:
            yield ModificationLevel.ANNOTATIONS, ReferenceUpdate(ref, context_checked=here)


def _annotations(page: Any) -> list[Any]:
    listed = list(page["/Annots"]) if "/Annots" in page else []
    if len(listed) > MAX_ANNOTATIONS:
        raise PdfReadError("A page has too many annotations to be compared")
    return listed


def _is_form_field(new: HistoricalResolver, thing: Any) -> bool:
    held = new(thing.reference) if isinstance(thing, generic.IndirectObject) else thing
    return not isinstance(held, generic.DictionaryObject) or held.get("/Subtype") == "/Widget"


def _new_objects(old: HistoricalResolver, new: HistoricalResolver, thing: Any, seen: set[Any], depth: int) -> set[Any]:
    """``seen`` and the objects that ``thing`` brought with it; those that were there before end the search."""
    if depth > MAX_DEPTH:
        raise PdfReadError("An annotation is nested too deep")
    if isinstance(thing, generic.IndirectObject):
        if thing.reference in seen or not old.is_ref_unassignable(thing.reference):
            return seen
        seen.add(thing.reference)
        thing = new(thing.reference)
    if isinstance(thing, generic.DictionaryObject):
        for key in thing:
            _new_objects(old, new, thing.raw_get(key), seen, depth + 1)
    elif isinstance(thing, generic.ArrayObject):
        for at in range(len(thing)):
            _new_objects(old, new, thing.raw_get(at), seen, depth + 1)
    return seen


class AnnotationPolicy(DiffPolicy):
    """The standard policy, and where that is not content, the standard policy with annotations allowed."""

    def __init__(self) -> None:
        # Where a new signature and a new note share a page, the rule above speaks for the page.
        create: Any = SigFieldCreationRule  # untyped in pyhanko
        fields = [
            create(approve_widget_bindings=False),
            SigFieldModificationRule(),
            GenericFieldModificationRule(),
        ]
        rules = [*DEFAULT_DIFF_POLICY.global_rules, AddedAnnotations()]
        self._tolerant = StandardDiffPolicy(global_rules=rules, form_rule=FormUpdatingRule(field_rules=fields))

    def review_file(
        self,
        reader: PdfFileReader,
        base_revision: int | HistoricalResolver,
        field_mdp_spec: FieldMDPSpec | None = None,
        doc_mdp: MDPPerm | None = None,
    ) -> DiffResult | SuspiciousModification:
        """The level of all changes since ``base_revision``, or what is suspicious about them."""
        strict = DEFAULT_DIFF_POLICY.review_file(reader, base_revision, field_mdp_spec, doc_mdp)
        if isinstance(strict, DiffResult):
            return strict
        base = base_revision if isinstance(base_revision, int) else base_revision.revision
        level, changed = ModificationLevel.NONE, set[str]()
        try:
            # Step by step: a note of one revision is known to the next.
            for revision in range(base + 1, reader.xrefs.total_revisions):
                before, after = (reader.get_historical_resolver(at) for at in (revision - 1, revision))
                found = self._tolerant.apply(before, after, field_mdp_spec, doc_mdp)
                level, changed = max(level, found.modification_level), changed | found.changed_form_fields
        except PARSER_ERRORS:  # a SuspiciousModification among them
            return strict
        return DiffResult(level, changed)
