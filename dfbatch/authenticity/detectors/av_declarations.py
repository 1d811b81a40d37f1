"""Tags in which a video or sound file declares itself that AI made it. A declaration, not a proof."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dfbatch.authenticity.detectors.digital_source import EDITED_WITH_AI, GENERATED, source_term
from dfbatch.authenticity.media.xmp import IPTC_EXTENSION, XmpUnreadable, read_xmp

GENERATORS = (
    r"OpenAI|Sora|Runway(?:ML)?|Pika(?: ?Labs)?|Kling(?: ?AI)?|Veo(?: ?\d)?|Luma(?: Dream Machine)?|Hailuo|MiniMax|"
    r"Stable Video Diffusion|Stable Diffusion|AnimateDiff|ComfyUI|Midjourney|Adobe Firefly|DALL-?E|Synthesia|HeyGen|"
    r"D-ID|ElevenLabs|Suno|Udio|Resemble AI|Play\.ht|Vidu|Wan ?2\.\d|CogVideoX?|HunyuanVideo|LTX-?Video"
)
# Many of these are ordinary words, so they count only where a program names itself: at the start of such a tag.
NAMED = re.compile(rf"(?i)\s*(?:{GENERATORS})\b")
MADE_WITH = re.compile(rf"(?i)\s*(?:made|generated|created|produced)\s+(?:with|by|using|in)\s+(?:{GENERATORS})\b")
SOFTWARE_KEYS = frozenset(
    {"encoder", "encoded_by", "encoding_tool", "software", "generator", "creator_tool", "creatortool", "handler_name"}
    | {"writing_application", "writing application", "tool", "tsse", "isft", "com.apple.quicktime.software"}
)
NOTE_KEYS = frozenset({"comment", "com.apple.quicktime.comment", "icmt"})
"""Where programs leave their stamp. Titles, descriptions and lyrics are prose of people."""
SOURCE_KEYS = re.compile(r"(?i)(?:.*[:/.])?digital_?source_?(?:file_?)?type")
SOURCE_NAMES = (f"{IPTC_EXTENSION}DigitalSourceType", f"{IPTC_EXTENSION}DigitalSourcefileType")
LABELLED = re.compile(r'"Label"\s*:\s*"?1\b')
"""Of the label AIGC (GB 45438): "1" is certain, "2" and "3" only suspect it."""
MAX_VALUE = 4096


def ai_declarations(tags: Mapping[str, str], xmp: bytes | None = None) -> list[str]:
    """Entries ``key: value`` in which AI is declared, in the order found; empty if there is none.

    Keys may end in the number of their stream, ``encoder (0)``. A tag that only
    mentions AI declares nothing, and neither does plain algorithmicMedia: a formula
    needs no training.
    """
    found = []
    for key, value in tags.items():
        text, plain = value[:MAX_VALUE], key.partition(" (")[0].lower()
        term = _source(text) if SOURCE_KEYS.fullmatch(plain) else None
        if term:
            found.append(f"{key}: {term}")
        elif _declares(plain, text):
            found.append(f"{key}: {' '.join(text.split())[:200]}")
    return found + [f"XMP digitalSourceType: {term}" for term in _in_xmp(xmp)]


def _declares(key: str, text: str) -> bool:
    if key == "aigc":
        return LABELLED.search(text) is not None
    if key in SOFTWARE_KEYS:
        return NAMED.match(text) is not None or MADE_WITH.match(text) is not None
    return key in NOTE_KEYS and MADE_WITH.match(text) is not None


def _source(text: str) -> str | None:
    term = source_term(text)
    return term if term in GENERATED | EDITED_WITH_AI else None


def _in_xmp(packet: bytes | None) -> list[str]:
    try:
        properties = read_xmp(packet) if packet else {}
    except XmpUnreadable:
        return []
    values = [value for name in SOURCE_NAMES for value in properties.get(name, ())]
    return [term for value in values if (term := _source(value))]
