"""The live page: a few files, a picture of the portrait, and the call that starts a session."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import numpy as np

from ..audio.speech import is_installed
from ..errors import OptionError, TalkerError
from .access import Message, Receive, Scope, Send
from .webrtc import MAX_CHARACTERS, Calls

log = logging.getLogger(__name__)

_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/live.js": ("live.js", "text/javascript; charset=utf-8"),
    "/live.css": ("live.css", "text/css; charset=utf-8"),
}
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(self)",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_LARGEST_OFFER = 64 * 1024  # bytes


class LivePage:
    """ASGI application; `Access` in front of it decides who may use it.

    Args:
        calls: makes the sessions.
        ice_servers: STUN and TURN servers that the browser uses, as dictionaries of RTCIceServer.
    """

    def __init__(self, calls: Calls, *, ice_servers: tuple[dict[str, str], ...] = ()) -> None:
        self._calls = calls
        first = calls.first_frame()  # a mistake is found before anybody calls
        height, width = first.image.shape[:2]
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(np.ascontiguousarray(first.image), cv2.COLOR_RGB2BGR))
        settings = {
            "iceServers": ice_servers,
            "hasSpeech": is_installed(),
            "maxCharacters": MAX_CHARACTERS,
            "width": width,
            "height": height,
        }
        folder = Path(__file__).parent / "page"
        self._content = {path: (kind, (folder / name).read_bytes()) for path, (name, kind) in _FILES.items()}
        self._content["/portrait.jpg"] = ("image/jpeg", jpeg.tobytes())
        self._content["/settings"] = ("application/json", json.dumps(settings).encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["path"] == "/call" and scope["method"] == "POST":
            await self._call(receive, send)
        elif scope["path"] in self._content and scope["method"] in ("GET", "HEAD"):
            await _answer(send, 200, *self._content[scope["path"]])
        else:
            await _answer(send, 404, "text/plain", b"There is no such page.\n")

    async def _live(self, receive: Receive, send: Send) -> None:
        """End the calls with the server."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._calls.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _call(self, receive: Receive, send: Send) -> None:
        """Answer an SDP offer with an SDP answer, or with one sentence."""
        offer = await _body(receive)
        try:
            if offer is None:
                raise OptionError("the offer is too large.")
            answer = await self._calls.answer(offer.decode(errors="replace"))
        except TalkerError as error:
            status = 400 if isinstance(error, OptionError) else 503
            await _answer(send, status, "text/plain; charset=utf-8", f"{error}\n".encode())
            return
        await _answer(send, 200, "application/sdp", answer.encode())


async def _body(receive: Receive) -> bytes | None:
    """Return the body of a request; None where it is too large."""
    body = b""
    while len(body) <= _LARGEST_OFFER:
        message: Message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body if len(body) <= _LARGEST_OFFER else None
    return None


async def _answer(send: Send, status: int, kind: str, body: bytes) -> None:
    head = {**_HEADERS, "content-type": kind, "content-length": str(len(body))}
    headers = [(name.encode(), value.encode()) for name, value in head.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
