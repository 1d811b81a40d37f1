"""A trust list is the user's own, and a report can tell which one it was."""

import json
import os
from pathlib import Path

import pytest

from dfbatch.authenticity.detectors.trust_list import load_trust_list
from dfbatch.errors import InvalidInput
from dfbatch.samples.certificates import new_identity


def test_certificates_are_counted_and_dated(tmp_path: Path) -> None:
    path = tmp_path / "anchors.pem"
    identity = new_identity("Press")
    path.write_bytes(b"# my list\n" + identity.chain_pem)
    os.utime(path, (0, 1_767_225_600))
    trust = load_trust_list(path)
    assert (trust.n_certificates, trust.date, trust.usages) == (2, "2026-01-01", None)
    assert str(trust).startswith("anchors.pem of 2026-01-01 (2 certificates, sha256 ")


def test_a_settings_file_of_c2pa_is_a_trust_list(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    anchor = new_identity("Press").anchor_pem.decode()
    path.write_text(json.dumps({"trust": {"trust_anchors": anchor, "trust_config": "1.3.6.1.5.5.7.3.4"}}))
    trust = load_trust_list(path)
    assert (trust.n_certificates, trust.usages) == (1, "1.3.6.1.5.5.7.3.4")


@pytest.mark.parametrize(
    "content", [b"", b"no certificate", b"{", b"[]", b'{"trust": 7}', b'{"trust": {}}', b"\xff\xfe"]
)
def test_a_list_without_certificates_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "anchors.pem"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="trust_list"):
        load_trust_list(path)


def test_a_missing_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        load_trust_list(tmp_path / "anchors.pem")
