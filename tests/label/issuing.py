"""Certificates for tests, of any kind of key, as a certificate authority issues them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM
KEYS = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "es512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
}
USAGES = [
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
]


def pem_of(key: Any, password: bytes | None = None) -> bytes:
    """Return a private key as OpenSSL writes it."""
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption)


def issue(
    folder: Path, key: Any, *, name: str = "Example Studio", days: float = 30, purpose: Any = None
) -> tuple[Path, Path]:
    """Write certificate.pem (without the root) and key.pem to a folder, and return it and the root's file beside it."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)

    def named(common: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name), x509.NameAttribute(NameOID.COMMON_NAME, common)]
        )

    def certify(subject: str, public: Any, usage: str, is_root: bool) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder(named("Example Root"), named(subject), public, x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=60))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(is_root, None), critical=True)
            .add_extension(x509.KeyUsage(**{each: each == usage for each in USAGES}), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )

    root = certify("Example Root", root_key.public_key(), "key_cert_sign", True).sign(root_key, hashes.SHA256())
    leaf = certify("Example Signer", key.public_key(), "digital_signature", False)
    leaf = leaf.add_extension(
        x509.ExtendedKeyUsage([purpose or ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
    ).add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
    folder.mkdir()
    (folder / "certificate.pem").write_bytes(leaf.sign(root_key, hashes.SHA256()).public_bytes(PEM))
    (folder / "key.pem").touch(0o600)
    (folder / "key.pem").write_bytes(pem_of(key))
    authority = folder.with_name(f"{folder.name}_root.pem")
    authority.write_bytes(root.public_bytes(PEM))
    return folder, authority
