"""What detectors say, and what all of them together say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What is known of one media item. ``inconclusive`` is an answer."""

    AUTHENTIC = "authentic"
    NO_MANIPULATION_FOUND = "no_manipulation_found"
    MANIPULATED = "manipulated"
    AI_GENERATED = "ai_generated"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not_applicable"


class ProvenanceState(StrEnum):
    """State of the Content Credentials (C2PA) of an item."""

    NONE = "none"
    VALID = "valid"
    TRUSTED = "trusted"
    INVALID = "invalid"
    REMOTE_ONLY = "remote_only"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One detector on one item.

    ``applicable`` False means *missing*, never zero: the reason says why.
    ``score`` is 0..1 (1 = sure sign of manipulation) or None where the detector
    reports facts only; ``llr`` is its natural-log likelihood ratio, or None.
    ``facts`` feed the rules of the verdict, are JSON-like, and are stored as JSON.
    ``cost_s`` is filled in by the authenticator.
    """

    detector: str
    version: str
    applicable: bool
    reason: str
    score: float | None = None
    llr: float | None = None
    cost_s: float = 0.0
    artifact: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Content Credentials in short. ``ai_declared``: a declaration, signed or not, that AI made the item."""

    state: ProvenanceState = ProvenanceState.NONE
    signer: str | None = None
    ai_declared: bool = False
    issuer: str | None = None
    signed_at: str | None = None
    claim_generator: str | None = None
    failures: tuple[str, ...] = ()
    trust_list: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of ``ContentAuthenticator`` for one item: one row of the results table."""

    uri: str | None
    media_type: str
    size: int
    sha256: str
    verdict: Verdict
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    provenance: Provenance
    coverage: float
    p_manipulated: float | None = None
