"""`liveportrait-talker ui` from its start to Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from liveportrait_talker.cli.main import main
from liveportrait_talker.ui.server import Settings


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "liveportrait_talker", "ui", "--no-open"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as running:
        yield running
        running.kill()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
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
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


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
