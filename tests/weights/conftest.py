"""A store in a temporary folder, and a web server on this machine that can misbehave."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liveportrait_talker.weights import registry, tensors
from liveportrait_talker.weights.registry import ReleasedFile
from liveportrait_talker.weights.tensors import TensorSpec
from liveportrait_talker.weights.transfer import RetryPolicy


@pytest.fixture(autouse=True)
def store_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in (
        "LPT_OFFLINE",
        "HF_HUB_OFFLINE",
        "HF_ENDPOINT",
        "http_proxy",
        "HTTP_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "store"
    monkeypatch.setenv("LPT_MODELS", str(folder))
    return folder


Expect = Callable[[str, dict[str, Any]], None]


@pytest.fixture(autouse=True)
def expect(monkeypatch: pytest.MonkeyPatch) -> Expect:
    """Makes every network as small as `released.tensors` does; the function given makes one of a state dict."""
    real, given = tensors.expected_tensors, dict[str, dict[str, TensorSpec]]()

    def small(network: str) -> dict[str, TensorSpec]:
        if network in given:
            return given[network]
        return {k: TensorSpec(s.dtype, tuple(min(side, 3) for side in s.shape)) for k, s in real(network).items()}

    def set_tensors(network: str, state: dict[str, Any]) -> None:
        given[network] = {k: TensorSpec(str(t.dtype).removeprefix("torch."), tuple(t.shape)) for k, t in state.items()}

    monkeypatch.setattr(tensors, "expected_tensors", small)
    return set_tensors


@dataclass
class Server:
    """Serves `files` by path. `script` holds the behaviour for the next requests, one word each.

    drop:N    send N bytes of the body, then close        cut:N   the same, but Content-Length says N (a short file)
    404 …     answer with this code                       429:S   with Retry-After: S
    whole     ignore Range                                wrongrange   a 206 with another beginning
    new:TAG   the file has another ETag from now on       to:URL  redirect
    stall:S   send nothing for S seconds, then close
    endless   send without end or length                  ignoreif     keep to Range though If-Range does not match
    """

    files: dict[str, bytes] = field(default_factory=dict)
    script: list[str] = field(default_factory=list)
    tag: str = '"one"'
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    address: str = ""
    slow: float = 0.0

    def ranges(self) -> list[str | None]:
        return [r for _, r, _ in self.requests]


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            with contextlib.suppress(OSError):  # a client that hangs up is what we are here for
                self.answer()

        def answer(self) -> None:
            wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
            server.requests.append((self.path, wanted, condition))
            word, _, value = (server.script.pop(0) if server.script else "").partition(":")
            if word == "new":
                server.tag, word = value, ""
            if word == "to":
                self.send_response(302)
                self.send_header("Location", value)
                self.end_headers()
                return
            body = server.files.get(self.path)
            if body is None or word.isdigit():
                self.send_response(int(word) if word else 404)
                if value:
                    self.send_header("Retry-After", value)
                self.end_headers()
                return
            if word == "stall":
                threading.Event().wait(float(value))
                return
            if word == "endless":
                self.send_response(200)
                self.end_headers()
                for _ in range(1000):
                    self.wfile.write(bytes(100_000))
                return
            start = 0
            matches = condition is None or condition == server.tag or word == "ignoreif"
            if wanted and matches and word != "whole":
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(body):
                    self.send_response(416)
                    self.end_headers()
                    return
                self.send_response(206)
                shown = start + 1 if word == "wrongrange" else start
                self.send_header("Content-Range", f"bytes {shown}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            body = body[start:]
            if word == "cut":
                body = body[: int(value)]
            if server.tag:
                self.send_header("ETag", server.tag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if word == "drop":
                body = body[: int(value)]
            for at in range(0, len(body), 1 << 16):
                self.wfile.write(body[at : at + (1 << 16)])
                if server.slow:
                    threading.Event().wait(server.slow)
            self.wfile.flush()
            self.close_connection = True

    return Handler


def _serve() -> Iterator[Server]:
    state = Server()
    web = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    web.daemon_threads = True
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{web.server_address[1]}"
    yield state
    web.shutdown()
    web.server_close()
    thread.join()


server = pytest.fixture(_serve, name="server")
mirror = pytest.fixture(_serve, name="mirror")


@dataclass
class RecordedPauses:
    """Records pauses instead of waiting."""

    taken: list[float] = field(default_factory=list)
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)


@pytest.fixture
def pauses() -> RecordedPauses:
    taken: list[float] = []
    return RecordedPauses(taken, RetryPolicy(timeout=5.0, sleep=taken.append, jitter=lambda: 1.0))


@pytest.fixture
def payload() -> bytes:
    """900 kB that look like an old PyTorch file, so that their structure has no say."""
    return b"\x80\x02" + np.random.default_rng(0).bytes(900_000)


Release = Callable[..., ReleasedFile]


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Release:
    """Puts a released file of this content, under this name, in place of the registry's."""

    def make(
        content: bytes, *sources: str, name: str = "liveportrait/motion_extractor", summed: bool = True
    ) -> ReleasedFile:
        file = replace(
            registry.find(name),
            sources=sources or ("http://127.0.0.1:9/nothing",),
            size=len(content) if summed else None,
            sha256=hashlib.sha256(content).hexdigest() if summed else None,
        )
        monkeypatch.setattr(registry, "FILES", tuple(file if f.name == name else f for f in registry.FILES))
        return file

    return make
