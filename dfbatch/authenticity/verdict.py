"""From findings to a verdict, by rules that can be read. Pure: the same findings give the same verdict.

The first rule that holds decides. "Credentials" are Content Credentials (C2PA).

| # | what was found | verdict | p_manipulated |
|---|---|---|---|
| 1 | no detector is made for this type of file | not_applicable | null |
| 2 | a signed PDF was changed after signing, or in a way its signature forbids | manipulated | 1 |
| 3 | trusted credentials say "captured by a camera, not edited", but the metadata declares AI | inconclusive | null |
| 4 | intact credentials say that AI made it | ai_generated | null |
| 5 | the metadata says so, unsigned | ai_generated | null |
| 6 | trusted credentials say "captured by a camera, not edited", back to the creation | authentic | 0 |
| 7 | the credentials do not hold | inconclusive | null |
| 8 | credentials or metadata say that AI edited it, or made a part of it | inconclusive | null |
| 9 | all signatures of a PDF hold, their signers are trusted, and the last one covers it | authentic | 0 |
| 10 | all signatures of a PDF hold, and nothing was done that they forbid | no_manipulation_found | null |
| 11 | the credentials are intact (edits that they declare are named) | no_manipulation_found | null |
| 12 | anything else | inconclusive | null |

* Credentials that do not hold never mean *manipulated*: an expired certificate or a
  harmless resave breaks them as well. What was seen is the first reason.
* Notes added to a signed PDF do not mean it either, but they may hide what was signed: rule 12.
* ``p_manipulated`` is set only where a check proves it, 1 or 0. A rule that only
  believes a declaration, or finds nothing, gives no probability.
* ``coverage`` is the share of the evidence such an item can carry that was there to be
  looked at: the sum of the weights below over applicable findings. What no detector
  looks at yet (pixels, sound) keeps its weight, so that a plain photograph stays low.
  A detector that failed is missing like one that does not apply: it never accuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from dfbatch.authenticity.detectors.c2pa_state import CHANGED_CONTENT, why_invalid
from dfbatch.authenticity.detectors.digital_source import CAPTURED, AiUse
from dfbatch.authenticity.findings import Finding, Provenance, ProvenanceState, Verdict
from dfbatch.authenticity.media.media import Media, MediaKind

WEIGHTS: Mapping[MediaKind, Mapping[str, float]] = MappingProxyType(
    {
        MediaKind.IMAGE: {"c2pa_state": 0.5, "declared_ai": 0.05, "exif_facts": 0.05},
        MediaKind.VIDEO: {"c2pa_state": 0.5, "declared_ai": 0.05, "av_container": 0.05, "av_timing": 0.05},
        MediaKind.AUDIO: {"c2pa_state": 0.5, "declared_ai": 0.05, "av_container": 0.05, "audio_facts": 0.05},
        MediaKind.PDF: {"pdf_signatures": 0.6, "c2pa_state": 0.2, "pdf_revisions": 0.2},
    }
)
"""What a finding adds to the coverage; the sum over all possible evidence of a kind is 1."""

SKIPPED = "skipped"
"""Fact of a finding whose detector is not made for this type of file."""
ERROR = "error"
"""Fact of a finding whose detector failed: the class of the error."""

_COVERED = ("ENTIRE_FILE", "ENTIRE_REVISION")
_CAPTION_TAGS = frozenset({"title", "description", "synopsis", "lyrics", "album", "artist", "keywords", "subject"})
NAMED_LIKE = "The file is named like "
"""How the one remark begins that depends on the name of an item, not on its bytes."""

_SAME_FAMILY = (
    frozenset({"video/mp4", "video/quicktime", "video/3gpp", "audio/mp4"}),
    frozenset({"video/x-matroska", "video/webm"}),
    frozenset({"image/tiff", "image/x-adobe-dng"}),
    frozenset({"image/heic", "image/avif"}),
    frozenset({"audio/ogg", "video/ogg"}),
    frozenset({"video/mp2t", "video/mpeg"}),
)


class Judgement(NamedTuple):
    """``coverage`` 0..1; ``p_manipulated`` 0..1 or None; ``reasons`` in order of weight, each a sentence."""

    verdict: Verdict
    reasons: tuple[str, ...]
    coverage: float
    p_manipulated: float | None
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Evidence:
    """The findings as the rules ask for them; a missing finding is an empty mapping of facts."""

    media: Media
    findings: Sequence[Finding]

    def facts(self, detector: str) -> Mapping[str, Any]:
        """Facts of the detector's finding; empty if it found nothing or did not run."""
        return next((one.facts for one in self.findings if one.detector == detector), {})

    def reason(self, detector: str) -> str:
        """The sentence of the detector's finding; empty if there is none."""
        return next((one.reason for one in self.findings if one.detector == detector), "")

    @property
    def credentials(self) -> Mapping[str, Any]:
        """Facts about the Content Credentials; empty if none were looked for."""
        return self.facts("c2pa_state")

    @property
    def state(self) -> ProvenanceState:
        """Of the Content Credentials; ``NONE`` if there are none."""
        return ProvenanceState(self.credentials.get("state", ProvenanceState.NONE))

    @property
    def intact(self) -> bool:
        """Credentials are there and hold, whoever signed them."""
        return self.state in (ProvenanceState.VALID, ProvenanceState.TRUSTED)

    @property
    def trusted_capture(self) -> bool:
        """Trusted credentials say that a device captured the item, and tell of no edit, ingredient fault or AI."""
        told = self.credentials
        clean = told.get("complete") and not told.get("edits") and not told.get("ingredient_failures")
        is_capture = told.get("origin") in CAPTURED and told.get("ai") == AiUse.NONE and not told.get("ai_components")
        return self.state is ProvenanceState.TRUSTED and bool(clean) and is_capture

    @property
    def metadata_ai(self) -> str | None:
        """The sentence in which unsigned metadata says that AI made the item, or None."""
        if self.facts("declared_ai").get("ai_declared"):
            return self.reason("declared_ai")
        for entry in self.facts("av_container").get("declared_ai") or ():
            key, _, value = str(entry).partition(": ")
            if key.partition(" (")[0].lower() not in _CAPTION_TAGS and not value.lower().startswith(
                ("composite", "algo")
            ):
                return f"The metadata says that AI made the item: {entry}."
        return None

    @property
    def pdf_holds(self) -> bool:
        """Signatures that hold cover the PDF, and nothing worse than harmless additions came after them."""
        told = self.facts("pdf_signatures")
        return bool(
            told.get("n_signatures")
            and told.get("intact")
            and not told.get("problem")
            and told.get("coverage") in _COVERED
            and told.get("modified_after_signing_level") in ("none", "benign", None)
        )


