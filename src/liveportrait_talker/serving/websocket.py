"""Live sessions over WebSockets: sound in, images and sound out. Protocol: docs/live.md, WebSocket.

Each connection is a session of its own, in the thread of its connection; another thread reads what the client sends.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np

from ..errors import OptionError, TalkerError
from ..live.frame import LiveFrame
from ..live.session import LiveSession
from ..live.voice import HIGHEST_RATE, LOWEST_RATE, checked_rate
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
_LONGEST_REASON = 123  # bytes of a close frame
_PING_S = 15.0  # between pings, and for their answers
_SEND_S = 10.0  # for a message to be taken by the network; with a ping and its answer 40 s
_LEAVE_S = 2.0  # for clients to leave when the server ends


class WebSocketServer:
    """Serves live sessions of one portrait.

    Args:
        portrait: a picture with a face.
        options: of every session; see LiveOptions.
        most_sessions: connections at once; another one is refused.
    """

    def __init__(self, portrait: Path, options: LiveOptions, *, most_sessions: int) -> None:
        self._portrait, self._options, self._most = portrait, options, most_sessions
        self._talker = Talker()
        self._changed = Condition()  # guards what follows
        self._open = 0
        self._sessions: dict[LiveSession, ServerConnection] = {}
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
                self._serve,
                host,
                port,
                origins=allowed,
                max_size=_LARGEST_MESSAGE,
                compression=None,
                max_queue=64,
                ping_interval=_PING_S,
                ping_timeout=_PING_S,
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise OptionError(f"port {port} of {host} is in use: give another --port.") from error
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else "there is no such address"
            raise OptionError(f"port {port} of {host} cannot be used ({reason.lower()}): give another.") from error

    def close(self) -> None:
        """End all sessions and their connections, also those of clients that do not read."""
        with self._changed:
            self._most = 0
            for session in self._sessions:
                session.close()
            self._changed.wait_for(lambda: not self._sessions, _LEAVE_S)
            for connection in self._sessions.values():
                with suppress(OSError):  # it is closed already
                    connection.socket.shutdown(socket.SHUT_RDWR)

    def _serve(self, connection: ServerConnection) -> None:
        with self._changed:
            is_full = self._open >= self._most
            self._open += not is_full
        if is_full:
            _refuse(connection, _TRY_LATER, "too many sessions")
            return
        try:
            self._hold(connection)
        finally:
            with self._changed:
                self._open -= 1

    def _hold(self, connection: ServerConnection) -> None:
        """Send the frames of a session until the client leaves."""
        from websockets.exceptions import ConnectionClosed

        try:
            rate = _asked_rate(connection)
            session = self._talker.live(self._portrait, self._options)
        except TalkerError as error:
            _refuse(connection, _POLICY, str(error))
            return
        connection.socket.settimeout(_SEND_S)  # a client that does not read
        with self._changed:
            self._sessions[session] = connection
            if not self._most:  # `close` came first
                session.close()
        reader = Thread(target=_read_messages, args=(connection, session, rate), daemon=True)
        try:
            with session, suppress(ConnectionClosed):
                width, height = session.size
                start = {"fps": session.fps, "sample_rate": session.sample_rate, "width": width, "height": height}
                connection.send(json.dumps(start))
                reader.start()
                for frame in session:
                    connection.send(packed(frame))
                    if frame.ends_utterance:
                        connection.send("ended")
            connection.close()
        finally:
            with self._changed:
                del self._sessions[session]
                self._changed.notify_all()
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
    address = connection.request.path if connection.request is not None else ""
    try:
        asked = parse_qs(urlsplit(address).query, keep_blank_values=True)
    except ValueError as error:
        raise OptionError("the address cannot be read.") from error
    if unknown := sorted(asked.keys() - {"rate"}):
        raise OptionError(f"give only rate in the address, not {unknown[0][:40]!r}.")
    rate = asked.get("rate", ["16000"])[-1]
    if not rate.isdecimal() or len(rate) > len(str(HIGHEST_RATE)):
        raise OptionError(f"the rate in the address is not a number of {LOWEST_RATE} … {HIGHEST_RATE} Hz.")
    return checked_rate(int(rate))


def _refuse(connection: ServerConnection, code: int, reason: str) -> None:
    """Close a connection with a reason, which is cut to what fits."""
    connection.close(code, reason.encode()[:_LONGEST_REASON].decode(errors="ignore"))


def _read_messages(connection: ServerConnection, session: LiveSession, rate: int) -> None:
    """Do what a client asks for until it leaves; what makes no sense ends the connection with one sentence."""
    from websockets.exceptions import ConnectionClosed

    commands: dict[str, Callable[[], object]] = {"end": session.end, "clear": session.clear}
    try:
        for message in connection:
            if isinstance(message, str):
                if message not in commands:
                    raise OptionError("a text message is end or clear.")
                commands[message]()
            elif len(message) % 2:
                raise OptionError("a binary message holds 16-bit samples: its number of bytes is even.")
            else:
                session.push(np.frombuffer(message, "<i2").astype(np.int16), rate)
    except ConnectionClosed:
        pass
    except TalkerError as error:
        _refuse(connection, _POLICY, str(error))
    finally:
        session.close()
