"""How verdicts and states look and what they mean in words; used by the notebook and by the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from dfbatch.authenticity.findings import ProvenanceState, Verdict
from dfbatch.core.states import JobState


@dataclass(frozen=True, slots=True)
class Look:
    """``colour`` is a middle tone that stands out from white and from black; ``sign`` says the same without colour."""

    key: str
    label: str
    sign: str
    colour: str
    meaning: str


_LOOKS = (
    Look(
        JobState.FAILED,
        "failed",
        "✕",
        "#64748b",
        "The item could not be examined. Nothing is known about it; the error says why.",
    ),
    Look(
        JobState.EXPIRED,
        "expired",
        "✕",
        "#7d8797",
        "The deadline of the batch passed before the item was examined.",
    ),
    Look(
        Verdict.MANIPULATED,
        "manipulated",
        "▲",
        "#d1383d",
        "Signs of manipulation outweigh the rest. The findings say which signs, and how strong each is.",
    ),
    Look(
        Verdict.AI_GENERATED,
        "AI generated",
        "◆",
        "#8a4fd0",
        "The item declares, in its credentials or metadata, that it was made by generative AI.",
    ),
    Look(
        Verdict.INCONCLUSIVE,
        "inconclusive",
        "?",
        "#b57600",
        "The evidence does not carry a verdict either way, or too few methods apply. This is an answer, not an error.",
    ),
    Look(
        Verdict.NO_MANIPULATION_FOUND,
        "no manipulation found",
        "○",
        "#2b86a8",
        "The methods that apply found nothing. That is not proof that the item is genuine.",
    ),
    Look(
        Verdict.AUTHENTIC,
        "authentic",
        "✓",
        "#1b8a5a",
        "Cryptographic provenance from a trusted signer is intact and declares no later edits.",
    ),
    Look(
        Verdict.NOT_APPLICABLE,
        "not applicable",
        "·",
        "#7d8797",
        "No method applies to this item.",
    ),
    Look(JobState.CANCELLED, "cancelled", "·", "#94a3b8", "The item was cancelled before it was examined."),
    Look(JobState.SUCCEEDED, "succeeded", "✓", "#1b8a5a", "The verifier returned an outcome."),
)
LOOKS: Mapping[str, Look] = MappingProxyType({look.key: look for look in _LOOKS})
"""By verdict or state, in the order in which an analyst wants to see them: what needs attention first."""

RANK: Mapping[str, int] = MappingProxyType({key: i for i, key in enumerate(LOOKS)})

PROVENANCE: Mapping[str, str] = MappingProxyType(
    {
        ProvenanceState.NONE: "no Content Credentials",
        ProvenanceState.VALID: "Content Credentials intact, signer not on the trust list",
        ProvenanceState.TRUSTED: "Content Credentials intact, signer trusted",
        ProvenanceState.INVALID: "Content Credentials do not match the file",
        ProvenanceState.REMOTE_ONLY: "Content Credentials kept elsewhere, not fetched",
        ProvenanceState.ERROR: "Content Credentials could not be read",
    }
)


def look_of(row: Mapping[str, Any]) -> Look:
    """The look of a results row: its verdict, or its status where there is none."""
    return look(row.get("verdict") or row.get("status"))


def look(key: str | None) -> Look:
    """How a verdict or state is drawn; a plain look with its own words for one that is not known."""
    known = LOOKS.get(key or "")
    return known or Look(str(key), str(key or "unknown").replace("_", " "), "·", "#7d8797", "")


def provenance_words(provenance: Mapping[str, Any] | None) -> str:
    """One phrase about the Content Credentials of an item."""
    state = (provenance or {}).get("state")
    words = PROVENANCE.get(state or "", "not examined")
    signer = (provenance or {}).get("signer")
    return f"{words} ({signer})" if signer else words
