"""One PDF signature after the other: what it covers, whether it holds, what came after it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import asdict, dataclass
from typing import Any

from pyhanko.pdf_utils.misc import PdfError
from pyhanko.sign.fields import enumerate_sig_fields
from pyhanko.sign.validation.pdf_embedded import (
    EmbeddedPdfSignature,
    async_validate_pdf_signature,
    async_validate_pdf_timestamp,
)
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko_certvalidator import ValidationContext

from dfbatch.authenticity.detectors.annotation_policy import AnnotationPolicy
from dfbatch.authenticity.detectors.bounded_reader import BoundedReader, ComparisonTooLong, open_reader
from dfbatch.authenticity.detectors.raw_signatures import (
    MAX_SIGNATURES,
    PARSER_ERRORS,
    SignedRange,
    has_unlisted_objects,
)

ANY_SIGNING_USE = KeyUsageConstraints(key_usage={"digital_signature", "non_repudiation"}, match_all_key_usages=False)

_LEVEL_WORDS = {"NONE": "none", "LTA_UPDATES": "benign", "FORM_FILLING": "benign", "ANNOTATIONS": "annotated"}


@dataclass(slots=True)
class SignatureCheck:
    """The facts of one signature. None means: could not be found out, ``problem`` says why.

    ``modified_after``: ``none``, ``benign`` (further signatures, filled fields,
    long-term data), ``annotated`` (notes, stamps and the like, nothing else) or
    ``suspicious`` (anything the signature does not allow).
    """

    field: str
    kind: str = "signature"
    coverage: str = "UNCLEAR"
    digest_ok: bool | None = None
    signature_ok: bool | None = None
    modified_after: str | None = None
    modification: str | None = None
    trusted: bool = False
    trust_problem: str | None = None
    signer: str | None = None
    signed_at: str | None = None
    timestamp_ok: bool | None = None
    signed_end: int | None = None
    problem: str | None = None

    @property
    def intact(self) -> bool:
        """The digest and the signature were both checked and hold; what was added later does not count."""
        return bool(self.digest_ok and self.signature_ok)

    @property
    def tampered(self) -> bool:
        """Signed bytes were changed, or something was added that the signature does not allow."""
        return self.digest_ok is False or self.signature_ok is False or self.modified_after == "suspicious"

    def as_facts(self) -> dict[str, Any]:
        """The fields with ``intact`` and ``tampered``, as plain data for a finding."""
        return {**asdict(self), "intact": self.intact, "tampered": self.tampered}


def check_signatures(data: bytes, anchors: list[Any] | None) -> list[SignatureCheck]:
    """All filled signature fields, in the order of the form. Raises a parser error if the PDF cannot be read."""
    reader = open_reader(data)
    checks: list[SignatureCheck] = []
    for name, _, field in enumerate_sig_fields(reader, filled_status=True):
        if len(checks) >= MAX_SIGNATURES:
            break
        checks.append(_check_field(data, reader, str(name), field, anchors))
    return checks


def _check_field(
    data: bytes, reader: BoundedReader, name: str, field: Any, anchors: list[Any] | None
) -> SignatureCheck:
    check = SignatureCheck(name)
    try:
        value = field.get_object().raw_get("/V").get_object()
        if _is_placeholder(value):
            check.problem = "The field was prepared for a signature, but never signed."
            return check
        embedded = EmbeddedPdfSignature(reader, field, name)
        check.kind = "timestamp" if embedded.sig_object_type == "/DocTimeStamp" else "signature"
        _describe(check, embedded)
        status = _validated(check, embedded, anchors)
        _judge(check, data, embedded, status)
        check.trusted = bool(anchors) and bool(status.trusted)
        if not check.trusted:
            problem = status.trust_problem_indic
            check.trust_problem = getattr(problem, "name", None) if anchors else "NO_TRUST_ANCHORS_GIVEN"
    except PARSER_ERRORS as error:
        check.problem = f"The signature cannot be read: {_short(error)}."
    return check


def _is_placeholder(value: Any) -> bool:
    raw = getattr(value.get("/Contents", b""), "original_bytes", b"")
    return not bytes(raw).strip(b"\0")


def _context(anchors: list[Any] | None) -> ValidationContext:
    """Offline: nothing is fetched; without anchors nothing is trusted, not even what the system trusts."""
    return ValidationContext(trust_roots=anchors or [], allow_fetching=False, revocation_mode="soft-fail")


def _validated(check: SignatureCheck, embedded: EmbeddedPdfSignature, anchors: list[Any] | None) -> Any:
    """The status that pyhanko gives; without the comparison of revisions if that would never end."""
    try:
        return _run_alone(_validation(embedded, check.kind, _context(anchors), skip_diff=False))
    except ComparisonTooLong as error:
        check.problem = f"What came after the signature cannot be judged: {_short(error)}."
        return _run_alone(_validation(embedded, check.kind, _context(anchors), skip_diff=True))


def _validation(
    embedded: EmbeddedPdfSignature, kind: str, context: ValidationContext, skip_diff: bool
) -> Coroutine[Any, Any, Any]:
    if kind == "timestamp":
        return async_validate_pdf_timestamp(embedded, context, diff_policy=AnnotationPolicy(), skip_diff=skip_diff)
    return async_validate_pdf_signature(
        embedded,
        context,
        diff_policy=AnnotationPolicy(),
        key_usage_settings=ANY_SIGNING_USE,
        skip_diff=skip_diff,
    )


def _describe(check: SignatureCheck, embedded: EmbeddedPdfSignature) -> None:
    certificate = embedded.signer_cert
    names = certificate.subject.native
    common = names.get("common_name") or names.get("organization_name")
    check.signer = str(common or certificate.subject.human_friendly)
    moment = embedded.self_reported_timestamp
    check.signed_at = moment.isoformat() if moment else None


def _judge(check: SignatureCheck, data: bytes, embedded: EmbeddedPdfSignature, status: Any) -> None:
    numbers = [int(number) for number in embedded.byte_range]
    signed = SignedRange(*numbers) if len(numbers) == 4 else None
    regular = signed is not None and signed.is_regular(data)
    check.digest_ok, check.signature_ok = bool(status.intact), bool(status.valid)
    check.coverage = status.coverage.name if regular else "UNCLEAR"
    check.signed_end = signed.end if signed is not None else None
    stamp = getattr(status, "timestamp_validity", None)
    check.timestamp_ok = bool(stamp.valid and stamp.intact) if stamp is not None else None
    check.modified_after, check.modification = _modification(check, data, embedded, status)


def _modification(
    check: SignatureCheck, data: bytes, embedded: EmbeddedPdfSignature, status: Any
) -> tuple[str | None, str | None]:
    if check.coverage == "ENTIRE_FILE":
        return "none", None
    if check.coverage in ("UNCLEAR", "CONTIGUOUS_BLOCK_FROM_START"):
        return "suspicious", "The signature does not cover the document as a signature must."
    result = status.diff_result
    if result is None:
        return None, check.problem
    if not hasattr(result, "modification_level"):
        return "suspicious", _short(result)
    level = result.modification_level
    if level.name == "OTHER" or getattr(status, "docmdp_ok", True) is False:
        return "suspicious", f"Changes of the kind {level.name} are not allowed by the signature."
    last = embedded.signed_revision == embedded.reader.xrefs.total_revisions - 1
    if last and check.signed_end is not None and has_unlisted_objects(data, check.signed_end):
        return "suspicious", "Objects that no index lists were appended behind the signature."
    return _LEVEL_WORDS[level.name], None if level.name == "NONE" else level.name


def _run_alone(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end. In a notebook a loop already runs in this thread, so a thread of its own is used there."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((asyncio.run(work), None))
        except PARSER_ERRORS as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, name="dfbatch-pdf-signature")
    thread.start()
    thread.join()
    if not outcome:
        raise PdfError("The validation of the signature ended without an answer")
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


def _short(error: object) -> str:
    text = " ".join(str(error).split())
    return text[:300].rstrip(".") or type(error).__name__
