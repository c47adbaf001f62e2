"""Certificates that sign content credentials: read from a folder, or self-made.

A self-made certificate is issued by a root that is made for it alone, as C2PA refuses certificates that sign
themselves. The root's private key is discarded, so the root vouches for this one certificate.
"""

from __future__ import annotations

import datetime
import errno
import logging
import os
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError

if TYPE_CHECKING:
    from cryptography import x509

log = logging.getLogger(__name__)

CERTIFICATE, KEY = "certificate.pem", "key.pem"
"""Files of the folder: the chain, the signing certificate first, and its private key."""
SELF_MADE = "self-made certificate"
"""Common name of self-made certificates."""
DEFAULT_NAME = "a user of LivePortraitTalker"
LONGEST_NAME = 64  # characters of an organisation, by X.509
_DAYS = 3653  # ten years
_CLAIM_SIGNING = "1.3.6.1.4.1.62558.2.1"  # C2PA's extended key usage


@dataclass(frozen=True)
class Certificate:
    """A certificate with its private key."""

    folder: Path
    chain: bytes
    """PEM, the signing certificate first."""
    key: bytes = field(repr=False)
    """PEM, PKCS #8."""
    algorithm: str
    """Of the signature, by C2PA's name: es256, es384, es512, ps256 or ed25519."""
    name: str
    """Organisation or common name of the holder."""
    is_self_made: bool
    expires: datetime.date


def credentials_folder() -> Path:
    """Return $LPT_CREDENTIALS, else our folder in the user's configuration folder. Raises OSError: it is not known."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config")
    folder = Path(os.environ.get("LPT_CREDENTIALS") or config / "liveportrait-talker" / "credentials")
    try:
        return folder.expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(errno.ENOENT, "the home folder is not known", str(folder)) from error


def holds_certificate(folder: Path) -> bool:
    """Return whether one of the two files is there."""
    return any(os.path.lexists(folder / name) for name in (CERTIFICATE, KEY))


def find_certificate() -> Certificate:
    """Return the user's certificate; a self-made one is made where there is none.

    Raises:
        OptionError: it cannot be used.
        OSError: none could be made.
    """
    folder = credentials_folder()
    if not holds_certificate(folder):
        with suppress(OptionError):  # another process has made one meanwhile
            made = make_certificate(folder)
            log.info("a self-made certificate for content credentials is in %s from now on.", made.folder)
    return read_certificate(folder)


def read_certificate(folder: Path) -> Certificate:
    """Return the certificate in a folder. Raises OptionError where it cannot be used."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    path = folder / CERTIFICATE
    try:
        chain = x509.load_pem_x509_certificates(path.read_bytes())
        path = folder / KEY
        if sys.platform != "win32" and path.stat().st_mode & stat.S_IRWXO:
            raise OptionError(f"every user of this computer may read {path}: chmod 600 {path}")
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise OptionError(
            f"{path} cannot be read ({error.strerror}): content credentials are signed with it"
        ) from error
    except TypeError as error:
        raise OptionError(f"{path} is encrypted: store the private key without a password") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise OptionError(f"{path} is not a PEM file of a certificate and its key: replace it") from error
    if key.public_key() != chain[0].public_key():
        raise OptionError(f"{path} is not the private key of the first certificate in {folder / CERTIFICATE}")
    return Certificate(
        folder=folder,
        chain=b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        algorithm=_algorithm_of(key, path),
        name=_attribute(chain[0], "2.5.4.10") or _attribute(chain[0], "2.5.4.3"),
        is_self_made=_attribute(chain[0], "2.5.4.3") == SELF_MADE,
        expires=chain[0].not_valid_after_utc.date(),
    )


def make_certificate(folder: Path, *, name: str = DEFAULT_NAME, overwrite: bool = False) -> Certificate:
    """Write a self-made certificate and its key (ES256, file mode 600) to a folder, and return it.

    Args:
        folder: is created; a new one gets both files at once, or none.
        name: of the holder, which everybody can read who gets a signed file.
        overwrite: replace a certificate that is there.

    Raises:
        OptionError: there is a certificate already.
        OSError: the folder cannot be written.
    """
    if not name.strip() or len(name) > LONGEST_NAME:
        raise OptionError(f"--name must have 1 to {LONGEST_NAME} characters.")
    if holds_certificate(folder) and not overwrite:
        raise OptionError(
            f"{folder} holds a certificate already: files that it signed are known by it; use --overwrite to replace it"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        chain, key = _sign_certificates(name)
        (part / KEY).touch(0o600)
        (part / KEY).write_bytes(key)
        (part / CERTIFICATE).write_bytes(chain)
        if overwrite and holds_certificate(folder):
            for file in (KEY, CERTIFICATE):
                (part / file).replace(folder / file)
        else:
            with suppress(OSError):
                folder.rmdir()  # an empty one, which a rename does not replace everywhere
            try:
                part.rename(folder)
            except OSError as error:
                if holds_certificate(folder):  # of another process, meanwhile
                    raise OptionError(f"{folder} holds a certificate already") from error
                if not folder.is_dir():
                    raise
                for file in (KEY, CERTIFICATE):  # a folder that holds other files, or that cannot be renamed
                    (part / file).replace(folder / file)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return read_certificate(folder)


def _sign_certificates(name: str) -> tuple[bytes, bytes]:
    """Return the PEM chain of a new certificate and its root, and the PEM key of the former."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(common: str) -> x509.Name:
        organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)
        return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common)])

    def usage(**given: bool) -> x509.KeyUsage:
        every = (
            "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign "
            "crl_sign encipher_only decipher_only"
        )
        return x509.KeyUsage(**{each: given.get(each, False) for each in every.split()})

    issuer_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = named("self-made root")
    # From the start of yesterday: the clock of who verifies may be slow, and nobody needs to know the minute.
    start = datetime.datetime.now(datetime.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    start -= datetime.timedelta(days=1)

    def certify(subject: x509.Name, public: Any, is_issuer: bool, allowed: x509.KeyUsage) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
        builder = builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=_DAYS))
        builder = builder.add_extension(x509.BasicConstraints(is_issuer, 0 if is_issuer else None), critical=True)
        builder = builder.add_extension(allowed, critical=True)
        return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)

    root = certify(issuer, issuer_key.public_key(), True, usage(key_cert_sign=True, crl_sign=True))
    leaf = certify(named(SELF_MADE), key.public_key(), False, usage(digital_signature=True))
    # C2PA's own purpose, and for older verifiers one that they accept.
    purposes = [x509.ObjectIdentifier(_CLAIM_SIGNING), ExtendedKeyUsageOID.EMAIL_PROTECTION]
    leaf = leaf.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    leaf = leaf.add_extension(authority, critical=False)
    chain = [each.sign(issuer_key, hashes.SHA256()) for each in (leaf, root)]
    return (
        b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _algorithm_of(key: Any, path: Path) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey):
        known = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
        if key.curve.name in known:
            return known[key.curve.name]
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    elif isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    raise OptionError(
        f"{path} is of a kind that C2PA does not allow: use a key for ES256, ES384, ES512, PS256 or Ed25519"
    )


def _attribute(certificate: x509.Certificate, oid: str) -> str:
    """Return a part of the holder's name by its object identifier; empty where it is missing."""
    from cryptography.x509 import ObjectIdentifier

    found = certificate.subject.get_attributes_for_oid(ObjectIdentifier(oid))
    return str(found[0].value) if found else ""
