"""The rules of the verdict, one row of the table after the other."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.authenticity.findings import Finding, ProvenanceState, Verdict
from dfbatch.authenticity.media.media import Media, MediaKind
from dfbatch.authenticity.verdict import ERROR, SKIPPED, WEIGHTS, Judgement, judge

TYPES = {
    MediaKind.IMAGE: "image/jpeg",
    MediaKind.VIDEO: "video/mp4",
    MediaKind.AUDIO: "audio/wav",
    MediaKind.PDF: "application/pdf",
}


def finding(detector: str, applicable: bool = True, reason: str = "", **facts: Any) -> Finding:
    return Finding(detector, "1", applicable, reason or f"{detector} speaks.", facts=facts)


def credentials(state: str, applicable: bool = True, **facts: Any) -> Finding:
    told = {"failures": [], "ingredient_failures": [], "edits": [], "ai": "none", "ai_declared": False, "signer": "Ada"}
    return finding("c2pa_state", applicable, "The credentials speak.", state=state, **(told | facts))


CAPTURE: dict[str, Any] = {"origin": "digitalCapture", "complete": True}
AI: dict[str, Any] = {"ai": "generated", "ai_declared": True, "origin": "trainedAlgorithmicMedia", "complete": True}
AI_EDIT: dict[str, Any] = {"ai": "edited", "origin": "digitalCapture", "complete": True, "edits": ["c2pa.edited"]}
DECLARED = finding("declared_ai", reason="The metadata says AI.", ai="generated", ai_declared=True)
DECLARED_EDIT = finding("declared_ai", reason="The metadata says edited.", ai="edited", ai_declared=False)
NOTHING = finding("declared_ai", ai="none", ai_declared=False)


def pdf(**facts: Any) -> Finding:
    told = {
        "n_signatures": 1,
        "intact": True,
        "coverage": "ENTIRE_FILE",
        "tampered_after_signing": False,
        "suspicious_modification": False,
        "modified_after_signing_level": "none",
        "ends_signed": True,
        "trusted": False,
        "problem": None,
    }
    return finding("pdf_signatures", reason="The signature speaks.", **(told | facts))


def judged(*findings: Finding, kind: MediaKind = MediaKind.IMAGE, named: str | None = None) -> Judgement:
    return judge(Media(b"x", "0" * 64, kind, TYPES[kind], named_type=named), findings)


@pytest.mark.parametrize(
    ("row", "findings", "verdict", "p"),
    [
        (
            1,
            [finding("c2pa_state", False, skipped=True), finding("exif_facts", False, skipped=True)],
            "not_applicable",
            None,
        ),
        (2, [pdf(tampered_after_signing=True)], "manipulated", 1.0),
        (2, [pdf(suspicious_modification=True, trusted=True)], "manipulated", 1.0),
        (2, [pdf(tampered_after_signing=True), credentials("trusted", **CAPTURE)], "manipulated", 1.0),
        (3, [credentials("trusted", **CAPTURE), DECLARED], "inconclusive", None),
        (4, [credentials("valid", **AI)], "ai_generated", None),
        (4, [credentials("trusted", **AI)], "ai_generated", None),
        (5, [credentials("none", False), DECLARED], "ai_generated", None),
        (5, [credentials("invalid", failures=["assertion.dataHash.mismatch"]), DECLARED], "ai_generated", None),
        (6, [credentials("trusted", **CAPTURE), NOTHING], "authentic", 0.0),
        (6, [credentials("trusted", **CAPTURE | {"origin": "computationalCapture"})], "authentic", 0.0),
        (7, [credentials("invalid", failures=["assertion.dataHash.mismatch"], **CAPTURE)], "inconclusive", None),
        (7, [credentials("invalid", failures=["claimSignature.mismatch"], **AI)], "inconclusive", None),
        (7, [credentials("invalid"), pdf(trusted=True)], "inconclusive", None),
        (8, [credentials("trusted", **AI_EDIT)], "inconclusive", None),
        (8, [credentials("trusted", ai_components=True, **CAPTURE)], "inconclusive", None),
        (8, [credentials("none", False), DECLARED_EDIT], "inconclusive", None),
        (9, [pdf(trusted=True)], "authentic", 0.0),
        (10, [pdf()], "no_manipulation_found", None),
        (10, [pdf(trusted=True, ends_signed=False)], "no_manipulation_found", None),
        (10, [pdf(coverage="ENTIRE_REVISION", modified_after_signing_level="benign")], "no_manipulation_found", None),
        (11, [credentials("valid", **CAPTURE)], "no_manipulation_found", None),
        (11, [credentials("trusted", **CAPTURE | {"edits": ["c2pa.cropped"]})], "no_manipulation_found", None),
        (11, [credentials("trusted", **CAPTURE | {"complete": False})], "no_manipulation_found", None),
        (11, [credentials("trusted", **CAPTURE, ingredient_failures=["x"])], "no_manipulation_found", None),
        (12, [credentials("none", False), NOTHING], "inconclusive", None),
        (12, [credentials("remote_only", False)], "inconclusive", None),
        (12, [credentials("error", False, failures=["broken"])], "inconclusive", None),
        (12, [pdf(coverage="UNCLEAR")], "inconclusive", None),
        (12, [pdf(trusted=True, modified_after_signing_level="annotated")], "inconclusive", None),
        (12, [pdf(intact=False, problem="placeholder")], "inconclusive", None),
        (12, [finding("pdf_signatures", False), finding("pdf_revisions", javascript=True)], "inconclusive", None),
        (12, [finding("c2pa_state", False, "OSError: no", error="OSError")], "inconclusive", None),
    ],
)
def test_each_row_of_the_table_holds(row: int, findings: list[Finding], verdict: str, p: float | None) -> None:
    told = judged(*findings)
    assert (told.verdict, told.p_manipulated) == (verdict, p)
    assert told.reasons
    assert all(reason.endswith(".") for reason in told.reasons), row


def test_a_broken_hash_is_said_first_and_never_called_manipulated() -> None:
    told = judged(credentials("invalid", failures=["assertion.dataHash.mismatch"]), DECLARED)
    assert told.reasons[0] == (
        "The content does not match its credentials (signed by Ada): the content is not the one that was signed."
    )
    told = judged(credentials("invalid", ingredient_failures=["claimSignature.mismatch"]))
    assert told.reasons[0].endswith("in a file it was made from, the signature does not verify.")
    assert "does not make it a fake" in told.reasons[1]


def test_edits_that_the_credentials_declare_are_named() -> None:
    told = judged(credentials("valid", edits=["c2pa.cropped", "c2pa.placed"], complete=False))
    assert "The credentials declare edits: c2pa.cropped, c2pa.placed." in told.reasons
    assert any("since it was opened" in reason for reason in told.reasons)


def test_provenance_tells_state_signer_and_any_declaration() -> None:
    told = judged(credentials("valid", issuer="Works", failures=["a"], ingredient_failures=["b"]), DECLARED)
    assert told.provenance.state is ProvenanceState.VALID
    assert (told.provenance.signer, told.provenance.issuer) == ("Ada", "Works")
    assert told.provenance.failures == ("a", "b")
    assert told.provenance.ai_declared is True
    assert judged(credentials("none", False), DECLARED_EDIT).provenance.ai_declared is False


@pytest.mark.parametrize(
    ("entry", "verdict"),
    [
        ("comment: made with Suno", "ai_generated"),
        ("XMP digitalSourceType: trainedAlgorithmicMedia", "ai_generated"),
        ("XMP digitalSourceType: compositeWithTrainedAlgorithmicMedia", "inconclusive"),
        ("XMP digitalSourceType: algorithmicMedia", "inconclusive"),
        ("title: A talk on films made with Sora", "inconclusive"),
        ("description (0): generated by AI, they say", "inconclusive"),
    ],
)
def test_tags_of_sound_and_video_declare_ai_unless_they_are_captions(entry: str, verdict: str) -> None:
    assert judged(finding("av_container", declared_ai=[entry]), kind=MediaKind.VIDEO).verdict == verdict


@pytest.mark.parametrize(
    ("named", "told"), [("image/png", True), ("image/jpeg", False), (None, False), ("application/pdf", True)]
)
def test_a_name_that_promises_another_type_is_a_remark(named: str | None, told: bool) -> None:
    reasons = judged(credentials("none", False), NOTHING, named=named).reasons
    assert any("is named like" in reason for reason in reasons) is told


def test_names_of_the_same_family_are_no_remark() -> None:
    told = judged(NOTHING, kind=MediaKind.VIDEO, named="video/quicktime")
    assert not any("is named like" in reason for reason in told.reasons)


def test_coverage_is_the_weight_of_what_applied() -> None:
    exif = finding("exif_facts", notes=["A note."])
    assert judged(credentials("none", False), NOTHING, exif).coverage == pytest.approx(0.1)
    assert judged(credentials("valid"), NOTHING, exif).coverage == pytest.approx(0.6)
    assert judged(pdf(), kind=MediaKind.PDF).coverage == pytest.approx(0.6)
    assert "A note." in judged(NOTHING, exif).reasons


@pytest.mark.parametrize("kind", MediaKind)
def test_no_kind_can_be_covered_by_more_than_all(kind: MediaKind) -> None:
    assert sum(WEIGHTS[kind].values()) <= 1.0 + 1e-9


STATES = ["none", "valid", "trusted", "invalid", "remote_only", "error"]
FINDINGS = st.fixed_dictionaries(
    {
        "c2pa": st.builds(
            credentials,
            st.sampled_from(STATES),
            st.booleans(),
            origin=st.sampled_from([None, "digitalCapture", "trainedAlgorithmicMedia"]),
            complete=st.booleans(),
            edits=st.sampled_from([[], ["c2pa.edited"]]),
            ai=st.sampled_from(["none", "edited", "generated"]),
            ai_declared=st.booleans(),
            ai_components=st.booleans(),
        ),
        "declared": st.sampled_from([DECLARED, DECLARED_EDIT, NOTHING]),
        "pdf": st.builds(pdf, intact=st.booleans(), trusted=st.booleans(), n_signatures=st.integers(0, 2)),
    }
)


@given(FINDINGS, st.sampled_from(["c2pa_state", "declared_ai", "pdf_signatures"]))
def test_a_detector_that_fails_accuses_nobody_and_lowers_the_coverage(told: dict[str, Finding], name: str) -> None:
    whole = list(told.values())
    failed = [
        finding(name, False, "ValueError: x", error="ValueError") if one.detector == name else one for one in whole
    ]
    before, after = judged(*whole), judged(*failed)
    assert after.coverage <= before.coverage
    assert after.verdict is not Verdict.MANIPULATED
    assert any(f"{name} failed" in reason for reason in after.reasons)


@given(FINDINGS)
def test_authentic_needs_a_trusted_signer(told: dict[str, Finding]) -> None:
    judgement = judged(*told.values())
    if judgement.verdict is Verdict.AUTHENTIC:
        assert told["c2pa"].facts["state"] == "trusted" or told["pdf"].facts["trusted"]
    assert (judgement.p_manipulated is None) == (judgement.verdict not in (Verdict.AUTHENTIC, Verdict.MANIPULATED))


def test_the_names_of_the_marks_are_those_in_the_findings() -> None:
    assert (SKIPPED, ERROR) == ("skipped", "error")
