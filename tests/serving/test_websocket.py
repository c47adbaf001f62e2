"""`live --websocket`: a client on this computer speaks, interrupts and leaves."""

from __future__ import annotations

import argparse
import json
import re
import socket
import threading
import time
import wave
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from liveportrait_talker import LiveOptions, NoFaceError, OptionError
from liveportrait_talker.cli.live import add_live_parser
from liveportrait_talker.cli.main import main
from liveportrait_talker.examples import PORTRAIT
from sounds import syllables, write_wav

client = pytest.importorskip("websockets.sync.client")
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402

from liveportrait_talker.serving import websocket  # noqa: E402
from liveportrait_talker.serving.websocket import HEADER, STATES, WebSocketServer  # noqa: E402

OPTIONS = LiveOptions(renderer="embedded", max_size=160, sample_rate=16_000)
VOICE = (32767 * syllables(1) + 3).astype("<i2")


@contextmanager
def serving(most_sessions: int = 1, origins: tuple[str, ...] = ()):
    sessions = WebSocketServer(PORTRAIT, OPTIONS, most_sessions=most_sessions)
    with sessions.listen("127.0.0.1", 0, origins=origins) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            sessions.close()


@pytest.fixture(scope="module")
def url():
    """A server with a place for each connection of this module that uses it."""
    with serving(most_sessions=16) as address:
        yield address


def read(message: bytes):
    """Return seconds, state, samples and image (None: as before) of a message."""
    seconds, state, count = HEADER.unpack(message[: HEADER.size])
    samples = np.frombuffer(message, "<i2", count, HEADER.size)
    jpeg = np.frombuffer(message[HEADER.size + 2 * count :], np.uint8)
    return seconds, STATES[state], samples, cv2.imdecode(jpeg, cv2.IMREAD_COLOR) if len(jpeg) else None


def test_speak_and_interrupt(url):
    with client.connect(f"{url}/?rate=16000") as connection:
        start = json.loads(connection.recv())
        assert start == {"fps": 25.0, "sample_rate": 16_000, "width": 160, "height": 160}
        for chunk in np.split(VOICE, 50):
            connection.send(chunk.tobytes())
        connection.send("end")
        heard, states, images = [], set(), 0
        while (message := connection.recv()) != "ended":
            _, state, samples, image = read(message)
            heard.append(samples)
            states.add(state)
            images += image is not None
            assert len(samples) == 640
            assert image is None or image.shape == (160, 160, 3)
        sound = np.concatenate(heard)
        assert np.array_equal(sound[sound != 0], VOICE[VOICE != 0])
        assert "speaking" in states and images > 0
        connection.send(VOICE.tobytes())
        while read(connection.recv())[1] != "speaking":
            pass
        connection.send("clear")
        while read(connection.recv())[1] != "interrupted":
            pass
        assert not read(connection.recv())[2].any()


def test_another_client_than_allowed_is_refused_until_one_leaves():
    with serving() as url:
        with client.connect(url) as connection:
            connection.recv()
            with client.connect(url) as other, pytest.raises(ConnectionClosed, match="too many"):
                other.recv()
        for _ in range(100):
            with client.connect(url) as connection:
                try:
                    assert "fps" in connection.recv()
                    break
                except ConnectionClosed:
                    continue
        else:
            raise AssertionError("the place of a client that left stays taken")


def test_pages_of_other_sites_are_refused(url):
    with pytest.raises(InvalidStatus, match="403"):
        client.connect(url, origin="https://example.org")


@pytest.mark.parametrize(
    ("query", "message", "reason"),
    [
        ("?rate=4000", None, "out of range"),
        ("?rate=x", None, "not a number"),
        ("?rate=" + 4500 * "1", None, "not a number"),
        ("?rate=", None, "not a number"),
        ("?speed=2", None, "give only rate in the address, not 'speed'"),
        ("?" + 60 * "%F0%9F%98%80" + "=2", None, "give only rate"),  # its sentence is longer than a close frame
        ("", "dance", "end or clear"),
        ("", b"abc", "even"),
        ("", bytes((1 << 20) + 2), "too big|exceeds|1009"),
    ],
)
def test_mistakes_of_a_client_end_its_connection(url, query, message, reason):
    with client.connect(f"{url}/{query}") as connection, pytest.raises(ConnectionClosed, match=reason):
        if message is not None:
            connection.recv()
            connection.send(message)
        while True:
            connection.recv()


