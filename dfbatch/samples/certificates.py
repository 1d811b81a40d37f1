"""Keys and certificates of our own signers: made on each call, held in memory, never kept."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = dt.timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Identity:
    """A signer: its P-256 key, its certificate, and the root that issued it. ``repr`` shows no key."""

    key: ec.EllipticCurvePrivateKey
    leaf: x509.Certificate
    root: x509.Certificate

    def __repr__(self) -> str:
        return f"Identity({self.leaf.subject.rfc4514_string()!r})"

    @property
    def anchor_pem(self) -> bytes:
        """The root alone: what a trust list holds."""
        return self.root.public_bytes(Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        """Leaf first, then the root."""
        return self.leaf.public_bytes(Encoding.PEM) + self.anchor_pem

    @property
    def key_pem(self) -> bytes:
        """The private key as PKCS 8."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def new_identity(purpose: str) -> Identity:
    """A fresh signer for ``purpose`` (a word or two in its name) that is valid from yesterday for ten years."""
    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name, leaf_name = _name(f"{purpose} sample root"), _name(f"{purpose} sample signer")
    root = _draft(root_name, root_name, root_key, root_key, is_root=True).sign(root_key, hashes.SHA256())
    draft = _draft(leaf_name, root_name, leaf_key, root_key, is_root=False)
    # C2PA asks for one purpose; e-mail protection is the one that every validator's default list has.
    draft = draft.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return Identity(leaf_key, draft.sign(root_key, hashes.SHA256()), root)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "dfbatch samples"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _draft(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_root: bool,
) -> x509.CertificateBuilder:
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    usage = x509.KeyUsage(
        digital_signature=not is_root,
        content_commitment=not is_root,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_root,
        crl_sign=is_root,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + _LIFE)
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=0 if is_root else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
