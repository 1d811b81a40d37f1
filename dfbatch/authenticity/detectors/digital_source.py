"""The IPTC words for where a picture came from, and which of them speak of AI.

The vocabulary is IPTC's "digitalsourcetype"; XMP and Content Credentials both use it.
"""

from __future__ import annotations

from enum import StrEnum

GENERATED = frozenset({"trainedAlgorithmicMedia"})
EDITED_WITH_AI = frozenset({"compositeWithTrainedAlgorithmicMedia"})
CAPTURED = frozenset({"digitalCapture", "computationalCapture"})


class AiUse(StrEnum):
    """What a declaration says of AI. ``edited``: only parts were made or changed by it."""

    NONE = "none"
    EDITED = "edited"
    GENERATED = "generated"


def source_term(value: str) -> str:
    """The bare term of a URI (``http://cv.iptc.org/.../digitalCapture``) or a code (``digsrctype:digitalCapture``)."""
    return value.strip().rstrip("/").replace(":", "/").rsplit("/", 1)[-1]