def test_an_allowed_page_may_connect_and_the_default_is_loopback():
    with serving(origins=("https://example.org",)) as url:
        with client.connect(url, origin="https://example.org") as connection:
            assert "fps" in connection.recv()
        with pytest.raises(InvalidStatus, match="403"):
            client.connect(url, origin="https://example.com")
    parser = argparse.ArgumentParser()
    add_live_parser(parser.add_subparsers(), argparse.ArgumentParser(add_help=False))
    assert parser.parse_args(["live", "a.png"]).host == "127.0.0.1"


@contextmanager
def deaf_client(url):
    """A client that connects and never reads."""
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", int(url.rsplit(":", 1)[1])))
        deaf.sendall(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert deaf.recv(12) == b"HTTP/1.1 101"
        yield


@pytest.fixture
def large_frames(monkeypatch):
    """Messages that fill the buffers of the network at once."""
    monkeypatch.setattr(websocket, "packed", lambda frame: bytes(4_000_000))


def test_a_client_that_does_not_read_is_disconnected(monkeypatch, large_frames):
    monkeypatch.setattr(websocket, "_SEND_S", 0.3)
    with serving() as url, deaf_client(url):
        for _ in range(300):
            with client.connect(url, max_size=None) as connection:
                try:
                    assert "fps" in connection.recv()
                    break
                except ConnectionClosed:
                    time.sleep(0.1)
        else:
            raise AssertionError("a client that does not read keeps its place")


def test_the_server_ends_in_spite_of_a_client_that_does_not_read(monkeypatch, large_frames):
    monkeypatch.setattr(websocket, "_SEND_S", 3600)
    monkeypatch.setattr(websocket, "_LEAVE_S", 0.3)
    done = threading.Event()

    def serve() -> None:
        with serving() as url, deaf_client(url):
            time.sleep(0.5)
        done.set()

    threading.Thread(target=serve, daemon=True).start()
    assert done.wait(30)


def test_the_server_ends_its_sessions():
    with ExitStack() as stack:
        with serving() as url:
            connection = stack.enter_context(client.connect(url))
            connection.recv()
        with pytest.raises(ConnectionClosed):
            while True:
                connection.recv()


def test_help_names_only_what_is_accepted(capsys):
    with pytest.raises(SystemExit):
        main(["live", "--help"])
    help = capsys.readouterr().out
    assert "--no-paced" not in help and "transparent" not in help


def test_mistakes_of_the_command(capsys, tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((200, 200, 3), 128, np.uint8))
    for words, reason in (
        ([str(PORTRAIT), "--websocket", "--port", "70000"], "out of range"),
        ([str(PORTRAIT), "--websocket", "--sessions", "0"], "out of range"),
        ([str(PORTRAIT), "--websocket", "--background", "transparent"], "for Python"),
        ([str(tmp_path / "grey.png"), "--websocket"], "no face"),
    ):
        assert main(["live", *words]) == 2
        assert reason in capsys.readouterr().err
    with pytest.raises(NoFaceError):
        WebSocketServer(tmp_path / "grey.png", OPTIONS, most_sessions=1)


def test_a_port_that_is_taken(url):
    with pytest.raises(OptionError, match="is in use: give another --port"):
        WebSocketServer(PORTRAIT, OPTIONS, most_sessions=1).listen("127.0.0.1", int(url.rsplit(":", 1)[1]))


def test_the_client_in_the_documentation(url, tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs" / "live.md"
    _, code = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
    (tmp_path / "examples").mkdir()
    said = np.concatenate([syllables(0.6), np.zeros(16_000, np.float32), syllables(0.6)])  # idle in the pause
    write_wav(tmp_path / "examples" / "voice.wav", said)
    with wave.open(str(tmp_path / "examples" / "voice.wav")) as file:
        voice = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace("ws://127.0.0.1:8765", url), "docs/live.md", "exec"), {})
    with wave.open(str(tmp_path / "heard.wav")) as heard:
        sound = np.frombuffer(heard.readframes(heard.getnframes()), "<i2")
    assert np.array_equal(sound[sound != 0], voice[voice != 0])
    assert len(list((tmp_path / "frames").glob("*.jpg"))) > 5
