from __future__ import annotations

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfbatch.errors import LedgerCorrupt, UnknownId
from dfbatch.ledger import blobs


@given(st.binary(max_size=100))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=20)
def test_bytes_are_kept_by_their_hash_and_once(storage, data):
    sha = blobs.put(storage, data)
    assert sha == blobs.put(storage, data) == hashlib.sha256(data).hexdigest()
    assert blobs.get(storage, sha) == data


def test_verifiers_are_kept_apart_from_media(storage):
    sha = blobs.put(storage, b"code", "verifiers")
    assert blobs.get(storage, sha, "verifiers") == b"code"
    with pytest.raises(UnknownId, match="holds nothing"):
        blobs.get(storage, sha)


def test_changed_bytes_are_never_handed_out(storage):
    sha = blobs.put(storage, b"true", "verifiers")
    storage.replace(f"verifiers/{sha}", b"false")
    with pytest.raises(LedgerCorrupt, match="has changed"):
        blobs.get(storage, sha, "verifiers")


@pytest.mark.parametrize("sha", ["", "../ledger.json", "a" * 63, "A" * 64, "../" * 20 + "etc/passwd", "g" * 64])
def test_what_is_no_hash_never_reaches_the_disk(storage, sha):
    with pytest.raises(UnknownId, match="no SHA-256"):
        blobs.get(storage, sha)
