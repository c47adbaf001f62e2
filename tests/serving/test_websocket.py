"""`live --websocket`: a client on this computer speaks, interrupts and leaves."""

from __future__ import annotations

import json
import re
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from liveportrait_talker import LiveOptions, NoFaceError, OptionError
from liveportrait_talker.cli.main import main
from liveportrait_talker.examples import PORTRAIT
from sounds import syllables, write_wav

client = pytest.importorskip("websockets.sync.client")
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402

from liveportrait_talker.serving.websocket import HEADER, STATES, WebSocketDoor  # noqa: E402

OPTIONS = LiveOptions(renderer="embedded", max_size=160, sample_rate=16_000)
VOICE = (32767 * syllables(1) + 3).astype("<i2")


@contextmanager
def serving(most_sessions: int = 1):
    door = WebSocketDoor(PORTRAIT, OPTIONS, most_sessions=most_sessions)
    with door.listen("127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            door.close()


def read(message: bytes):
    """Return seconds, state, samples and image (None: as before) of a message."""
    seconds, state, count = HEADER.unpack(message[: HEADER.size])
    samples = np.frombuffer(message, "<i2", count, HEADER.size)
    jpeg = np.frombuffer(message[HEADER.size + 2 * count :], np.uint8)
    return seconds, STATES[state], samples, cv2.imdecode(jpeg, cv2.IMREAD_COLOR) if len(jpeg) else None


def test_speak_and_interrupt():
    with serving() as url, client.connect(f"{url}/?rate=16000") as connection:
        start = json.loads(connection.recv())
        assert start == {"fps": 25.0, "sample_rate": 16_000, "width": 160, "height": 160}
        for chunk in np.split(VOICE, 50):
            connection.send(chunk.tobytes())
        connection.send("end")
        heard, states, images = [], set(), 0
        for _ in range(40):
            _, state, samples, image = read(connection.recv())
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


def test_pages_of_other_sites_are_refused():
    with serving() as url, pytest.raises(InvalidStatus, match="403"):
        client.connect(url, origin="https://example.org")


@pytest.mark.parametrize(
    ("query", "message", "reason"),
    [("?rate=4000", b"\0\0", "out of range"), ("?rate=x", None, "not a number"), ("", "dance", "end or clear")],
)
def test_mistakes_of_a_client_end_its_connection(query, message, reason):
    with (
        serving() as url,
        client.connect(f"{url}/{query}") as connection,
        pytest.raises(ConnectionClosed, match=reason),
    ):
        if message is not None:
            connection.recv()
            connection.send(message)
        while True:
            connection.recv()


def test_the_server_ends_its_sessions():
    with ExitStack() as stack:
        with serving() as url:
            connection = stack.enter_context(client.connect(url))
            connection.recv()
        with pytest.raises(ConnectionClosed):
            while True:
                connection.recv()


def test_mistakes_of_the_command(capsys, tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((200, 200, 3), 128, np.uint8))
    for words, reason in (
        ([str(PORTRAIT), "--websocket", "--port", "70000"], "out of range"),
        ([str(PORTRAIT), "--websocket", "--sessions", "0"], "out of range"),
        ([str(PORTRAIT), "--websocket", "--no-paced"], "for Python"),
        ([str(tmp_path / "grey.png"), "--websocket"], "no face"),
    ):
        assert main(["live", *words]) == 2
        assert reason in capsys.readouterr().err
    with pytest.raises(NoFaceError):
        WebSocketDoor(tmp_path / "grey.png", OPTIONS, most_sessions=1)


def test_a_port_that_is_taken():
    with serving() as url, pytest.raises(OptionError, match="cannot be listened on"):
        WebSocketDoor(PORTRAIT, OPTIONS, most_sessions=1).listen("127.0.0.1", int(url.rsplit(":", 1)[1]))


def test_the_client_in_the_documentation(tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs" / "live.md"
    _, code = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
    (tmp_path / "examples").mkdir()
    write_wav(tmp_path / "examples" / "voice.wav", syllables(0.6))
    monkeypatch.chdir(tmp_path)
    with serving() as url:
        exec(compile(code.replace("ws://127.0.0.1:8765", url), "docs/live.md", "exec"), {})
    assert (tmp_path / "heard.wav").stat().st_size > 15_000
    assert len(list((tmp_path / "frames").glob("*.jpg"))) > 5
