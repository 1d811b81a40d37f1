"""Content Credentials: the state is the published one, offline, and nothing invalid is called a fake."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dfbatch.authenticity.detectors.c2pa_state import C2paState
from dfbatch.authenticity.detectors.trust_list import TrustList, load_trust_list
from dfbatch.authenticity.findings import Finding
from dfbatch.authenticity.media.opening import open_media
from dfbatch.samples.certificates import Identity, new_identity
from dfbatch.samples.credentials import CredentialSigner, broken_signature, created

pytestmark = pytest.mark.integration

PUBLISHED = Path(__file__).parents[4].parent / "shared" / "data" / "c2pa"
# state without anchors, state with those of the test settings, failures
EXPECTED: dict[str, tuple[str, str, list[str]]] = {
    "CA.jpg": ("valid", "trusted", []),
    "CA_ct.jpg": ("valid", "trusted", []),
    "C.dng": ("valid", "trusted", []),
    "boxhash.jpg": ("valid", "trusted", []),
    "sample1_signed.wav": ("valid", "trusted", []),
    "CACAE-uri-CA.jpg": ("valid", "trusted", []),
    "legacy_ingredient_hash.jpg": ("valid", "trusted", []),
    "C_with_CAWG_data.jpg": ("valid", "valid", []),
    "pdf-file.pdf": ("valid", "valid", []),
    "video1.mp4": ("valid", "valid", []),
    "E-sig-CA.jpg": ("invalid", "invalid", ["claimSignature.mismatch"]),
    "XCA.jpg": ("invalid", "invalid", ["assertion.dataHash.mismatch"]),
    "CIE-sig-CA.jpg": ("invalid", "invalid", ["claimSignature.mismatch"]),
    "cloud.jpg": ("remote_only", "remote_only", ["remote_manifest"]),
}


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the public sample files are not part of a clone")
@pytest.mark.parametrize("file", EXPECTED)
def test_the_state_is_the_published_one(file: str) -> None:
    without, with_anchors, failures = EXPECTED[file]
    media = open_media(PUBLISHED / file)
    found = C2paState().examine(media)
    assert found.facts["state"] == without
    assert [*found.facts["failures"], *found.facts.get("ingredient_failures", ())] == failures
    trust = load_trust_list(PUBLISHED / "trust_config_test_settings.json")
    assert C2paState(trust).examine(media).facts["state"] == with_anchors
    assert "fake" not in found.reason


@pytest.fixture(scope="module")
def identity() -> Identity:
    return new_identity("Camera")


@pytest.fixture(scope="module")
def signer(identity: Identity) -> CredentialSigner:
    return CredentialSigner(identity)


@pytest.fixture(scope="module")
def trust(identity: Identity, tmp_path_factory: pytest.TempPathFactory) -> TrustList:
    path = tmp_path_factory.mktemp("trust") / "anchors.pem"
    path.write_bytes(identity.anchor_pem)
    return load_trust_list(path)


@pytest.fixture(scope="module")
def plain() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((64, 48), 60).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture(scope="module")
def signed(signer: CredentialSigner, plain: bytes) -> Callable[..., bytes]:
    def sign(source: str = "digitalCapture", **options: Any) -> bytes:
        return signer.sign(plain, "image/jpeg", "a picture", [created(source)], **options)

    return sign


def examined(data: bytes, trust: TrustList | None = None) -> Finding:
    return C2paState(trust).examine(open_media(data))


def test_signer_and_story_are_told(signed: Callable[..., bytes], trust: TrustList) -> None:
    found = examined(signed(), trust)
    assert found.applicable
    assert found.score is None
    facts = found.facts
    assert (facts["state"], facts["signer"], facts["issuer"]) == ("trusted", "Camera sample signer", "dfbatch samples")
    assert (facts["origin"], facts["complete"], facts["edits"]) == ("digitalCapture", True, [])
    assert len(facts["signer_fingerprint"]) == 64
    assert facts["trust_list"].startswith("anchors.pem of ")
    assert "your trust list vouches for" in found.reason


def test_a_signer_outside_the_list_is_valid_and_said_to_be_unknown(
    signed: Callable[..., bytes], tmp_path: Path
) -> None:
    (tmp_path / "other.pem").write_bytes(new_identity("Other").anchor_pem)
    found = examined(signed(), load_trust_list(tmp_path / "other.pem"))
    assert found.facts["state"] == "valid"
    assert "your trust list does not vouch for" in found.reason
    assert "no trust list vouches for" in examined(signed()).reason


def test_a_declaration_of_ai_is_read(signed: Callable[..., bytes]) -> None:
    assert examined(signed("trainedAlgorithmicMedia")).facts["ai_declared"] is True
    assert examined(signed("digitalCapture")).facts["ai_declared"] is False


def test_a_flipped_bit_of_the_signature_is_invalid(signed: Callable[..., bytes], signer: CredentialSigner) -> None:
    data = signed()
    found = examined(broken_signature(data, signer.last_signature))
    assert found.facts["state"] == "invalid"
    assert "the signature does not verify" in found.reason


def test_changed_content_is_invalid(signed: Callable[..., bytes]) -> None:
    data = bytearray(signed())
    data[-20] ^= 1
    found = examined(bytes(data))
    assert found.facts["failures"] == ["assertion.dataHash.mismatch"]
    assert "the content is not the one that was signed" in found.reason


def test_credentials_on_a_server_are_not_fetched(signed: Callable[..., bytes]) -> None:
    found = examined(signed(remote_url="https://credentials.invalid/one.c2pa"))
    assert not found.applicable
    assert (found.facts["state"], found.facts["remote_url"]) == ("remote_only", "https://credentials.invalid/one.c2pa")


def test_a_file_without_credentials_is_no_evidence(plain: bytes) -> None:
    found = examined(plain)
    assert not found.applicable
    assert found.facts == {"state": "none", "failures": [], "ai_declared": False}


def test_a_broken_manifest_is_an_error_not_a_verdict(signed: Callable[..., bytes]) -> None:
    data = signed()
    at = data.index(b"jumb") + 30
    found = examined(data[:at] + b"\xff" * 40 + data[at + 40 :])
    assert found.facts["state"] in ("error", "none", "invalid")
    assert found.score is None


def test_types_that_cannot_carry_credentials_are_left_out(as_media: Any) -> None:
    from dfbatch.authenticity.media.media import MediaKind

    assert "cannot carry" in str(C2paState().applies_to(as_media(b"BM", "image/bmp", MediaKind.IMAGE)))
