"""What the metadata itself says of AI. Unsigned: a declaration is believed, its absence says nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from dfbatch.authenticity.detectors.digital_source import (
    CAPTURED,
    EDITED_WITH_AI,
    GENERATED,
    AiUse,
    source_term,
)
from dfbatch.authenticity.detectors.generator_texts import (
    Declaration,
    declared_in_texts,
    labelled_aigc,
    settings_in,
    tool_use,
)
from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.exif import printable, read_exif, user_comment
from dfbatch.authenticity.media.media import Media
from dfbatch.authenticity.media.metadata import METADATA_TYPES, Metadata, read_metadata
from dfbatch.authenticity.media.xmp import (
    EXIF_IN_XMP,
    IPTC_EXTENSION,
    PHOTOSHOP,
    TC260,
    XMP_BASIC,
    Properties,
    XmpUnreadable,
    read_xmp,
)

_SOFTWARE = 0x0131
_SOURCE_TYPES = (f"{IPTC_EXTENSION}DigitalSourceType", f"{IPTC_EXTENSION}DigitalSourcefileType")
_TOOLS = ((f"{XMP_BASIC}CreatorTool", "XMP CreatorTool"), (f"{PHOTOSHOP}Credit", "XMP Credit"))


class DeclaredAi:
    """IPTC source types in XMP, settings that generators write, and the names of tools that only generate.

    Captions and descriptions are never searched for names: a photograph may speak of
    a generator. Facts: ``ai`` (an AiUse), ``ai_declared``, ``declarations`` (use, where,
    text), ``source_types``, ``problem``.
    """

    name = "declared_ai"
    version = "1"

    def applies_to(self, media: Media) -> str | None:
        if media.media_type not in METADATA_TYPES:
            return f"The metadata of {media.media_type} files is not searched for declarations."
        return None

    def examine(self, media: Media) -> Finding:
        metadata = read_metadata(media)
        if not metadata:
            reason = "The file has no metadata that could declare AI."
            return Finding(self.name, self.version, False, reason, facts={"ai": AiUse.NONE.value, "ai_declared": False})
        properties, problem = _properties(metadata)
        terms = [source_term(value) for name in _SOURCE_TYPES for value in properties.get(name, ())]
        declarations = list(dict.fromkeys(_declarations(metadata, properties, terms)))
        use = _strongest(declarations, terms)
        facts = {
            "ai": use.value,
            "ai_declared": use is AiUse.GENERATED,
            "declarations": [asdict(declaration) for declaration in declarations[:50]],
            "source_types": [printable(term, 100) for term in terms],
            "captured": bool(set(terms) & CAPTURED),
            "problem": problem,
        }
        return Finding(self.name, self.version, True, _sentence(use, declarations, problem), facts=facts)


def _properties(metadata: Metadata) -> tuple[Properties, str | None]:
    try:
        return (read_xmp(metadata.xmp) if metadata.xmp else {}), None
    except XmpUnreadable as error:
        return {}, str(error)


def _declarations(metadata: Metadata, properties: Properties, terms: list[str]) -> Iterator[Declaration]:
    for term in terms:
        if term in GENERATED | EDITED_WITH_AI:
            use = AiUse.GENERATED if term in GENERATED else AiUse.EDITED
            yield Declaration(use, "XMP DigitalSourceType", term)
    yield from _in_xmp(properties)
    yield from declared_in_texts(metadata.texts)
    exif = read_exif(metadata.exif)
    software = exif.text(_SOFTWARE)
    if software and tool_use(software) is not AiUse.NONE:
        yield Declaration(tool_use(software), "EXIF Software", software[:100])
    comment = user_comment(exif)
    if comment:
        yield from settings_in(comment, "EXIF UserComment")


def _in_xmp(properties: Properties) -> Iterator[Declaration]:
    for name, where in _TOOLS:
        for value in properties.get(name, ()):
            if tool_use(value) is not AiUse.NONE:
                yield Declaration(tool_use(value), where, printable(value, 100))
    for value in properties.get(f"{IPTC_EXTENSION}AISystemUsed", ()):
        if value.strip():
            yield Declaration(AiUse.GENERATED, "XMP AISystemUsed", printable(value, 100))
    for value in properties.get(f"{EXIF_IN_XMP}UserComment", ()):
        yield from settings_in(value, "XMP UserComment")
    for value in properties.get(f"{TC260}AIGC", ()):
        yield from labelled_aigc(value, "XMP AIGC")


def _strongest(declarations: list[Declaration], terms: list[str]) -> AiUse:
    """The source type, where it speaks of AI, tells more exactly than the name of a tool that can do both."""
    exact = [one for one in declarations if one.where == "XMP DigitalSourceType" or "settings" in one.text]
    for group in (exact, declarations):
        uses = {one.use for one in group}
        if uses:
            return AiUse.GENERATED if AiUse.GENERATED in uses else AiUse.EDITED
    return AiUse.NONE


def _sentence(use: AiUse, declarations: list[Declaration], problem: str | None) -> str:
    if use is AiUse.NONE:
        return problem or "Nothing in the metadata declares AI; that proves nothing."
    first = next(one for one in declarations if one.use is use)
    verb = "was made" if use is AiUse.GENERATED else "was edited"
    return f"The metadata says that the item {verb} with AI ({first.where}: {first.text})."
