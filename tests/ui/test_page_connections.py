"""Connections that are held open keep nobody out, and requests must arrive in time."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes import fake_work

from liveportrait_talker.serving.connections import bind
from liveportrait_talker.ui.server import ConnectionLimits, Server

REQUEST = b"GET /robots.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connect(server: Server | str, sent: bytes = b"") -> socket.socket:
    url = server if isinstance(server, str) else server.url
    made = socket.create_connection(("127.0.0.1", int(url.rstrip("/").rpartition(":")[2])), timeout=30)
    made.sendall(sent)
    return made


def is_closed(connection: socket.socket) -> bool:
    """Wait until the server closes a connection."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(4096):
            pass
    return True


def answers(server: Server | str) -> bool:
    url = server if isinstance(server, str) else server.url
    return bool(urllib.request.urlopen(url, timeout=30).status == 200)


def upload_request(server: Server) -> urllib.request.Request:
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\na\r\n--x--\r\n'
    head = {"Content-Type": "multipart/form-data; boundary=x"}
    return urllib.request.Request(f"{server.url}gradio_api/upload", data=body, headers=head)


@pytest.fixture
def held() -> Iterator[list[socket.socket]]:
    """Connections that are closed at the end."""
    connections: list[socket.socket] = []
    yield connections
    for each in connections:
        each.close()


def test_half_open_connections_make_room(serve: Callable[..., Server], held: list[socket.socket]):
    server = serve(fake_work, connections=ConnectionLimits(total=50, seconds=600))
    held += [connect(server, b"GET / HTTP/1.1\r\nHost: loc") for _ in range(400)]
    assert answers(server)
    assert all(is_closed(each) for each in held[:340])
    with connect(server, REQUEST) as one:
        assert one.recv(15) == b"HTTP/1.1 200 OK"


def test_open_requests_are_not_closed(serve: Callable[..., Server], held: list[socket.socket]):
    """Event streams of other users stay; when they take all places, a new connection is refused."""
    server = serve(fake_work, connections=ConnectionLimits(total=10))
    for k in range(10):
        held.append(connect(server, f"GET /gradio_api/heartbeat/{k} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()))
        assert held[-1].recv(15) == b"HTTP/1.1 200 OK"
    with connect(server) as late:
        assert late.recv(12) == b"HTTP/1.1 503"
    held.pop().close()
    assert answers(server)


@pytest.fixture(scope="module")
def impatient(serve: Callable[..., Server]) -> Server:
    return serve(fake_work, connections=ConnectionLimits(seconds=0.5))


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTT",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ",
        b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: 100000\r\n\r\n--x",
        REQUEST + b"GET / HTT",
    ],
    ids=["nothing", "line", "headers", "body", "second request"],
)
def test_a_request_must_arrive_in_time(impatient: Server, sent: bytes):
    with connect(impatient, sent) as connection:
        assert is_closed(connection)
    assert answers(impatient)


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ", None], ids=["headers", "body"])
def test_single_bytes_do_not_extend_the_time(impatient: Server, start: bytes | None):
    head = b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with connect(impatient, start or head + b"Content-Length: 100000\r\n\r\n") as connection:
        ended = threading.Event()

        def trickle() -> None:
            with contextlib.suppress(OSError):
                while not ended.wait(0.05):
                    connection.sendall(b"a")

        thread = threading.Thread(target=trickle)
        thread.start()
        assert is_closed(connection)
        ended.set()
        thread.join()


@pytest.mark.slow
def test_slow_uploads_arrive(serve: Callable[..., Server]):
    """One that takes several periods, at more than the least speed."""
    server = serve(fake_work, connections=ConnectionLimits(seconds=2, bytes_per_second=250))
    end = b"\r\n--x--\r\n"
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n' + b"a" * 40_000 + end
    head = b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with connect(server, head + b"Content-Length: %d\r\n\r\n" % len(body)) as connection:
        for k in range(0, len(body), 2000):
            connection.sendall(body[k : k + 2000])
            threading.Event().wait(0.22)
        assert connection.recv(15) == b"HTTP/1.1 200 OK"


def test_a_client_has_a_share(serve: Callable[..., Server], held: list[socket.socket], monkeypatch: pytest.MonkeyPatch):
    """All of this computer's addresses but two are like others of the network."""
    from liveportrait_talker.serving import connections

    monkeypatch.setattr(connections, "LOOPBACK", ())
    server = serve(fake_work, connections=ConnectionLimits(per_client=5))
    for k in range(5):
        held.append(connect(server, f"GET /gradio_api/heartbeat/{k} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()))
        assert held[-1].recv(15) == b"HTTP/1.1 200 OK"
    with connect(server) as late:
        assert late.recv(12) == b"HTTP/1.1 503"
    port = int(server.url.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30, source_address=("127.0.0.9", 0)) as other:
        other.sendall(REQUEST)
        assert other.recv(15) == b"HTTP/1.1 200 OK"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_many_half_open_connections_where_few_files_may_be_open(tmp_path: Path, held: list[socket.socket]):
    """The accept loop of asyncio logs each failure, thousands a second."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))\n"
        "from liveportrait_talker.cli.main import main; main(['ui', '--no-open'])"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen([sys.executable, "-c", code], stderr=log, env=environment) as running,
    ):
        try:
            found = None
            while found is None:
                assert running.poll() is None
                found = re.match(r"(http://\S+) is the page", (tmp_path / "log").read_text())
                threading.Event().wait(0.1)
            held += [connect(found[1], b"GET / HTTP/1.1\r\nHost: loc") for _ in range(1100)]
            for _ in range(5):
                assert answers(found[1])
        finally:
            running.kill()
    assert (tmp_path / "log").stat().st_size < 50_000


def test_messages_that_repeat_are_counted(serve: Callable[..., Server], caplog: pytest.LogCaptureFixture):
    server = serve(fake_work)
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(caplog.handler)
    for _ in range(30):
        with connect(server, b"\x16\x03\x01 not http\r\n\r\n") as connection:
            assert is_closed(connection)
    logger.removeHandler(caplog.handler)
    assert 1 <= sum("Invalid HTTP request" in line for line in caplog.messages) <= 5


def test_failed_requests_are_counted(fake: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr("gradio.route_utils.GradioUploadFile.write", lambda *given: 1 / 0)
    for _ in range(10):
        with pytest.raises(urllib.error.HTTPError, match="500"):
            urllib.request.urlopen(upload_request(fake), timeout=30)
    assert 1 <= sum("a request failed" in line for line in caplog.messages) <= 5


def test_a_host_has_an_address_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch):
    """`localhost` where ::1 is in the hosts file, and IPv6 is off."""
    usable = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    no_such_address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))
    no_such_family = (12345, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0))
    found = [no_such_address, no_such_family, usable]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **named: found)
    (made,) = bind("localhost", 0)
    assert made.getsockname()[0] == "127.0.0.1"
    made.close()
    found.remove(usable)
    with pytest.raises(OSError):
        bind("localhost", 0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_the_limit_of_open_files_is_raised():
    code = (
        "import resource; hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))\n"
        "from liveportrait_talker.ui.server import Server, Settings\n"
        "with Server(Settings()): print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], hard)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    soft, hard = map(int, done.stdout.split())
    assert soft == (8192 if hard == -1 else min(8192, hard))
