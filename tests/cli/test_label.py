"""`label make-key` and `label verify`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from liveportrait_talker.cli import label
from liveportrait_talker.cli.main import main


def test_without_the_library(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(label, "missing_library", lambda: "c2pa-python is not installed (pip install …)")
    for words in (["verify", "file.mp4"], ["make-key", "-o", str(tmp_path / "keys")]):
        assert main(["label", *words]) == 2
        assert "pip install" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for certificates, which is used."""
    pytest.importorskip("c2pa", reason="c2pa-python is not installed (the extra c2pa)")
    monkeypatch.setenv("LPT_CREDENTIALS", str(tmp_path / "keys"))
    return tmp_path / "keys"


@pytest.fixture
def signed(folder: Path, tmp_path: Path) -> Path:
    """A picture that the certificate in `folder` has signed."""
    from liveportrait_talker.label.certificates import find_certificate
    from liveportrait_talker.label.manifest import build_manifest
    from liveportrait_talker.label.signing import sign_file

    assert main(["label", "make-key", "--name", "Studio", "--quiet"]) == 0
    path = tmp_path / "picture.png"
    Image.new("RGB", (40, 40), "red").save(path)
    manifest = build_manifest(title="t", description="d", trained=True, opened=False, ingredients=())
    sign_file(path, manifest, find_certificate())
    return path


def test_make_key(folder, capsys, tmp_path):
    assert main(["label", "make-key", "--name", "Studio"]) == 0
    assert f"{folder}: a self-made certificate of Studio" in capsys.readouterr().out
    assert main(["label", "make-key"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["label", "make-key", "--overwrite"]) == 0
    assert main(["label", "make-key", "-o", str(tmp_path / "other")]) == 0
    assert f"LPT_CREDENTIALS={tmp_path / 'other'}" in capsys.readouterr().out


def test_verify_valid(signed, folder, capsys, monkeypatch, tmp_path):
    assert main(["label", "verify", str(signed)]) == 0
    out = capsys.readouterr().out
    assert (
        "valid. It has not changed since it was signed, by the self-made certificate of this computer (Studio)" in out
    )
    assert "compositeWithTrainedAlgorithmicMedia" in out and "LivePortraitTalker" in out
    assert main(["label", "verify", str(signed), "--trust", str(folder / "certificate.pem")]) == 0
    assert "on the list given" in capsys.readouterr().out
    monkeypatch.setenv("LPT_CREDENTIALS", str(tmp_path / "elsewhere"))
    assert main(["label", "verify", str(signed), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["signer"] == {"name": "Studio", "proof": "self-made certificate"}
    assert main(["label", "verify", str(signed), "--quiet"]) == 0
    assert not capsys.readouterr().out


def test_verify_untrusted_signer(signed, capsys, tmp_path):
    assert main(["label", "make-key", "-o", str(tmp_path / "other"), "--quiet"]) == 0
    assert main(["label", "verify", str(signed), "--trust", str(tmp_path / "other" / "certificate.pem")]) == 1
    assert "not on the list given" in capsys.readouterr().out


def test_verify_changed_file(signed, capsys):
    data = bytearray(signed.read_bytes())
    data[data.rindex(b"IDAT") + 5] ^= 1
    signed.write_bytes(data)
    assert main(["label", "verify", str(signed)]) == 1
    assert "invalid. It was changed after it had been signed" in capsys.readouterr().out


def test_verify_damaged_credentials(signed, capsys):
    data = bytearray(signed.read_bytes())
    data[data.index(b"jumd") + 1] ^= 255
    signed.write_bytes(data)
    assert main(["label", "verify", str(signed)]) == 1
    assert "invalid" in capsys.readouterr().out


def test_verify_without_credentials(folder, capsys, tmp_path):
    (tmp_path / "file.txt").write_text("text")
    Image.new("RGB", (9, 9)).save(tmp_path / "plain.png")
    for name in ("file.txt", "plain.png"):
        assert main(["label", "verify", str(tmp_path / name)]) == 1
        assert "it has no content credentials" in capsys.readouterr().out


def test_verify_bad_input(signed, capsys, tmp_path):
    for words in (
        [str(tmp_path / "missing.mp4")],
        [str(tmp_path)],
        [str(signed), "--trust", str(tmp_path / "missing.pem")],
        [str(signed), "--trust", str(signed)],
    ):
        assert main(["label", "verify", *words]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
