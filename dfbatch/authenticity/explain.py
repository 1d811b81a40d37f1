"""A report in plain text: what is known, why, and what each detector said."""

from __future__ import annotations

from dfbatch.authenticity.findings import Finding, Provenance, ProvenanceState, Report


def explain(report: Report) -> str:
    """Several lines: verdict, reasons, credentials, findings (``+`` looked, ``-`` could not, with the reason)."""
    p = "" if report.p_manipulated is None else f", P(manipulated) {report.p_manipulated:.2f}"
    lines = [
        f"{report.uri or report.sha256[:12]}: {report.verdict.value.replace('_', ' ')}",
        f"{report.media_type}, {report.size:,} bytes, coverage {report.coverage:.0%}{p}",
        *(f"* {reason}" for reason in report.reasons),
        *_credentials(report.provenance),
        *(_line(finding) for finding in sorted(report.findings, key=lambda one: not one.applicable)),
    ]
    return "\n".join(lines)


def _credentials(provenance: Provenance) -> list[str]:
    if provenance.state is ProvenanceState.NONE:
        return ["Content Credentials: none"]
    told = [
        provenance.state.value.replace("_", " "),
        f"signed by {provenance.signer} ({provenance.issuer})" if provenance.signer else "",
        f"at {provenance.signed_at}" if provenance.signed_at else "",
        f"with {provenance.claim_generator}" if provenance.claim_generator else "",
        f"failures: {', '.join(provenance.failures)}" if provenance.failures else "",
        f"trust list: {provenance.trust_list}" if provenance.trust_list else "",
    ]
    return [f"Content Credentials: {', '.join(part for part in told if part)}"]


def _line(finding: Finding) -> str:
    score = "" if finding.score is None else f" [{finding.score:.2f}]"
    return f"{'+' if finding.applicable else '-'} {finding.detector}{score}: {finding.reason}"
