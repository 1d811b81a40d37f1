"""The user's own list of certificates to trust. dfbatch ships none."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfbatch.errors import InvalidInput

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TrustList:
    """Anchors in PEM, and what tells one list from another in a report.

    ``date`` is the day the file was last changed (UTC): an old list does not know new
    signers. ``usages`` are the extended key usages a signer needs, one a line, or None for the usual ones.
    """

    name: str
    pem: str
    date: str
    sha256: str
    n_certificates: int
    usages: str | None = None

    def __str__(self) -> str:
        return f"{self.name} of {self.date} ({self.n_certificates} certificates, sha256 {self.sha256[:12]})"


def load_trust_list(path: str | Path) -> TrustList:
    """Read PEM certificates, or c2pa settings in JSON with ``trust.trust_anchors`` or ``trust.user_anchors``.

    Raises InvalidInput if the file cannot be read or holds no certificate.
    """
    file = Path(path)
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_BYTES)
        changed_s = file.stat().st_mtime
    except OSError as error:
        raise _unusable(file, error.strerror or str(error)) from None
    text = data.decode("utf-8", "replace")
    usages = None
    if text.lstrip().startswith("{"):
        text, usages = _from_settings(file, text)
    certificates = _CERTIFICATE.findall(text)
    if not certificates:
        raise _unusable(file, "it holds no PEM certificate")
    return TrustList(
        name=file.name,
        pem="\n".join(certificates) + "\n",
        date=datetime.datetime.fromtimestamp(changed_s, datetime.UTC).date().isoformat(),
        sha256=hashlib.sha256(data).hexdigest(),
        n_certificates=len(certificates),
        usages=usages,
    )


def _from_settings(file: Path, text: str) -> tuple[str, str | None]:
    try:
        trust: Any = json.loads(text).get("trust", {})
        anchors = [trust[key] for key in ("trust_anchors", "user_anchors") if trust.get(key)]
        return "\n".join(anchors), trust.get("trust_config")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _unusable(file, f"it is no c2pa settings file: {error}") from None


def _unusable(file: Path, why: str) -> InvalidInput:
    return InvalidInput(
        "trust_list", f"'{file}' cannot be used: {why}", "Give the path of a file with PEM certificates"
    )
