"""Uploads: inspection in child processes, quotas, and removal."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes import fake_work

import hostile
from liveportrait_talker.errors import MediaError, OptionError
from liveportrait_talker.examples import PORTRAIT, VOICE
from liveportrait_talker.options.edit import EditOptions, EditSetup
from liveportrait_talker.ui import inspections, uploads
from liveportrait_talker.ui.inspections import Inspections
from liveportrait_talker.ui.previews import Previews
from liveportrait_talker.ui.server import Server
from liveportrait_talker.ui.uploads import MAX_MOUTHS, UploadLimits, Uploads, mouth_names

LIMITS = UploadLimits(file_mb=2, session_mb=3, total_mb=6, seconds=10, pixels=10**7)
SYSTEM_CALLS = str(Path(__file__).parents[1] / "system")


@pytest.fixture
def store() -> Iterator[Uploads]:
    made = Uploads(LIMITS)
    yield made
    made.close()


def put(store: Uploads, folder: str, name: str, content: bytes = b"x") -> Path:
    """Store an upload as Gradio does: in a folder named by its content."""
    (store.served / folder).mkdir(exist_ok=True)
    path = store.served / folder / name
    path.write_bytes(content)
    return path


def make_old(path: Path, seconds: float = 3600) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_files_are_opened_in_another_process(store: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def decode(*given: Any, **more: Any) -> None:
        raise AssertionError("this process decodes media")

    for module in ("footage", "audio_file", "inspection", "still", "video"):
        for name in ("open_footage", "read_waveform", "MediaFile", "open_image"):
            monkeypatch.setattr(f"liveportrait_talker.media.{module}.{name}", decode, raising=False)
    info = store.inspect_source(put(store, "a", "p.png", PORTRAIT.read_bytes()), "me")
    assert info.is_still
    assert info.summary.startswith("picture, ")
    assert info.poster.stat().st_size > 1000
    assert store.inspect_voice(put(store, "b", "v.wav", VOICE.read_bytes()), "you").summary.startswith("voice, 7.")
    previews = Previews(store)
    try:
        portrait = store.served / "a" / "p.png"
        drawn = [previews.draw("me", portrait, EditOptions(smile=k / 9), EditSetup())[0] for k in range(6)]
        film = put(store, "c", "s.mp4", hostile.write_mp4(tmp_path / "s.mp4", edits=20_000, samples=1000).read_bytes())
        with pytest.raises(MediaError, match="the sample is damaged: it claims to hold far more"):
            previews.draw("me", portrait, EditOptions(sample=film, sample_ratio=1.0), EditSetup())
    finally:
        previews.close()
    assert [path.exists() for path in drawn] == [False] * 3 + [True] * 3
    assert drawn[-1].stat().st_size > 1000


def test_hostile_files_get_a_sentence(store: Uploads, tmp_path: Path):
    cases = {
        hostile.write_mp4(tmp_path / "e.mp4", edits=20_000, samples=1000): "claims to hold far more",
        hostile.write_webp(tmp_path / "w.webp"): "too many pixels",
        hostile.write_png(tmp_path / "p.png", 4000, 4000): "too many pixels (4000×4000, the limit is 10 million)",
    }
    for k, (path, sentence) in enumerate(cases.items()):
        upload = put(store, str(k), path.name, path.read_bytes())
        with pytest.raises(MediaError) as refused:
            store.inspect_source(upload, "me", "the portrait")
        assert str(refused.value).startswith("the portrait ")
        assert sentence in str(refused.value)


def test_a_slow_inspection_holds_up_nobody_else(store: Uploads, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", [*sys.path, SYSTEM_CALLS])
    monkeypatch.setattr(inspections, "INSPECT_VOICE", "limited_calls:spin_with")
    inspecting, errors = Inspections(), []

    def spin() -> None:
        try:
            inspecting.voice(VOICE, "stranger", max_seconds=10, sound=Path("unused.wav"), sound_seconds=1)
        except MediaError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=spin) for _ in range(2)]  # the second one waits for the first
    for thread in threads:
        thread.start()
    poster = store.new_served_path("poster.jpg", "me")
    seen = inspecting.footage(PORTRAIT, "me", max_pixels=10**7, max_seconds=10, poster=poster, side=100)
    assert seen["fps"] is None
    assert all(thread.is_alive() for thread in threads)
    while any(thread.is_alive() for thread in threads):
        inspecting.stop("stranger")
        time.sleep(0.05)
    inspecting.close()
    assert len(errors) == 2


def test_a_long_inspection_gives_way_where_all_places_are_taken(monkeypatch: pytest.MonkeyPatch):
    """A program can take on any number of sessions."""
    monkeypatch.setattr(sys, "path", [*sys.path, SYSTEM_CALLS])
    monkeypatch.setattr(inspections, "INSPECT_VOICE", "limited_calls:spin_with")
    monkeypatch.setattr(inspections, "INSPECT_FOOTAGE", "limited_calls:measure_all")
    monkeypatch.setattr(inspections, "_AT_ONCE", 2)
    monkeypatch.setattr(inspections, "_LONG_S", 0.5)
    monkeypatch.setattr(inspections, "_PREEMPT_AFTER_S", 0.2)
    inspecting, errors = Inspections(), []

    def spin(owner: str) -> None:
        try:
            inspecting.voice(VOICE, owner, max_seconds=10, sound=Path("unused.wav"), sound_seconds=1)
        except MediaError as error:
            errors.append(str(error))

    strangers = [threading.Thread(target=spin, args=(f"stranger {k}",)) for k in range(2)]
    for thread in strangers:
        thread.start()
    while len(inspecting._running) < 2:
        time.sleep(0.02)
    inspecting.footage(PORTRAIT, "me", max_pixels=1, max_seconds=1, poster=Path("p"), side=1)
    assert errors == ["the server is busy reading other files: choose this one again in a while"]
    inspecting.close()
    for thread in strangers:
        thread.join()


def test_equal_files_of_two_sessions(store: Uploads):
    """Gradio stores them in one folder, named by their content."""
    example, mine, same = (put(store, "content", name) for name in ("portrait.png", "me.png", "me.png"))
    store.retain(example, "server")
    store.retain(mine, "a")
    store.retain(same, "b")
    for path in (example, mine):
        make_old(path)
    store.release("a")
    assert mine.exists()
    store.release("b")
    assert not mine.exists()
    assert example.exists()
    store.release("server")
    assert not example.parent.exists()


def test_a_session_has_a_quota(store: Uploads):
    first, second = put(store, "a", "one", bytes(1_600_000)), put(store, "b", "two", bytes(1_600_000))
    store.admit(first, "me")
    with pytest.raises(MediaError, match="the files of this page have 3 MB, the limit is 3 MB"):
        store.admit(second, "me")
    assert first.exists()
    assert not second.exists()
    third = put(store, "c", "three", bytes(1_600_000))
    store.admit(third, "you")
    with pytest.raises(MediaError, match="the file has 3 MB, the limit is 2 MB"):
        store.admit(put(store, "d", "four", bytes(2_600_000)), "you")
    assert not (store.served / "d").exists()


def test_the_server_has_a_quota(store: Uploads, monkeypatch: pytest.MonkeyPatch):
    for k in range(3):
        put(store, str(k), "file", bytes(1_900_000))
    store.require_space(100_000)
    with pytest.raises(MediaError, match="no room for more uploads"):
        store.require_space(500_000)
    store.reserve(200_000)  # an upload that is arriving
    with pytest.raises(MediaError, match="no room for more uploads"):
        store.reserve(200_000)
    store.unreserve(200_000)
    store.reserve(200_000)
    monkeypatch.setattr(uploads, "_FREE_MB", 1e12)
    with pytest.raises(MediaError, match="the disk of the server is full"):
        store.require_space(0)


def test_unused_and_partial_uploads_are_removed(store: Uploads):
    used, unused, new = (put(store, name, "file") for name in ("used", "unused", "new"))
    partial, growing = store.served / "tmpabc", store.served / "tmpdef"
    for path in (partial, growing):
        path.write_bytes(b"half of a")
    store.retain(used, "me")
    for path in (used, unused, partial):
        make_old(path)
    store.sweep()
    assert used.exists()
    assert new.exists()
    assert growing.exists()
    assert not unused.parent.exists()
    assert not partial.exists()


def test_files_of_idle_sessions_are_removed(store: Uploads, monkeypatch: pytest.MonkeyPatch):
    """A program need not say that it leaves."""
    example, upload = put(store, "example", "file"), put(store, "upload", "file")
    store.retain(example, uploads.SERVER)
    store.retain(upload, "ghost")
    for path in (example, upload):
        make_old(path)
    store.sweep()
    assert upload.exists()
    monkeypatch.setattr(uploads, "_IDLE_S", 0.0)
    store.sweep()
    assert not upload.exists()
    assert example.exists()


@pytest.fixture(scope="module")
def small(serve: Any) -> Server:
    server: Server = serve(fake_work, max_upload_mb=2, max_total_mb=6)
    return server


def upload(server: Server, content: Any, **more: Any) -> httpx.Response:
    return httpx.post(f"{server.url}gradio_api/upload", files={"files": ("voice.wav", content)}, timeout=20, **more)


def test_too_large_requests_are_refused_in_a_sentence(small: Server):
    assert upload(small, b"small").status_code == 200
    large = upload(small, bytes(4_000_000))
    assert large.status_code == 413
    assert large.text == "The request is larger than its limit of 3 MB. Send a smaller file.\n"
    body = b"".join(
        (
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n',
            bytes(4_000_000),
            b"\r\n--x--\r\n",
        )
    )
    chunks = (body[k : k + 65536] for k in range(0, len(body), 65536))  # without a stated length
    head = {"Content-Type": "multipart/form-data; boundary=x"}
    streamed = httpx.post(f"{small.url}gradio_api/upload", content=chunks, headers=head, timeout=20)
    assert streamed.status_code == 413
    field = httpx.post(f"{small.url}gradio_api/upload", data={"a": "x" * 100_000}, files={"files": ("a.wav", b"a")})
    assert field.status_code == 413
    settings = httpx.post(f"{small.url}gradio_api/queue/join", content=bytes(400_000))
    assert settings.status_code == 413


def test_a_full_server_says_so(small: Server, monkeypatch: pytest.MonkeyPatch):
    store = small.backend.uploads
    filler = store.root / "filler"
    filler.write_bytes(bytes(5_900_000))
    try:
        full = upload(small, bytes(500_000))
    finally:
        filler.unlink()
    assert full.status_code == 507
    assert full.text == "the server has no room for more uploads at the moment: try again in a while.\n"

    def fail(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gradio.route_utils.GradioUploadFile.write", fail)
    full = upload(small, b"small")
    assert full.status_code == 507
    assert full.text == "The disk of the server is full: try again later, or tell its operator.\n"
    monkeypatch.setattr("gradio.route_utils.GradioUploadFile.write", lambda *given: 1 / 0)
    assert upload(small, b"small").status_code == 500


def test_the_number_of_mouth_examples_is_limited():
    files = [Path(f"{k}.png") for k in range(MAX_MOUTHS + 1)]
    assert len(mouth_names(files[:-1])) == MAX_MOUTHS
    with pytest.raises(OptionError, match="at most 8 files: 9 are given"):
        mouth_names(files)
