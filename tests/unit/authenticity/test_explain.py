"""A report reads as text."""

from dfbatch.authenticity.explain import explain
from dfbatch.authenticity.findings import Finding, Provenance, ProvenanceState, Report, Verdict


def test_the_text_tells_verdict_reasons_credentials_and_findings() -> None:
    report = Report(
        uri="photo.jpg",
        media_type="image/jpeg",
        size=1234,
        sha256="ab" * 32,
        verdict=Verdict.NO_MANIPULATION_FOUND,
        reasons=("It is unchanged.",),
        findings=(
            Finding("exif_facts", "1", False, "No EXIF."),
            Finding("c2pa_state", "1", True, "It holds.", score=0.25),
        ),
        provenance=Provenance(ProvenanceState.VALID, "Ada", issuer="Works", failures=("odd",)),
        coverage=0.5,
        p_manipulated=0.1,
    )
    assert explain(report).splitlines() == [
        "photo.jpg: no manipulation found",
        "image/jpeg, 1,234 bytes, coverage 50%, P(manipulated) 0.10",
        "* It is unchanged.",
        "Content Credentials: valid, signed by Ada (Works), failures: odd",
        "+ c2pa_state [0.25]: It holds.",
        "- exif_facts: No EXIF.",
    ]
