"""Signatures of PDFs: the strongest evidence a document can carry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyhanko.keys import load_certs_from_pemder

from dfbatch.authenticity.detectors.quiet_loggers import quiet_loggers
from dfbatch.authenticity.detectors.raw_signatures import (
    PARSER_ERRORS,
    bytes_unchanged,
    has_unlisted_objects,
    signed_ranges,
)
from dfbatch.authenticity.detectors.signature_checks import SignatureCheck, check_signatures
from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.media import Media, MediaKind
from dfbatch.errors import InvalidInput

# From the worst to the best.
COVERAGES = ("UNCLEAR", "CONTIGUOUS_BLOCK_FROM_START", "ENTIRE_REVISION", "ENTIRE_FILE")
LEVELS = ("suspicious", "annotated", "benign", "none")


class PdfSignatures:
    """Whether a signed PDF still is what was signed.

    ``trust_anchors`` is a PEM file of root certificates; without it every signer
    is *not trusted*, which accuses nobody. Nothing is fetched from the network.

    ``score`` is 1.0 if signed bytes were changed or something was added that the
    signature does not allow, 0.0 if all signatures hold, their signers are trusted
    and the last one signed all there is, else None: an unknown signer could have
    signed anything, and a note can be drawn over what was signed.
    """

    name = "pdf_signatures"
    version = "1"

    def __init__(self, trust_anchors: str | Path | None = None) -> None:
        self._anchors = _load_anchors(trust_anchors)

    def applies_to(self, media: Media) -> str | None:
        if media.kind is not MediaKind.PDF:
            return "Only PDFs carry PDF signatures."
        # A signature dictionary may hide in packed objects, so such files are opened before they are excused.
        if b"/ByteRange" in media.data or b"/ObjStm" in media.data or b"/Sig" in media.data:
            return None
        return "The PDF has no signature."

    def examine(self, media: Media) -> Finding:
        with quiet_loggers("pyhanko", "pyhanko_certvalidator"):
            try:
                checks = check_signatures(media.data, self._anchors)
                problem = None
            except PARSER_ERRORS as error:
                checks, problem = [], f"{type(error).__name__}: {error}"[:300]
            strays = _strays(media.data, checks)
        if not checks and not strays:
            return self._without_signature(problem)
        facts = _facts(checks, strays, problem)
        return Finding(self.name, self.version, True, _reason(facts, checks), score=_score(facts), facts=facts)

    def _without_signature(self, problem: str | None) -> Finding:
        if problem is None:
            return Finding(self.name, self.version, False, "The PDF has no signature.")
        reason = "The PDF cannot be searched for signatures; it is damaged."
        return Finding(self.name, self.version, False, reason, facts={"problem": problem})


def _load_anchors(path: str | Path | None) -> list[Any] | None:
    if path is None:
        return None
    try:
        load: Any = load_certs_from_pemder
        anchors = list(load([str(path)]))
    except (OSError, ValueError) as error:
        raise InvalidInput(
            "trust_anchors", f"'{path}' cannot be read as PEM certificates ({error})", "Give the path of a PEM file"
        ) from error
    if not anchors:
        raise InvalidInput("trust_anchors", f"'{path}' holds no certificate", "Give the path of a PEM file")
    return anchors


def _strays(data: bytes, checks: list[SignatureCheck]) -> list[dict[str, Any]]:
    """Signed ranges written in the bytes that belong to no signature field that could be read."""
    known = {check.signed_end for check in checks}
    return [
        {
            "signed_end": signed.end,
            "bytes_unchanged": bytes_unchanged(data, signed),
            "unlisted_objects_behind": has_unlisted_objects(data, signed.end),
        }
        for signed in signed_ranges(data)
        if signed.end not in known and signed.length > 0
    ]


def _facts(checks: list[SignatureCheck], strays: list[dict[str, Any]], problem: str | None) -> dict[str, Any]:
    levels = [check.modified_after for check in checks if check.modified_after]
    changed = any(stray["bytes_unchanged"] is False for stray in strays)
    unlisted = any(stray["bytes_unchanged"] and stray["unlisted_objects_behind"] for stray in strays)
    levels += ["suspicious"] if unlisted else []
    problems = [check.problem for check in checks if check.problem] + ([problem] if problem else [])
    tampered = any(check.tampered for check in checks) or changed or unlisted
    return {
        "n_signatures": len(checks) or len(strays),
        "intact": bool(checks) and all(check.intact for check in checks),
        "coverage": min((check.coverage for check in checks), key=COVERAGES.index, default="UNCLEAR"),
        "tampered_after_signing": tampered,
        "suspicious_modification": "suspicious" in levels,
        "modified_after_signing_level": min(levels, key=LEVELS.index, default=None),
        "ends_signed": _ends_signed(checks),
        "trusted": bool(checks) and all(check.trusted for check in checks),
        "signer": next((check.signer for check in reversed(checks) if check.signer), None),
        "signatures": [check.as_facts() for check in checks],
        "signatures_without_field": strays,
        "problem": problems[0] if problems else None,
    }


def _ends_signed(checks: list[SignatureCheck]) -> bool:
    """Whether nothing but time stamps and data for archives came after the last signature."""
    signatures = [check for check in checks if check.kind == "signature" and check.signed_end is not None]
    last = max(signatures, key=lambda check: check.signed_end or 0, default=None)
    return last is not None and (last.modified_after == "none" or last.modification == "LTA_UPDATES")


def _score(facts: dict[str, Any]) -> float | None:
    if facts["tampered_after_signing"]:
        return 1.0
    sure = facts["intact"] and facts["trusted"] and facts["ends_signed"] and facts["problem"] is None
    return 0.0 if sure else None


def _reason(facts: dict[str, Any], checks: list[SignatureCheck]) -> str:
    who = f" of {facts['signer']}" if facts["signer"] else ""
    if facts["tampered_after_signing"]:
        strays = facts["signatures_without_field"]
        if any(check.digest_ok is False for check in checks) or any(s["bytes_unchanged"] is False for s in strays):
            return f"Bytes covered by the signature{who} were changed after signing."
        if any(check.signature_ok is False for check in checks):
            return f"The signature{who} does not verify: its value was changed, or it was not made with that key."
        return f"After signing, something was changed that the signature{who} does not allow."
    if facts["problem"]:
        return f"A signature could not be verified: {facts['problem']}"
    trust = "trusted" if facts["trusted"] else "not known to be trusted"
    held = "One signature holds" if facts["n_signatures"] == 1 else f"{facts['n_signatures']} signatures hold"
    signer = f"the signer, {facts['signer']}," if facts["signer"] else "the signer"
    return f"{held}; {signer} is {trust}.{_later(facts)}"


def _later(facts: dict[str, Any]) -> str:
    """What came after signing, where it accuses nobody."""
    if facts["modified_after_signing_level"] == "annotated":
        return " Annotations were added after signing: look whether they hide what was signed."
    if facts["modified_after_signing_level"] != "benign":
        return ""
    return " What was added later is allowed." if facts["ends_signed"] else " Fields were filled in later, as allowed."
