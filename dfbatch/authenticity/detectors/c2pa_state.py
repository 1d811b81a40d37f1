"""Content Credentials (C2PA): their state, their signer and what they declare. Offline; nothing is fetched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import c2pa

from dfbatch.authenticity.detectors.c2pa_manifest import story_of
from dfbatch.authenticity.detectors.digital_source import AiUse
from dfbatch.authenticity.detectors.trust_list import TrustList
from dfbatch.authenticity.findings import Finding, ProvenanceState
from dfbatch.authenticity.media.media import Media

C2PA_TYPE = MappingProxyType(
    {
        "image/jpeg": "image/jpeg",
        "image/png": "image/png",
        "image/gif": "image/gif",
        "image/webp": "image/webp",
        "image/tiff": "image/tiff",
        "image/x-adobe-dng": "image/dng",
        "image/heic": "image/heic",
        "image/avif": "image/avif",
        "video/mp4": "video/mp4",
        "video/quicktime": "video/quicktime",
        "video/3gpp": "video/mp4",
        "video/x-msvideo": "video/avi",
        "audio/wav": "audio/wav",
        "audio/mpeg": "audio/mpeg",
        "audio/flac": "audio/flac",
        "audio/mp4": "audio/mp4",
        "application/pdf": "application/pdf",
    }
)
"""What the C2PA library calls the types it reads; for others there can be no credentials."""

_OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False}
_STATES = {"Trusted": ProvenanceState.TRUSTED, "Valid": ProvenanceState.VALID, "Invalid": ProvenanceState.INVALID}
_NOT_FAILURES = frozenset({"signingCredential.untrusted", "cawg.x509.credential.untrusted"})
"""Codes that only say that nobody vouches for a signer; the state tells that already."""
_TEXT = 200


class C2paState:
    """Reads Content Credentials. ``Invalid`` is told with its reason and never means that the content is fake.

    Facts: ``state`` (a ProvenanceState), ``signer, issuer, signer_fingerprint, signed_at,
    claim_generator``, ``failures`` (codes that broke the state), ``ingredient_failures``,
    ``source_types, origin, actions, edits, complete``, ``ai`` (an AiUse), ``ai_declared``,
    ``ai_components``, ``remote_url, trust_list``. ``signer_fingerprint`` is the SHA-256 of
    issuer, common name and serial number of the certificate.
    """

    name = "c2pa_state"
    version = "1"

    def __init__(self, trust_list: TrustList | None = None) -> None:
        self._trust = trust_list
        settings: dict[str, Any] = {"verify": dict(_OFFLINE)}
        if trust_list is not None:
            usages = {"trust_config": trust_list.usages} if trust_list.usages else {}
            settings["trust"] = {"user_anchors": trust_list.pem, **usages}
        self._context = c2pa.Context.from_dict(settings)

    def applies_to(self, media: Media) -> str | None:
        if media.media_type not in C2PA_TYPE:
            return f"Files of type {media.media_type} cannot carry Content Credentials."
        return None

    def examine(self, media: Media) -> Finding:
        try:
            reader = c2pa.Reader(C2PA_TYPE[media.media_type], media.open(), context=self._context)
        except c2pa.C2paError as error:
            return self._without_manifest(str(error))
        with reader:
            store = json.loads(reader.json())
            state = _STATES[reader.get_validation_state()]
            results = reader.get_validation_results() or {}
        facts = _facts(store, state, results)
        facts["trust_list"] = str(self._trust) if self._trust else None
        return Finding(self.name, self.version, True, _sentence(facts), facts=facts)

    def _without_manifest(self, message: str) -> Finding:
        if message.startswith(("ManifestNotFound", "NotSupported")):
            reason, state, failures = "The file carries no Content Credentials.", ProvenanceState.NONE, []
        elif message.startswith("Remote"):
            reason = "The Content Credentials are only on a server, and dfbatch does not fetch them."
            state, failures = ProvenanceState.REMOTE_ONLY, ["remote_manifest"]
        else:
            reason = f"The Content Credentials cannot be read: {message[:_TEXT]}"
            state, failures = ProvenanceState.ERROR, [message[:_TEXT]]
        facts: dict[str, Any] = {"state": state.value, "failures": failures, "ai_declared": False}
        if state is ProvenanceState.REMOTE_ONLY:
            facts["remote_url"] = message.partition(" url ")[2].strip()[:1000] or None
        return Finding(self.name, self.version, False, reason, facts=facts)


def _facts(store: Mapping[str, Any], state: ProvenanceState, results: Mapping[str, Any]) -> dict[str, Any]:
    manifest = store["manifests"][store["active_manifest"]]
    signature = manifest.get("signature_info") or {}
    story = story_of(store)
    deltas = results.get("ingredientDeltas") or []
    return {
        "state": state.value,
        "signer": _text(signature.get("common_name")),
        "issuer": _text(signature.get("issuer")),
        "signer_fingerprint": _fingerprint(signature),
        "signed_at": _text(signature.get("time")),
        "claim_generator": _generator(manifest),
        "failures": _codes(results.get("activeManifest") or {}),
        "ingredient_failures": sorted({code for one in deltas for code in _codes(one.get("validationDeltas") or {})}),
        "source_types": list(story.source_types),
        "origin": story.origin,
        "actions": list(story.actions),
        "edits": list(story.edits),
        "complete": story.complete,
        "ai": story.ai.value,
        "ai_declared": story.ai is AiUse.GENERATED,
        "ai_components": story.ai_components,
    }


def _codes(results: Mapping[str, Any]) -> list[str]:
    codes = (str(failure.get("code")) for failure in results.get("failure") or [])
    return list(dict.fromkeys(code for code in codes if code not in _NOT_FAILURES))


def _fingerprint(signature: Mapping[str, Any]) -> str | None:
    parts = [str(signature.get(key, "")) for key in ("issuer", "common_name", "cert_serial_number")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest() if parts[2] else None


def _generator(manifest: Mapping[str, Any]) -> str | None:
    if manifest.get("claim_generator"):
        return _text(manifest["claim_generator"])
    infos = manifest.get("claim_generator_info") or [{}]
    return _text(" ".join(str(infos[0].get(key, "")) for key in ("name", "version")).strip() or None)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)[:_TEXT]


def _sentence(facts: Mapping[str, Any]) -> str:
    by = f" by {facts['signer'] or facts['issuer'] or 'an unnamed signer'}"
    if facts["state"] == ProvenanceState.INVALID:
        return "The Content Credentials do not hold: " + ", ".join(why_invalid(facts)) + "."
    if facts["state"] == ProvenanceState.TRUSTED:
        return f"The content is unchanged since it was signed{by}, whom your trust list vouches for."
    who = "your trust list does not vouch for" if facts.get("trust_list") else "no trust list vouches for"
    return f"The content is unchanged since it was signed{by}, whom {who}."


CHANGED_CONTENT = "the content is not the one that was signed"
_WHY = (
    ("assertion.dataHash.mismatch", CHANGED_CONTENT),
    ("assertion.bmffHash.mismatch", CHANGED_CONTENT),
    ("assertion.boxesHash.mismatch", CHANGED_CONTENT),
    ("assertion.collectionHash", CHANGED_CONTENT),
    ("claimSignature.mismatch", "the signature does not verify"),
    ("assertion.hashedURI.mismatch", "a statement in them was changed after signing"),
    ("signingCredential.expired", "the signer's certificate had expired"),
    ("signingCredential.revoked", "the signer's certificate was revoked"),
    ("signingCredential.invalid", "the signer's certificate may not sign credentials"),
    ("timeStamp", "their time stamp does not hold"),
)


def why_invalid(facts: Mapping[str, Any]) -> list[str]:
    """Short clauses that say what broke, for an analyst."""
    clauses = [_clause(code) for code in facts.get("failures") or []]
    clauses += [f"in a file it was made from, {_clause(code)}" for code in facts.get("ingredient_failures") or []]
    return list(dict.fromkeys(clauses)) or ["no reason is given"]


def _clause(code: str) -> str:
    return next((clause for start, clause in _WHY if code.startswith(start)), f"check '{code}' failed")
