from __future__ import annotations

import io
import json

import c2pa
import numpy as np
import pytest
from PIL import Image

from dfbatch.samples import SampleSet
from dfbatch.samples.credentials import broken_signature, moved_credentials

pytestmark = pytest.mark.integration

OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}


def _read(made: SampleSet, file: str, *, trusted: bool = False) -> c2pa.Reader:
    trust = {"trust": {"user_anchors": made.trust_list.read_text()}} if trusted else {}
    return c2pa.Reader(str(made.path(file)), context=c2pa.Context.from_dict({**OFFLINE, **trust}))


def _failures(reader: c2pa.Reader) -> set[str]:
    return {entry["code"] for entry in reader.get_validation_results()["activeManifest"]["failure"]}


def _signed(made: SampleSet) -> list[str]:
    return [s.file for s in made if s.group == "c2pa" and s.provenance_state != "remote_only"]


def test_the_c2pa_library_finds_the_expected_state_without_and_with_the_trust_list(made: SampleSet):
    for file in _signed(made):
        assert _read(made, file).get_validation_state().lower() == made[file].provenance_state, file
        state = _read(made, file, trusted=True).get_validation_state().lower()
        assert state == made[file].trusted_provenance_state, file


def test_the_trust_list_of_another_call_does_not_make_it_trusted(made: SampleSet):
    from dfbatch.samples.certificates import new_identity

    trust = {"trust": {"user_anchors": new_identity("Camera").anchor_pem.decode()}}
    context = c2pa.Context.from_dict({**OFFLINE, **trust})
    assert c2pa.Reader(str(made.path("c2pa-capture.jpg")), context=context).get_validation_state() == "Valid"


def test_an_altered_picture_fails_on_its_hash_and_a_broken_signature_on_itself(made: SampleSet):
    assert _failures(_read(made, "c2pa-altered.jpg", trusted=True)) == {"assertion.dataHash.mismatch"}
    assert _failures(_read(made, "c2pa-broken-signature.jpg", trusted=True)) == {"claimSignature.mismatch"}


@pytest.mark.parametrize(
    ("file", "action", "source_type"),
    [
        ("c2pa-capture.jpg", "c2pa.created", "digitalCapture"),
        ("c2pa-sound.wav", "c2pa.created", "digitalCapture"),
        ("c2pa-clip.mp4", "c2pa.created", "digitalCapture"),
        ("c2pa-ai-generated.jpg", "c2pa.created", "trainedAlgorithmicMedia"),
    ],
)
def test_the_manifest_says_where_the_item_came_from(made: SampleSet, file, action, source_type):
    (first,) = _actions(_read(made, file))
    assert first["action"] == action
    assert first["digitalSourceType"].rpartition("/")[2] == source_type


def test_the_edited_picture_carries_its_capture_as_parent(made: SampleSet):
    reader = _read(made, "c2pa-edited.jpg")
    (parent,) = reader.get_active_manifest()["ingredients"]
    assert parent["relationship"] == "parentOf"
    assert [action["action"] for action in _actions(reader)] == ["c2pa.opened", "c2pa.cropped", "c2pa.edited"]
    assert len(json.loads(reader.json())["manifests"]) == 2


def test_remote_credentials_are_only_an_address_that_cannot_resolve(made: SampleSet):
    with pytest.raises(c2pa.C2paError, match=r"remote manifests from url https://credentials\.invalid/"):
        _read(made, "c2pa-remote.jpg")


def test_all_signed_pictures_decode_even_the_altered_one(made: SampleSet):
    for file in _signed(made):
        if file.endswith(".jpg"):
            with Image.open(made.path(file)) as image:
                image.load()


def test_the_altered_picture_holds_the_credentials_of_the_capture_and_other_pixels(made: SampleSet):
    altered, capture = (_read(made, file) for file in ("c2pa-altered.jpg", "c2pa-capture.jpg"))
    assert altered.get_active_manifest()["label"] == capture.get_active_manifest()["label"]
    with Image.open(made.path("c2pa-altered.jpg")) as one, Image.open(made.path("c2pa-capture.jpg")) as other:
        assert not np.array_equal(np.asarray(one), np.asarray(other))


def test_a_broken_signature_differs_in_one_bit(made: SampleSet):
    broken, good = (made.path(f"c2pa-{file}.jpg").read_bytes() for file in ("broken-signature", "capture"))
    flipped = int.from_bytes(broken, "big") ^ int.from_bytes(good, "big")
    assert flipped.bit_count() == 1


def test_a_signature_that_is_not_there_once_is_refused():
    with pytest.raises(ValueError, match="exactly once"):
        broken_signature(b"abcabc", b"abc")


def test_credentials_moved_back_onto_the_capture_give_the_capture_again(made: SampleSet, album):
    capture = made.path("c2pa-capture.jpg").read_bytes()
    assert moved_credentials(capture, album.capture) == capture
    assert Image.open(io.BytesIO(album.capture)).size == Image.open(io.BytesIO(capture)).size


def _actions(reader: c2pa.Reader) -> list[dict]:
    assertions = reader.get_active_manifest()["assertions"]
    return next(a for a in assertions if a["label"].startswith("c2pa.actions"))["data"]["actions"]
