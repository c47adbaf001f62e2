"""Certificates: self-made ones, the user's own, and what cannot sign."""

from __future__ import annotations

import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("c2pa", reason="c2pa-python is not installed (the extra c2pa)")

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from issuing import KEYS, issue, pem_of

from liveportrait_talker.errors import OptionError
from liveportrait_talker.label import certificates
from liveportrait_talker.label.certificates import (
    CERTIFICATE,
    KEY,
    credentials_folder,
    find_certificate,
    make_certificate,
    read_certificate,
)
from liveportrait_talker.label.signing import check_certificate


def test_self_made_certificate_is_accepted_and_private(tmp_path):
    made = make_certificate(tmp_path / "new" / "keys", name="Anna’s Studio")
    check_certificate(made)
    assert (made.algorithm, made.name, made.is_self_made) == ("es256", "Anna’s Studio", True)
    assert sorted(file.name for file in made.folder.iterdir()) == [CERTIFICATE, KEY]
    assert list(made.folder.parent.iterdir()) == [made.folder]
    if sys.platform != "win32":
        assert stat.S_IMODE((made.folder / KEY).stat().st_mode) == 0o600
        assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700


def test_self_made_certificate_has_what_c2pa_asks_for(tmp_path):
    leaf, root = x509.load_pem_x509_certificates(make_certificate(tmp_path / "keys").chain)
    leaf.verify_directly_issued_by(root)
    assert leaf.subject != leaf.issuer and leaf.version == x509.Version.v3
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.digital_signature and not usage.value.key_cert_sign
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert x509.ObjectIdentifier("1.3.6.1.4.1.62558.2.1") in purposes
    assert ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in purposes
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days > 3650


def test_nothing_is_replaced_unless_asked_for(tmp_path):
    folder = tmp_path / "keys"
    before = make_certificate(folder)
    with pytest.raises(OptionError, match="--overwrite"):
        make_certificate(folder)
    assert read_certificate(folder) == before
    after = make_certificate(folder, overwrite=True)
    assert after.key != before.key and read_certificate(folder) == after
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("precious")
    beside = make_certificate(tmp_path / "other")
    assert read_certificate(tmp_path / "other") == beside
    assert (tmp_path / "other" / "mine.txt").read_text() == "precious"
    assert sorted(file.name for file in tmp_path.rglob("*")) == sorted(
        [*["certificate.pem", "key.pem"] * 2, "keys", "mine.txt", "other"]
    )


@pytest.mark.parametrize("name", ["", " ", "x" * 65])
def test_names_that_no_certificate_can_have(tmp_path, name):
    with pytest.raises(OptionError, match="--name"):
        make_certificate(tmp_path / "keys", name=name)
    assert not list(tmp_path.iterdir())


def test_first_uses_at_the_same_time_find_one_certificate(tmp_path, monkeypatch):
    monkeypatch.setenv("LPT_CREDENTIALS", str(tmp_path / "keys"))
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: find_certificate(), range(8)))
    assert len({each.key for each in found}) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["keys"]


def test_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("LPT_CREDENTIALS", str(tmp_path / "mine"))
    assert credentials_folder() == tmp_path / "mine"
    monkeypatch.delenv("LPT_CREDENTIALS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert credentials_folder() == tmp_path / "liveportrait-talker" / "credentials"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(certificates.Path, "expanduser", lambda self: (_ for _ in ()).throw(RuntimeError()))
    with pytest.raises(OSError, match="home folder"):
        credentials_folder()


@pytest.mark.parametrize("algorithm", KEYS)
def test_own_certificate(tmp_path, algorithm):
    folder, _ = issue(tmp_path / "own", KEYS[algorithm]())
    own = read_certificate(folder)
    assert (own.algorithm, own.name, own.is_self_made) == (algorithm, "Example Studio", False)
    check_certificate(own)


def encrypt_key(folder: Path) -> None:
    (folder / KEY).write_bytes(pem_of(KEYS["es256"](), b"secret"))


def replace_key(folder: Path) -> None:
    (folder / KEY).write_bytes(pem_of(KEYS["es256"]()))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / KEY).unlink(), "key.pem.* cannot be read"),
        (lambda folder: (folder / CERTIFICATE).unlink(), "certificate.pem.* cannot be read"),
        (lambda folder: (folder / KEY).write_bytes(b"key"), "not a PEM file"),
        (lambda folder: (folder / CERTIFICATE).write_bytes(b""), "not a PEM file"),
        (lambda folder: (folder / CERTIFICATE).write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n"), "not a PEM file"),
        (lambda folder: (folder / KEY).chmod(0o604), "every user of this computer may read"),
        (encrypt_key, "without a password"),
        (replace_key, "not the private key of"),
    ],
)
def test_damaged_folder_is_refused(tmp_path, damage, message):
    folder, _ = issue(tmp_path / "own", KEYS["es256"]())
    damage(folder)
    with pytest.raises(OptionError, match=message):
        read_certificate(folder)


@pytest.mark.parametrize(
    "how",
    [
        {"days": -1},
        {"purpose": ExtendedKeyUsageOID.SERVER_AUTH},
        {"purpose": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE},
    ],
    ids=["expired", "for servers", "for anything"],
)
def test_certificate_that_c2pa_refuses(tmp_path, how):
    folder, _ = issue(tmp_path / "own", KEYS["es256"](), **how)
    with pytest.raises(OptionError, match=r"cannot sign content credentials .*--no-credentials"):
        check_certificate(read_certificate(folder))


def test_key_of_another_kind_is_refused(tmp_path):
    from cryptography.hazmat.primitives.asymmetric import ec

    folder, _ = issue(tmp_path / "own", ec.generate_private_key(ec.SECP256K1()))
    with pytest.raises(OptionError, match="C2PA does not allow"):
        read_certificate(folder)
