"""The live page: a few files, a picture of the portrait, and the call that starts a session."""

from __future__ import annotations

import asyncio
import base64
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
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(self)",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_LARGEST_OFFER = 64 * 1024  # bytes
LARGEST_PORTRAIT_MB = 20.0
_MOST_ARRIVING = 8  # calls, each of which may bring a portrait
_ARRIVAL_S = 60.0


class LivePage:
    """ASGI application; `Access` in front of it decides who may use it.

    Args:
        calls: makes the sessions.
        ice_servers: STUN and TURN servers that the browser uses, as dictionaries of RTCIceServer.
        max_portrait_mb: largest portrait that a call may bring, MB; at most LARGEST_PORTRAIT_MB.
    """

    def __init__(
        self,
        calls: Calls,
        *,
        ice_servers: tuple[dict[str, str], ...] = (),
        max_portrait_mb: float = LARGEST_PORTRAIT_MB,
    ) -> None:
        self._calls = calls
        self._max_portrait_mb = min(max_portrait_mb, LARGEST_PORTRAIT_MB)
        self._arriving = 0
        first = calls.first_frame()  # a mistake is found before anybody calls
        height, width = first.image.shape[:2]
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(np.ascontiguousarray(first.image), cv2.COLOR_RGB2BGR))
        settings = {
            "iceServers": ice_servers,
            "hasSpeech": is_installed(),
            "maxCharacters": MAX_CHARACTERS,
            "maxPortraitMb": self._max_portrait_mb,
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
        try:
            body = await self._body(receive)
            offer, portrait = await asyncio.to_thread(_parse, body)
            answer = await self._calls.answer(offer, portrait)
        except TalkerError as error:
            status = 503 if type(error) is TalkerError else 400
            sentence = str(error).rstrip(".")
            text = f"{sentence[:1].upper()}{sentence[1:]}.\n"
            await _answer(send, status, "text/plain; charset=utf-8", text.encode())
            return
        await _answer(send, 200, "application/sdp", answer.encode())

    async def _body(self, receive: Receive) -> bytes:
        """Return the body of a call. Raises TalkerError where it is too large, too slow or one of too many."""
        if self._arriving >= _MOST_ARRIVING:
            raise TalkerError("too many calls arrive at the same time: try again.")
        self._arriving += 1
        try:
            return await asyncio.wait_for(_read(receive, self._max_portrait_mb), _ARRIVAL_S)
        except asyncio.TimeoutError as error:
            raise TalkerError("the portrait takes too long to arrive: choose a smaller picture.") from error
        finally:
            self._arriving -= 1


async def _read(receive: Receive, max_portrait_mb: float) -> bytes:
    """Return the body of a request. Raises OptionError where it is too large."""
    body = bytearray()
    while True:
        message: Message = await receive()
        body += message.get("body", b"")
        if len(body) > _LARGEST_OFFER + max_portrait_mb * 1e6 * 4 / 3:  # as base64
            raise OptionError(f"the portrait has more than {max_portrait_mb:g} MB: choose a smaller picture.")
        if not message.get("more_body"):
            return bytes(body)


def _parse(body: bytes) -> tuple[str, bytes | None]:
    """Return the offer and the portrait of a call. Raises OptionError."""
    try:
        call = json.loads(body)
        offer, portrait = str(call["offer"]), call.get("portrait")
        content = None if portrait is None else base64.b64decode(portrait, validate=True)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise OptionError("the call makes no sense: reload the page.") from error
    if len(offer) > _LARGEST_OFFER:
        raise OptionError("the offer is too large.")
    return offer, content


async def _answer(send: Send, status: int, kind: str, body: bytes) -> None:
    head = {**_HEADERS, "content-type": kind, "content-length": str(len(body))}
    headers = [(name.encode(), value.encode()) for name, value in head.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