def judge(media: Media, findings: Sequence[Finding]) -> Judgement:
    """Apply the table above."""
    evidence = Evidence(media, findings)
    for holds, rule in _RULES:
        if holds(evidence):
            verdict, p_manipulated, reasons = rule(evidence)
            break
    shown = dict.fromkeys(reason for reason in (*reasons, *_remarks(evidence)) if reason)
    return Judgement(verdict, tuple(shown), _coverage(evidence), p_manipulated, _provenance(evidence))


Ruling = tuple[Verdict, float | None, list[str]]
Rule = tuple[Callable[[Evidence], bool], Callable[[Evidence], Ruling]]


def _not_applicable(evidence: Evidence) -> Ruling:
    return Verdict.NOT_APPLICABLE, None, [f"No detector is made for {evidence.media.media_type} files."]


def _pdf_tampered(evidence: Evidence) -> Ruling:
    return Verdict.MANIPULATED, 1.0, [evidence.reason("pdf_signatures")]


def _contradiction(evidence: Evidence) -> Ruling:
    reason = "Trusted credentials say that a camera captured it, the metadata says that AI made it. One is wrong."
    return Verdict.INCONCLUSIVE, None, [reason, evidence.metadata_ai or ""]


def _signed_ai(evidence: Evidence) -> Ruling:
    return Verdict.AI_GENERATED, None, [f"The credentials say that AI made it{_by(evidence)}.", _signature(evidence)]


def _unsigned_ai(evidence: Evidence) -> Ruling:
    broken = [_broken(evidence)] if evidence.state is ProvenanceState.INVALID else []
    note = "That statement is not signed: anyone could have written it."
    return Verdict.AI_GENERATED, None, [*broken, evidence.metadata_ai or "", note]


def _captured(evidence: Evidence) -> Ruling:
    told = evidence.credentials
    who = told.get("signer") or told.get("issuer") or "the signer"
    reason = f"Captured by a camera and not edited, says {who}, whom your trust list vouches for."
    return Verdict.AUTHENTIC, 0.0, [reason]


def _invalid(evidence: Evidence) -> Ruling:
    harmless = "That alone does not make it a fake: a harmless resave or an expired certificate breaks credentials too."
    told = evidence.credentials
    ai = "The broken credentials say that AI made it." if told.get("ai_declared") else ""
    return Verdict.INCONCLUSIVE, None, [_broken(evidence), harmless, ai]


def _ai_edited(evidence: Evidence) -> Ruling:
    told = evidence.credentials
    reasons = []
    if evidence.intact and (told.get("ai") == AiUse.EDITED or told.get("ai_components")):
        reasons = [f"The credentials say that AI edited it, or made a part of it{_by(evidence)}.", _signature(evidence)]
    if evidence.facts("declared_ai").get("ai") == AiUse.EDITED:
        reasons.append(evidence.reason("declared_ai"))
    return Verdict.INCONCLUSIVE, None, reasons


