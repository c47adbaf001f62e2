"""Limits of the size of requests; a refused or failed one gets a sentence in place of a bare status."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from gradio import route_utils
from starlette.formparsers import MultiPartException

from ..errors import MediaError
from ..serving.access import ASGIApp, Message, Receive, Scope, Send
from ..system.partial_files import is_disk_full
from .uploads import MB, Uploads

_log = logging.getLogger(__name__)
_MAX_BYTES = 300_000  # of a request other than an upload: settings, and texts to speak; as JSON it takes 50 times that
_MAX_FIELD = 64 * 1024  # bytes of an upload's form that are no file, which Gradio keeps in memory
_OVERHEAD = MB  # of an upload's form around its files
_DISK_FULL = "The disk of the server is full: try again later, or tell its operator."


class BodyLimits:
    """ASGI middleware that refuses requests that are too large, and uploads that the server has no room for."""

    def __init__(self, app: ASGIApp, uploads: Uploads) -> None:
        self._app, self._uploads = app, uploads
        _limit_form_fields()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        is_upload = str(scope["path"]).rstrip("/").endswith("/upload")
        limit = int(self._uploads.limits.file_mb * MB) + _OVERHEAD if is_upload else _MAX_BYTES
        declared = _content_length(scope)
        if declared > limit:
            await _answer(send, 413, _too_large(limit))
            return
        if not is_upload:
            await self._pass_on(scope, receive, send, limit)
            return
        limit = declared or limit
        try:
            await asyncio.to_thread(self._uploads.reserve, limit)
        except MediaError as error:
            await _answer(send, 507, str(error))
            return
        try:
            await self._pass_on(scope, receive, send, limit)
        finally:
            self._uploads.unreserve(limit)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        """Let the page answer a request whose body has at most `limit` bytes."""
        received, refused, failed, started = 0, False, False, False

        async def count() -> Message:
            nonlocal received, refused
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                refused = True
                return {"type": "http.disconnect"}
            return message

        async def pass_on(message: Message) -> None:
            nonlocal failed, started
            if refused or failed:
                return
            if message["type"] == "http.response.start":
                failed = message["status"] == 500
                started = not failed
            if not failed:
                await send(message)

        failure: Exception | None = None
        try:
            await self._app(scope, count, pass_on)
        except Exception as error:
            failure = error
        if started:
            if failure is not None:
                raise failure
        elif refused:
            await _answer(send, 413, _too_large(limit))
        elif failure is not None and is_disk_full(failure):
            await _answer(send, 507, _DISK_FULL)
        elif type(failure).__name__ != "ClientDisconnect":  # where nobody waits; `Uploads.sweep` removes what arrived
            _log.error("a request failed: %s", failure or "status 500")
            await _answer(send, 500, "The server could not answer this request: try again, or reload the page.")


def _too_large(limit: int) -> str:
    return f"The request is larger than its limit of {limit / MB:.3g} MB. Send a smaller file."


async def _answer(send: Send, status: int, sentence: str) -> None:
    head = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": f"{sentence}\n".encode()})


def _content_length(scope: Scope) -> int:
    """Return the stated length of a request's body; 0 where it is not stated."""
    stated = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(stated) if stated.isdigit() else 0


def _limit_form_fields() -> None:
    """Make Gradio's parser refuse uploads whose form has long fields besides its files."""
    parser = route_utils.GradioMultiPartParser
    if hasattr(parser, "lpt_limited"):
        return
    add = parser.on_part_data

    def on_part_data(self: Any, data: bytes, start: int, end: int) -> None:
        part = self._current_part
        if part.file is None and len(part.data) + end - start > _MAX_FIELD:
            raise MultiPartException("A field of the form exceeds the maximum allowed size.")
        add(self, data, start, end)

    parser.on_part_data = on_part_data  # type: ignore[method-assign]
    parser.lpt_limited = True  # type: ignore[attr-defined]
