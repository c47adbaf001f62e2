"""The HTTP server of the page, with limits on its connections.

A request must arrive in time; at most so many connections are open, in all and for one client. Where a limit is
reached, the oldest connection whose request has not arrived makes room, so connections that are only held open keep
nobody out.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .access import ASGIApp
from .accounts import client_of

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_BACKLOG = 128
"""Connections that wait to be accepted; asyncio accepts that many at once, before any of them is counted."""
_FILES = 8192
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LOGGERS = ("asyncio", "uvicorn.error")
_FULL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
_FULL_SENTENCE = b"There are too many connections: try again in a while.\n"
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_CLOSE_S = 5  # for answers that are under way, when the page is closed


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits on connections.

    `total` is capped by half of the files that the process may open. `per_client` does not hold for the loopback
    addresses, where a reverse proxy stands for all its clients. A request's headers must arrive within `seconds`, and
    in each following period of that length `bytes_per_second` of its body.
    """

    total: int = 1000
    per_client: int = 200
    seconds: float = 10.0
    bytes_per_second: float = 1000.0


class PageServer(uvicorn.Server):
    """Uvicorn in a thread, on sockets that are bound already. Repeated messages of `loggers` are dropped."""

    def __init__(
        self, app: ASGIApp, sockets: list[socket.socket], limits: ConnectionLimits, *, loggers: tuple[str, ...] = ()
    ) -> None:
        raise_file_limit()
        config = uvicorn.Config(
            app,
            http=partial(_Connection, _Connections(limits)),  # type: ignore[arg-type]  # it is called, like a class
            ws="none",
            lifespan="on",
            backlog=_BACKLOG,
            log_level="warning",
            timeout_graceful_shutdown=_CLOSE_S,
        )
        super().__init__(config)
        self._sockets = sockets
        self._filters = {name: _Repetitions(is_ending=lambda: self.should_exit) for name in (*_LOGGERS, *loggers)}
        self._thread = threading.Thread(target=self.run, args=(sockets,), name="lpt-http", daemon=True)

    def start(self) -> None:
        """Return when the server answers. Raises RuntimeError if it ends instead."""
        for name, repetitions in self._filters.items():
            logging.getLogger(name).addFilter(repetitions)
        self._thread.start()
        while not self.started:
            self._thread.join(0.001)
            if not self._thread.is_alive():
                self.close()
                raise RuntimeError("the page's server ended while it started.")

    def close(self) -> None:
        """Close all connections and the sockets."""
        self.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S + 1)
        for each in self._sockets:
            each.close()
        for name, repetitions in self._filters.items():
            logging.getLogger(name).removeFilter(repetitions)


def bind(host: str, port: int) -> list[socket.socket]:
    """Return sockets bound to all addresses of a host, of those that this computer has. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    sockets: list[socket.socket] = []
    missing: list[OSError] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                sockets.append(_listen(family, kind, protocol, address))
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS:
                    raise
                missing.append(error)
        if not sockets:
            raise missing[0]
    except OSError:
        for made in sockets:
            made.close()
        raise
    return sockets


def page_address(sockets: list[socket.socket], host: str) -> str:
    """Return the address under which a browser on this computer finds the page of a host."""
    name = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"http://{name}:{sockets[0].getsockname()[1]}/"


def _listen(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    """Return a socket that is bound to an address. Raises OSError."""
    made = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # where this is only about connections that linger
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def raise_file_limit() -> None:
    """Let this process open enough files for its connections, where the system allows it."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Connections:
    """All open connections, the oldest first."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._total = limits.total
        if resource is not None:
            files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            if files != resource.RLIM_INFINITY:
                self._total = min(limits.total, files // 2)
        self._open: dict[_Connection, str] = {}
        self._count: Counter[str] = Counter()

    def admit(self, new: _Connection, client: str) -> bool:
        """Add a connection, if there is or can be made room for it."""
        if client not in LOOPBACK and self._count[client] >= self.limits.per_client:
            has_room = self._make_room(one for one, other in self._open.items() if other == client)
        elif len(self._open) >= self._total:
            has_room = self._make_room(self._open)
        else:
            has_room = True
        if has_room:
            self._open[new] = client
            self._count[client] += 1
        return has_room

    def remove(self, connection: _Connection) -> None:
        """Forget a connection that is closed."""
        client = self._open.pop(connection, None)
        if client is not None:
            self._count[client] -= 1
            if not self._count[client]:
                del self._count[client]

    def _make_room(self, candidates: Iterable[_Connection]) -> bool:
        """Close the oldest connection that waits for a request; return whether there is one."""
        oldest = next((one for one in candidates if one.is_waiting), None)
        if oldest is None:
            return False
        self.remove(oldest)
        oldest.transport.abort()
        return True


class _Connection(H11Protocol):
    """One connection, which is closed where a request does not arrive in time."""

    def __init__(self, connections: _Connections, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._all = connections
        self._timer: asyncio.TimerHandle | None = None
        self._expected: Any = None
        self._received = 0

    @property
    def is_waiting(self) -> bool:
        """Whether no request has arrived, or the last one is answered."""
        return self.conn.their_state is h11.IDLE

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._all.admit(self, client_of(self.client[0] if self.client else "")):
            self._watch()
        else:
            transport.write(_FULL + _FULL_SENTENCE)
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._received += len(data)
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._all.remove(self)
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Set a deadline for the headers or the first part of a body, once for each."""
        expected = self.conn.their_state
        if expected is self._expected:
            return
        self._stop_timer()
        self._expected = expected
        if expected in (h11.IDLE, h11.SEND_BODY) and not self.transport.is_closing():
            self._start_timer()

    def _start_timer(self) -> None:
        self._received = 0
        self._timer = self.loop.call_later(self._all.limits.seconds, self._end_of_period)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_of_period(self) -> None:
        limits = self._all.limits
        enough = self.flow.read_paused or self._received >= limits.bytes_per_second * limits.seconds
        if self._expected is h11.SEND_BODY and enough:
            self._start_timer()
        else:
            self.transport.abort()


class _Repetitions(logging.Filter):
    """Drops messages that are like earlier ones: LINES of a kind pass in PERIOD_S seconds.

    Those about requests that the end of the server cut short are all dropped.
    """

    LINES, PERIOD_S = 5, 60.0
    _KINDS = 1000

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, is_ending: Callable[[], bool] = lambda: False
    ) -> None:
        super().__init__()
        self._clock, self._is_ending = clock, is_ending
        self._seen: dict[Any, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = str(record.msg).partition("\n")[0], record.exc_info and record.exc_info[0]
        if self._is_ending() and (kind[1] is asyncio.CancelledError or kind[0].startswith("Cancel ")):
            return False
        now = self._clock()
        start, count = self._seen.get(kind, (now, 0))
        if now - start >= self.PERIOD_S:
            if count > self.LINES:
                record.msg = f"(and {count - self.LINES} more like this in the meantime)\n{record.msg}"
            start, count = now, 0
        if len(self._seen) >= self._KINDS:
            self._seen.clear()
        self._seen[kind] = start, count + 1
        return count < self.LINES
