"""ContentAuthenticator: the built-in verifier. One item in, one Report out."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from dfbatch.authenticity.detectors.audio_facts import AudioFacts
from dfbatch.authenticity.detectors.av_container import AvContainer
from dfbatch.authenticity.detectors.av_timing import AvTiming
from dfbatch.authenticity.detectors.c2pa_state import C2paState
from dfbatch.authenticity.detectors.declared_ai import DeclaredAi
from dfbatch.authenticity.detectors.detector import Detector
from dfbatch.authenticity.detectors.exif_facts import ExifFacts
from dfbatch.authenticity.detectors.jpeg_tables import JpegTables
from dfbatch.authenticity.detectors.pdf_revisions import PdfRevisions
from dfbatch.authenticity.detectors.pdf_signatures import PdfSignatures
from dfbatch.authenticity.detectors.trust_list import TrustList, load_trust_list
from dfbatch.authenticity.findings import Finding, Report
from dfbatch.authenticity.media.limits import DEFAULT_LIMITS, MediaLimits
from dfbatch.authenticity.media.media import Media
from dfbatch.authenticity.media.opening import open_media
from dfbatch.authenticity.verdict import ERROR, SKIPPED, judge
from dfbatch.errors import BreakerOpen, InvalidInput, ItemError, TransientError

Profile = Literal["fast", "full"]
Item = Mapping[str, Any] | str | os.PathLike[str] | bytes

_log = logging.getLogger(__name__)
SLOW_S = 0.05
"""Steps of items that take longer are told; of quick ones they would be more messages than the item is worth."""
_HEARD_S = {"fast": 120.0, "full": 3600.0}
_PASSED_ON = (ItemError, TransientError, BreakerOpen, MemoryError)
"""What a detector may raise about the item or its surroundings; anything else is a fault of the detector."""


class ContentAuthenticator:
    """Tells what is known of a media file: image, video, sound or PDF.

    ``profile``: "fast" hears the first 120 s of sound, "full" the first hour; the
    detectors are the same in this version. ``trust_list`` is the path of a PEM file
    with the certificates *you* trust, for credentials and PDF signatures; without it
    no signer is trusted. ``detectors`` are looked at besides the built-in ones.
    Raises InvalidInput for an unknown profile or a trust list that cannot be used.
    """

    def __init__(
        self,
        profile: Profile = "fast",
        limits: MediaLimits | None = None,
        trust_list: str | os.PathLike[str] | None = None,
        detectors: Sequence[Detector] = (),
    ) -> None:
        if profile not in _HEARD_S:
            raise InvalidInput("profile", f"{profile!r} is no profile", "Choose 'fast' or 'full'")
        self.profile = profile
        self.limits = limits or DEFAULT_LIMITS
        self.trust_list = load_trust_list(Path(trust_list)) if trust_list is not None else None
        self.detectors = (*_built_in(profile, self.limits, self.trust_list), *detectors)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that can change a report: detectors and their versions, profile, limits, trust list."""
        names = [f"{detector.name} {detector.version}" for detector in self.detectors]
        parts = [self.profile, repr(asdict(self.limits)), self.trust_list.sha256 if self.trust_list else "", *names]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def __call__(self, item: Item, ctx: Any = None) -> Report:
        """Verify one item.

        ``item`` is a path, a URI, bytes, or a mapping with ``content`` (bytes) or ``location``
        (what to read); ``uri`` or ``filename`` is how it is called, and is read if nothing else is given.
        ``ctx``, if given, hears the progress of an item that takes longer than ``SLOW_S``.
        Raises MediaError if the item cannot be verified.
        """
        told_from = time.perf_counter() + SLOW_S
        source, uri = _source_of(item)
        media = open_media(source, uri=uri, limits=self.limits)
        findings = []
        for done, detector in enumerate(self.detectors):
            if ctx is not None and time.perf_counter() >= told_from:
                ctx.progress(done, len(self.detectors), detector.name)
            findings.append(_finding_of(detector, media))
        judgement = judge(media, findings)
        return Report(
            uri=media.uri,
            media_type=media.media_type,
            size=media.size,
            sha256=media.sha256,
            verdict=judgement.verdict,
            reasons=judgement.reasons,
            findings=tuple(findings),
            provenance=judgement.provenance,
            coverage=judgement.coverage,
            p_manipulated=judgement.p_manipulated,
        )


def _built_in(profile: Profile, limits: MediaLimits, trust: TrustList | None) -> tuple[Detector, ...]:
    return (
        C2paState(trust),
        DeclaredAi(),
        ExifFacts(),
        JpegTables(),
        AvContainer(limits),
        AvTiming(limits),
        AudioFacts(_HEARD_S[profile], limits),
        _pdf_signatures(trust),
        PdfRevisions(),
    )


def _pdf_signatures(trust: TrustList | None) -> PdfSignatures:
    if trust is None:
        return PdfSignatures()
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # the list may have come out of a settings file
        file.write(trust.pem)
        file.flush()
        return PdfSignatures(file.name)


def _source_of(item: Item) -> tuple[str | os.PathLike[str] | bytes, str | None]:
    """(what to read, how it is called)."""
    if not isinstance(item, Mapping):
        return item, None
    uri = item.get("uri") or item.get("filename")
    for source in (item.get("content"), item.get("location"), item.get("uri")):
        if source is not None:
            return source, str(uri) if uri is not None else None
    raise InvalidInput("item", f"it has none of content, location, uri but {sorted(item)}", "Give one of them")


def _finding_of(detector: Detector, media: Media) -> Finding:
    """What a detector says, timed. One that fails is *missing*: it costs coverage, not the item."""
    start = time.perf_counter()
    try:
        why_not = detector.applies_to(media)
        if why_not is not None:
            return Finding(detector.name, detector.version, False, why_not, facts={SKIPPED: True})
        finding = detector.examine(media)
    except _PASSED_ON:
        raise
    except Exception as error:
        _log.warning("detector %s failed on %s", detector.name, media.uri or media.sha256, exc_info=True)
        reason = f"{type(error).__name__}: {error}"[:300]
        finding = Finding(detector.name, detector.version, False, reason, facts={ERROR: type(error).__name__})
    return replace(finding, cost_s=time.perf_counter() - start)
