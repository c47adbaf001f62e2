"""The Live tab: the page of `serving.live_page`, below a path of this server, in a frame."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import TYPE_CHECKING

import gradio as gr

from ..examples import PORTRAIT
from ..options.live import LiveOptions
from ..serving.access import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from ..serving.live_page import LivePage
    from ..serving.webrtc import Calls

_PATH = "/live/"
_FRAME = (
    f'<iframe class="lpt-live" src=".{_PATH}" title="Live portrait" allow="microphone; camera; autoplay" '
    'loading="lazy"></iframe>'  # loaded when the tab is opened
)
_MISSING = (
    "A portrait that speaks with your voice and follows your camera needs an extra: "
    "<code>pip install 'liveportrait-talker[live]'</code>, then start the page again."
)


def is_installed() -> bool:
    """Return whether the extra `live` is installed."""
    return find_spec("aiortc") is not None


def build() -> None:
    """Build the tab."""
    gr.HTML(_FRAME if is_installed() else _MISSING, elem_id="live")


class LiveMount:
    """ASGI middleware that answers below /live/ with the live page, which is made when it is first asked for.

    Args:
        app: answers everything else.
        options: of the sessions.
        most_sessions: calls at once.
        max_portrait_mb: largest portrait.
        ice_servers: STUN and TURN servers, as dictionaries of RTCIceServer.
    """

    def __init__(
        self,
        app: ASGIApp,
        options: LiveOptions,
        *,
        most_sessions: int,
        max_portrait_mb: float,
        ice_servers: tuple[dict[str, str], ...] = (),
    ) -> None:
        self._app, self._options, self._most = app, options, most_sessions
        self._max_portrait_mb, self._ice_servers = max_portrait_mb, ice_servers
        self._calls: Calls | None = None
        self._page: LivePage | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, lambda: self._end_with(receive), send)
        elif scope["type"] == "http" and scope["path"].startswith(_PATH):
            async with self._making:
                if self._page is None:
                    self._page = await asyncio.to_thread(self._make)
            await self._page({**scope, "path": scope["path"][len(_PATH) - 1 :]}, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _end_with(self, receive: Receive) -> Message:
        """End the calls with the server."""
        message = await receive()
        if message["type"] == "lifespan.shutdown" and self._calls is not None:
            await self._calls.close()
        return message

    def _make(self) -> LivePage:
        from ..serving.live_page import LivePage
        from ..serving.webrtc import Calls

        self._calls = Calls(PORTRAIT, self._options, most_sessions=self._most, ice_servers=self._ice_servers)
        return LivePage(self._calls, ice_servers=self._ice_servers, max_portrait_mb=self._max_portrait_mb)