def _pdf_trusted(evidence: Evidence) -> Ruling:
    return Verdict.AUTHENTIC, 0.0, [evidence.reason("pdf_signatures")]


def _pdf_intact(evidence: Evidence) -> Ruling:
    return Verdict.NO_MANIPULATION_FOUND, None, [evidence.reason("pdf_signatures")]


def _intact(evidence: Evidence) -> Ruling:
    told = evidence.credentials
    reasons = [_signature(evidence)]
    if told.get("edits"):
        reasons.append(f"The credentials declare edits: {', '.join(told['edits'][:10])}.")
    if not told.get("complete"):
        reasons.append("They do not tell how it was made, only what was done since it was opened.")
    return Verdict.NO_MANIPULATION_FOUND, None, reasons


def _unknown(evidence: Evidence) -> Ruling:
    what = "Nothing in the file vouches for it, and nothing that was looked at speaks against it."
    reasons = ["No evidence either way.", what]
    if evidence.facts("pdf_signatures").get("n_signatures"):
        reasons = [evidence.reason("pdf_signatures")]
    elif evidence.state is not ProvenanceState.NONE:
        reasons = [evidence.reason("c2pa_state")]
    return Verdict.INCONCLUSIVE, None, reasons


def _pdf(key: str) -> Callable[[Evidence], bool]:
    return lambda evidence: bool(evidence.facts("pdf_signatures").get(key))


_RULES: tuple[Rule, ...] = (
    (lambda evidence: all(one.facts.get(SKIPPED) for one in evidence.findings), _not_applicable),
    (
        lambda evidence: _pdf("tampered_after_signing")(evidence) or _pdf("suspicious_modification")(evidence),
        _pdf_tampered,
    ),
    (lambda evidence: evidence.trusted_capture and evidence.metadata_ai is not None, _contradiction),
    (lambda evidence: evidence.intact and bool(evidence.credentials.get("ai_declared")), _signed_ai),
    (lambda evidence: evidence.metadata_ai is not None, _unsigned_ai),
    (lambda evidence: evidence.trusted_capture, _captured),
    (lambda evidence: evidence.state is ProvenanceState.INVALID, _invalid),
    (lambda evidence: bool(_ai_edited(evidence)[2]), _ai_edited),
    (
        lambda evidence: evidence.pdf_holds and _pdf("trusted")(evidence) and _pdf("ends_signed")(evidence),
        _pdf_trusted,
    ),
    (lambda evidence: evidence.pdf_holds, _pdf_intact),
    (lambda evidence: evidence.intact, _intact),
    (lambda evidence: True, _unknown),
)


def _broken(evidence: Evidence) -> str:
    why = "; ".join(why_invalid(evidence.credentials))
    what = "The content does not match its" if CHANGED_CONTENT in why else "There is something wrong with its"
    return f"{what} credentials{_by(evidence)}: {why}."


def _signature(evidence: Evidence) -> str:
    return evidence.reason("c2pa_state")


def _by(evidence: Evidence) -> str:
    signer = evidence.credentials.get("signer") or evidence.credentials.get("issuer")
    return f" (signed by {signer})" if signer else ""


def _remarks(evidence: Evidence) -> list[str]:
    """What an analyst should know besides, whatever the verdict."""
    media, remarks = evidence.media, []
    about_name = name_remark(media.named_type, media.media_type)
    if about_name is not None:
        remarks.append(about_name)
    if evidence.state in (ProvenanceState.REMOTE_ONLY, ProvenanceState.ERROR):
        remarks.append(evidence.reason("c2pa_state"))
    remarks += evidence.facts("exif_facts").get("notes") or []
    failed = [one for one in evidence.findings if one.facts.get(ERROR)]
    return remarks + [f"{one.detector} failed, so what it looks at is missing ({one.reason})." for one in failed]


def name_remark(named: str | None, media_type: str) -> str | None:
    """What there is to say if the name promises another type than the bytes are; None if it does not."""
    types = {named, media_type}
    if not named or len(types) < 2 or any(types <= family for family in _SAME_FAMILY):
        return None
    return f"{NAMED_LIKE}{named}, but it is {media_type}."


def _coverage(evidence: Evidence) -> float:
    weights = WEIGHTS[evidence.media.kind]
    return round(min(1.0, sum(weights.get(one.detector, 0.0) for one in evidence.findings if one.applicable)), 4)


def _provenance(evidence: Evidence) -> Provenance:
    told = evidence.credentials
    return Provenance(
        state=evidence.state,
        signer=told.get("signer"),
        ai_declared=bool(told.get("ai_declared")) or evidence.metadata_ai is not None,
        issuer=told.get("issuer"),
        signed_at=told.get("signed_at"),
        claim_generator=told.get("claim_generator"),
        failures=(*told.get("failures", ()), *told.get("ingredient_failures", ())),
        trust_list=told.get("trust_list"),
    )
