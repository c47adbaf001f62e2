"""Content credentials: they verify by the reference library, and a changed byte is found."""

from __future__ import annotations

import _thread
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("c2pa", reason="c2pa-python is not installed (the extra c2pa)")

import c2pa
from issuing import KEYS, issue

from liveportrait_talker.errors import MediaError
from liveportrait_talker.label import signing
from liveportrait_talker.label.certificates import Certificate, make_certificate, read_certificate
from liveportrait_talker.label.library import FORMATS
from liveportrait_talker.label.manifest import Ingredient, build_manifest
from liveportrait_talker.label.verification import verify_file
from liveportrait_talker.media import VideoWriter
from liveportrait_talker.media.image_output import write_image

SUFFIXES = (".mp4", ".mov", ".png", ".jpg", ".webp")
MANIFEST = build_manifest(
    title="AI-generated test",
    description="made for a test",
    trained=False,
    opened=False,
    ingredients=[Ingredient("source", "ab" * 32), Ingredient("voice", "cd" * 32)],
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate") / "keys", name="Test")


def write_file(path: Path) -> Path:
    """Write a small noisy video or picture."""
    image = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    if path.suffix not in (".mp4", ".mov"):
        write_image(path, image, title="test", comment="AI-generated")
        return path
    transparent = path.suffix == ".mov"
    if transparent:
        image = np.dstack([image, image[..., :1]])
    with VideoWriter(
        path, size=(64, 48), fps=25, voice=None, frame_count=3, title="t", comment="c", transparent=transparent
    ) as writer:
        for shift in range(3):
            writer.write(np.roll(image, shift, 1))
    return path


@pytest.fixture(scope="module", params=SUFFIXES)
def signed(request, certificate, tmp_path_factory) -> Path:
    path = write_file(tmp_path_factory.mktemp("signed") / f"file{request.param}")
    signing.sign_file(path, MANIFEST, certificate)
    return path


def test_signed_file_is_valid_by_the_reference_library(signed):
    with c2pa.Reader(str(signed)) as reader:
        assert reader.get_validation_state() == "Valid"
        manifest = reader.get_active_manifest()
    assert manifest["claim_generator_info"][0]["name"] == "LivePortraitTalker"
    assert "time" not in manifest["signature_info"] and "thumbnail" not in manifest
    assert [file.name for file in signed.parent.iterdir()] == [signed.name]


def test_report(signed, certificate):
    report = verify_file(str(signed), own=certificate.chain.decode())
    assert (report["state"], report["changed"], report["problems"]) == ("valid", False, [])
    assert report["signer"] == {"name": "Test", "proof": "this computer"}
    assert report["tool"].startswith("LivePortraitTalker ")
    assert (report["digital_source_type"], report["actions"]) == ("compositeSynthetic", ["c2pa.created"])
    assert report["ingredients"] == [
        {"title": "source", "relationship": "inputTo", "sha256": "ab" * 32},
        {"title": "voice", "relationship": "inputTo", "sha256": "cd" * 32},
    ]
    assert json.loads(json.dumps(report)) == report


def test_signer(signed, certificate, tmp_path):
    assert verify_file(str(signed))["signer"]["proof"] == "self-made certificate"
    on_list = verify_file(str(signed), trust=certificate.chain.decode())
    assert (on_list["state"], on_list["signer"]["proof"]) == ("valid", "listed")
    _, authority = issue(tmp_path / "other", KEYS["es256"]())
    other = verify_file(str(signed), trust=authority.read_text(), own=certificate.chain.decode())
    assert (other["state"], other["signer"]["proof"]) == ("untrusted", "self-made certificate")


@pytest.mark.parametrize("algorithm", KEYS)
def test_own_certificate(tmp_path, algorithm):
    folder, authority = issue(tmp_path / "own", KEYS[algorithm]())
    path = write_file(tmp_path / "file.png")
    signing.sign_file(path, MANIFEST, read_certificate(folder))
    assert verify_file(str(path), trust=authority.read_text())["signer"] == {
        "name": "Example Studio",
        "proof": "listed",
    }
    assert verify_file(str(path))["signer"] == {"name": "Example Studio", "proof": "unproven"}


CONTENT = {
    ".mp4": (b"mdat", 4),
    ".mov": (b"mdat", 4),
    ".png": (b"IDAT", 4),
    ".jpg": (b"\xff\xda", 2),
    ".webp": (b"VP8 ", 8),
}
"""What stands before the coded images, and bytes from there to them."""


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_of_the_images_is_found(signed, tmp_path, place, bit):
    data = bytearray(signed.read_bytes())
    mark, length = CONTENT[signed.suffix]
    first = data.rindex(mark) + length
    last = len(data)
    if signed.suffix == ".webp":  # the credentials follow
        last = first + int.from_bytes(data[first - 4 : first], "little")
    data[first + int(place * (last - first))] ^= 1 << bit
    report = verify_file(str(write_bytes(tmp_path / signed.name, data)))
    assert report["state"] == "invalid" and report["changed"]


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_anywhere_changes_no_statement_unnoticed(signed, tmp_path, place, bit):
    data = bytearray(signed.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    changed = write_bytes(tmp_path / signed.name, data)
    report, original = verify_file(str(changed)), verify_file(str(signed))
    assert report["state"] in ("invalid", "none") or report == original | {"path": str(changed)}


@pytest.mark.parametrize("end", [0.999, 0.7, 0.1])
def test_a_shortened_file_is_not_valid(signed, tmp_path, end):
    data = signed.read_bytes()
    report = verify_file(str(write_bytes(tmp_path / signed.name, data[: int(end * len(data))])))
    assert report["state"] in ("invalid", "none")


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_two_signatures_differ_and_the_content_does_not(certificate, tmp_path):
    path = write_file(tmp_path / "file.png")
    copy = shutil.copy(path, tmp_path / "copy.png")
    for each in (path, copy):
        signing.sign_file(each, MANIFEST, certificate)
    one, two = path.read_bytes(), copy.read_bytes()
    assert one != two and one[one.index(b"IDAT") :] == two[two.index(b"IDAT") :]


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x1aE\xdf\xa3webm", b"\x89PNG\r\n\x1a\n", b"\0\0\0\x18ftypmp42" + bytes(99)]
)
@pytest.mark.parametrize("suffix", [".txt", ".webm", ".png", ".mp4", ""])
def test_files_without_credentials(tmp_path, content, suffix):
    report = verify_file(str(write_bytes(tmp_path / f"file{suffix}", content)))
    assert report["state"] in ("none", "invalid") and report["signer"] is None


def test_no_file(tmp_path):
    for path in (tmp_path / "missing.mp4", tmp_path):
        with pytest.raises(MediaError, match="cannot be read"):
            verify_file(str(path))


def unsigned(tmp_path: Path) -> tuple[Path, bytes]:
    path = write_file(tmp_path / "file.mp4")
    return path, path.read_bytes()


def test_full_disk_leaves_the_file_as_it_is(certificate, tmp_path, monkeypatch):
    path, before = unsigned(tmp_path)
    monkeypatch.setattr(signing.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(OSError, match="No space left"):
        signing.sign_file(path, MANIFEST, certificate)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_failure_leaves_the_file_as_it_is(certificate, tmp_path):
    path, before = unsigned(tmp_path)
    with pytest.raises(MediaError, match="--no-credentials"):
        signing.sign_file(path, {"assertions": []}, certificate)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_interrupt_leaves_the_file_as_it_is(certificate, tmp_path, monkeypatch):
    path, before = unsigned(tmp_path)
    sign, has_signed = signing._sign, threading.Event()

    def sign_interrupted(*arguments):
        _thread.interrupt_main()
        sign(*arguments)
        has_signed.set()

    monkeypatch.setattr(signing, "_sign", sign_interrupted)
    with pytest.raises(KeyboardInterrupt):
        signing.sign_file(path, MANIFEST, certificate)
    assert has_signed.is_set()
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_remote_credentials_are_not_fetched(certificate, tmp_path):
    """A picture that names an address of its credentials; the library alone would ask there."""
    asked: list[str] = []

    class Host(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Host) as host:
        threading.Thread(target=host.serve_forever, daemon=True).start()
        path = tmp_path / "remote.jpg"
        info = c2pa.C2paSignerInfo(certificate.algorithm, certificate.chain, certificate.key, None)
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(MANIFEST) as builder:
            builder.set_no_embed()
            builder.set_remote_url(f"http://127.0.0.1:{host.server_port}/credentials")
            with write_file(tmp_path / "plain.jpg").open("rb") as source, path.open("w+b") as target:
                builder.sign(signer, "image/jpeg", source, target)
        report = verify_file(str(path))
        assert report["state"] == "none" and "address" in report["problems"][0] and not asked
        with pytest.raises(c2pa.C2paError):
            c2pa.Reader(str(path))
        assert asked
        host.shutdown()


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "--map-root-user", "--net", "true"], capture_output=True).returncode != 0,
    reason="no network namespace can be made here",
)
def test_works_without_a_network(certificate, tmp_path):
    path = write_file(tmp_path / "file.mp4")
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from liveportrait_talker.label.certificates import make_certificate\n"
        "from liveportrait_talker.label.signing import check_certificate, sign_file\n"
        "from liveportrait_talker.label.verification import verify_file\n"
        "path, folder, manifest = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])\n"
        "made = make_certificate(folder)\n"
        "check_certificate(made)\n"
        "sign_file(path, manifest, made)\n"
        "print(verify_file(str(path))['state'])\n"
    )
    command = ["unshare", "--map-root-user", "--net", sys.executable, "-c", code]
    command += [str(path), str(tmp_path / "keys"), json.dumps(MANIFEST)]
    source = str(Path(signing.__file__).parents[2])
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": source})
    assert done.stdout.split() == ["valid"], done.stderr


def test_formats_are_known_to_the_library():
    assert set(FORMATS.values()) <= set(c2pa.Builder.get_supported_mime_types())
