"""`liveportrait-talker ui` from its start to Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import wait_until

from liveportrait_talker.cli.main import main
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.ui.server import Settings
from sounds import syllables, write_wav


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "liveportrait_talker", "ui", "--no-open"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as running:
        yield running
        running.kill()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGHUP])
def test_stopping_removes_files_and_processes(started: subprocess.Popen[str], tmp_path: Path, stop: signal.Signals):
    assert started.stderr is not None
    url = started.stderr.readline().split(" ")[0]
    (folder,) = tmp_path.glob("lpt-ui-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert url.startswith("http://127.0.0.1:")
    assert urllib.request.urlopen(url, timeout=10).status == 200
    time.sleep(0.3)
    children = _children(started.pid)
    started.send_signal(stop)
    assert started.wait(timeout=20) == 0  # the job queue alone may take 5 s
    assert "all uploads were removed" in started.stderr.read()
    assert not any(tmp_path.iterdir())
    assert not [child for child in children if _is_running(child)]


def test_sigterm_under_load(started: subprocess.Popen[str], tmp_path: Path):
    """With a job that is drawn, jobs that wait, a half-sent upload and an open stream of events."""
    gradio_client = pytest.importorskip("gradio_client")
    assert started.stderr is not None
    url = started.stderr.readline().split(" ")[0]
    write_wav(tmp_path / "long.wav", syllables(15))
    client = gradio_client.Client(url, verbose=False)
    given = {"source": gradio_client.handle_file(PORTRAIT), "voice": gradio_client.handle_file(tmp_path / "long.wav")}
    jobs = [client.submit(**given, api_name="/talk") for _ in range(3)]
    address = urllib.parse.urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as upload:
        upload.sendall(
            f"POST /gradio_api/upload HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 1000000\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; "
            'name="files"; filename="a.png"\r\n\r\n'.encode()
            + bytes(1000)
        )
        wait_until(lambda: any(tmp_path.glob("lpt-ui-*/**/*.part.mp4")), seconds=60)
        children = _children(started.pid)
        started.send_signal(signal.SIGTERM)
        assert started.wait(timeout=20) == 0
    assert "Traceback" not in (printed := started.stderr.read()) and "all uploads were removed" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["long.wav"]
    wait_until(lambda: not any(map(_is_running, children)))  # multiprocessing's tracker ends when it is alone
    for job in jobs:
        assert job.exception(timeout=20) is not None
    client.close()


@pytest.mark.parametrize("password", [False, True])
def test_a_public_address_without_a_password_gives_a_warning(
    password: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """With a fake server."""
    if password:
        monkeypatch.setenv("LPT_UI_AUTH", "maria:secret")

    class FakeServer:
        url = "http://0.0.0.0:7860/"

        def __init__(self, settings: Settings) -> None:
            assert settings.host == "0.0.0.0"

        def __enter__(self) -> FakeServer:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def interrupt(self: threading.Event) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("liveportrait_talker.ui.server.Server", FakeServer)
    monkeypatch.setattr(threading.Event, "wait", interrupt)
    assert main(["ui", "--no-open", "--host", "0.0.0.0"]) == 0
    assert ("warning: the server listens on 0.0.0.0" in capsys.readouterr().err) is not password


def test_a_port_in_use_is_reported(capsys: pytest.CaptureFixture[str]):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["ui", "--no-open", "--port", str(port)]) == 2
    assert f"error: port {port} of 127.0.0.1 cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--port", "0"], ["--max-upload-mb", "0"], ["--max-queue", "-1"]])
def test_settings_out_of_range(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(["ui", "--no-open", *words]) == 2
    assert "is out of range" in capsys.readouterr().err


def _is_running(process: int) -> bool:
    """Return whether a process exists and has not ended, whoever still has to take note of its end."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(status.parent.name))
    return found
