"""Live sessions over WebSockets: sound in, images and sound out. Protocol: docs/live.md, WebSocket.

Each connection is a session of its own, in the thread of its connection; another thread reads what the client sends.
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Callable
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np

from ..errors import OptionError, TalkerError
from ..live.frame import LiveFrame
from ..live.session import LiveSession
from ..options.live import LiveOptions
from ..pipelines.talk import Talker

if TYPE_CHECKING:
    from websockets.sync.server import Server, ServerConnection

log = logging.getLogger(__name__)

MISSING = "live --websocket needs a library that is not installed: pip install 'liveportrait-talker[live]'."
HEADER = struct.Struct("<dBxxxI")
"""Of a binary message to the client: seconds (float64), state (uint8), three empty bytes, samples (uint32)."""
STATES = ("idle", "speaking", "interrupted")

_LARGEST_MESSAGE = 1 << 20  # bytes: 10 s of sound at 48 kHz
_JPEG_QUALITY = 90
_TRY_LATER, _POLICY = 1013, 1008  # close codes of RFC 6455


class WebSocketDoor:
    """Serves live sessions of one portrait.

    Args:
        portrait: a picture with a face.
        options: of every session; see LiveOptions.
        most_sessions: connections at once; another one is refused.
    """

    def __init__(self, portrait: Path, options: LiveOptions, *, most_sessions: int) -> None:
        self._portrait, self._options, self._most = portrait, options, most_sessions
        self._talker, self._lock = Talker(), Lock()
        self._open = 0
        self._sessions: set[LiveSession] = set()
        self._talker.live(portrait, options).close()  # a mistake is found before anybody connects

    def listen(self, host: str, port: int, *, origins: tuple[str, ...] = ()) -> Server:
        """Return a server that listens; run its `serve_forever`.

        Args:
            host: address to listen on.
            port: 0 takes a free one.
            origins: web sites whose pages may connect; programs always may.

        Raises:
            OptionError: the library is not installed, or the port is not free.
        """
        try:
            from websockets.sync.server import serve
        except ImportError as error:
            raise OptionError(MISSING) from error
        allowed: list[Any] = [None, *origins]
        try:
            return serve(
                self._serve, host, port, origins=allowed, max_size=_LARGEST_MESSAGE, compression=None, max_queue=64
            )
        except OSError as error:
            raise OptionError(f"{host} port {port} cannot be listened on ({error.strerror}): take another.") from error

    def close(self) -> None:
        """End all sessions and their connections."""
        with self._lock:
            self._most = 0
            for session in self._sessions:
                session.close()

    def _serve(self, connection: ServerConnection) -> None:
        with self._lock:
            is_full = self._open >= self._most
            self._open += not is_full
        if is_full:
            connection.close(_TRY_LATER, "too many sessions")
            return
        try:
            self._hold(connection)
        finally:
            with self._lock:
                self._open -= 1

    def _hold(self, connection: ServerConnection) -> None:
        """Send the frames of a session until the client leaves."""
        from websockets.exceptions import ConnectionClosed

        try:
            rate = _asked_rate(connection)
            session = self._talker.live(self._portrait, self._options)
        except TalkerError as error:
            connection.close(_POLICY, str(error)[:120])
            return
        with self._lock:
            self._sessions.add(session)
            if not self._most:  # `close` came first
                session.close()
        with session:
            reader = Thread(target=_obey, args=(connection, session, rate), daemon=True)
            try:
                width, height = session.size
                start = {"fps": session.fps, "sample_rate": session.sample_rate, "width": width, "height": height}
                connection.send(json.dumps(start))
                reader.start()
                for frame in session:
                    connection.send(packed(frame))
            except ConnectionClosed:
                pass
        with self._lock:
            self._sessions.discard(session)
        connection.close()
        counts = session.counts
        log.info(
            "a session of %.0f s ended: %d frames skipped, %.1f s of sound dropped.",
            counts.frames / session.fps,
            counts.skipped_frames,
            counts.dropped_seconds,
        )


def packed(frame: LiveFrame) -> bytes:
    """Return the message of a frame: header, 16-bit samples, and a JPEG, which is left out where it is the same."""
    samples = np.rint(32767 * frame.samples).astype("<i2").tobytes()
    header = HEADER.pack(frame.time_seconds, STATES.index(frame.state), len(frame.samples))
    if not frame.is_new:
        return header + samples
    pixels = cv2.cvtColor(np.ascontiguousarray(frame.image[..., :3]), cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return header + samples + jpeg.tobytes()


def _asked_rate(connection: ServerConnection) -> int:
    """Return the sample rate in the address of the connection."""
    path = connection.request.path if connection.request is not None else ""
    asked = parse_qs(urlsplit(path).query).get("rate", ["16000"])[-1]
    if not asked.isdecimal():
        raise OptionError("the rate in the address is not a number.")
    return int(asked)


def _obey(connection: ServerConnection, session: LiveSession, rate: int) -> None:
    """Do what a client asks for until it leaves; what makes no sense ends the connection with one sentence."""
    from websockets.exceptions import ConnectionClosed

    orders: dict[str, Callable[[], object]] = {"end": session.end, "clear": session.clear}
    try:
        for message in connection:
            if isinstance(message, str):
                if message not in orders:
                    raise OptionError("a text message is end or clear.")
                orders[message]()
            else:
                session.push(np.frombuffer(message[: len(message) // 2 * 2], "<i2").astype(np.int16), rate)
    except ConnectionClosed:
        pass
    except TalkerError as error:
        connection.close(_POLICY, str(error)[:120])
    finally:
        session.close()
