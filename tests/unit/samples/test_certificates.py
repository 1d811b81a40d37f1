from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from dfbatch.samples.certificates import new_identity


def test_the_root_issued_the_leaf_and_another_root_did_not():
    one, other = new_identity("One"), new_identity("One")
    one.leaf.verify_directly_issued_by(one.root)
    with pytest.raises(InvalidSignature):
        one.leaf.verify_directly_issued_by(other.root)


def test_the_leaf_may_sign_but_not_issue():
    leaf = new_identity("One").leaf
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert leaf.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    assert not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_certificates_are_valid_now_and_the_chain_starts_with_the_leaf():
    identity = new_identity("One")
    now = dt.datetime.now(dt.UTC)
    chain = x509.load_pem_x509_certificates(identity.chain_pem)
    assert chain == [identity.leaf, identity.root]
    assert all(c.not_valid_before_utc < now < c.not_valid_after_utc for c in chain)


def test_repr_shows_the_name_and_no_key():
    assert repr(new_identity("One")) == "Identity('CN=One sample signer,O=dfbatch samples')"
