"""Who may use the page: requests for other host names, from other web sites or without a password are refused.

A web site that a user visits can send requests to this server from the user's browser, even to the loopback address,
and by DNS rebinding read the answers. Such a request names a foreign host (`Host`) or a foreign site (`Origin`,
`Sec-Fetch-Site`). Programs such as gradio_client send neither of the latter.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from ..errors import OptionError
from .accounts import Accounts

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]{1,253}))(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"(https?)://([^/]+)")
HEALTH = "/healthz"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNTRUSTED = (b"x-forwarded-host", b"x-forwarded-proto", b"x-gradio-server")
"""Gradio makes URLs of these headers, whoever sent them. The scheme is set by uvicorn, from trusted proxies only."""


class Hosts:
    """The hosts that the page answers to: loopback names, the address that it listens on, and further names.

    On an unspecified address (0.0.0.0, ::) it answers to every IP address: only names can be rebound.

    Args:
        listening: address or name that the server listens on.
        allowed: further names or addresses, each with or without a port.

    Raises:
        OptionError: an allowed host is not of the form NAME or NAME:PORT.
    """

    def __init__(self, listening: str, allowed: Iterable[str] = ()) -> None:
        self._address = _ip_address(listening.strip("[]"))
        self._names = {"localhost", listening.lower()}
        self._allowed = [_parse_allowed(host) for host in allowed]

    def answer_to(self, host: str) -> bool:
        """Return whether the value of a `Host` header names this server."""
        parsed = _split(host)
        if parsed is None:
            return False
        name, port = parsed
        if name in self._names:
            return True
        if any(name == known and given in (None, port or 80, port or 443) for known, given in self._allowed):
            return True
        address, own = _ip_address(name), self._address
        if address is None:
            return False
        return address.is_loopback or (own is not None and (own.is_unspecified or own == address))


class Access:
    """ASGI middleware that passes on only requests that name this server, come from no other site, and are logged in.

    It answers GET and HEAD of `HEALTH` to anybody, so that proxies and supervisors can ask whether the server runs.

    Args:
        app: the page.
        hosts: the hosts that the page answers to.
        accounts: users and passwords; None if none is needed.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts, accounts: Accounts | None = None) -> None:
        self._app, self._hosts, self._accounts = app, hosts, accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        is_probe = scope["type"] == "http" and scope["path"] == HEALTH and scope["method"] in ("GET", "HEAD")
        refusal = (200, "ok", []) if is_probe else self._refusal(scope)
        if refusal is None:
            headers = [(name, value) for name, value in scope["headers"] if name not in _UNTRUSTED]
            await self._app({**scope, "headers": headers}, receive, send)
            return
        status, sentence, more = refusal
        head = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"x-content-type-options", b"nosniff"),
            (b"connection", b"close"),  # the rest of an upload is not read
            *more,
        ]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": f"{sentence}\n".encode()})

    def _refusal(self, scope: Scope) -> tuple[int, str, list[tuple[bytes, bytes]]] | None:
        """Return status, sentence and headers of the answer to a request that is refused."""
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or not self._hosts.answer_to(hosts[0]):
            return 421, _wrong_host(hosts), []
        if not _is_own_site(scope, hosts[0]):
            return 403, "Another web site may not use this page: open its address in the browser.", []
        if self._accounts is None:
            return None
        client = scope.get("client") or ("", 0)
        answer = self._accounts.check(str(client[0]), (_values(scope, b"authorization") or [""])[0])
        return None if answer is None else (answer.status, answer.sentence, answer.headers)


def _is_own_site(scope: Scope, host: str) -> bool:
    """Return whether a request comes from this page, from a program, or is a link or bookmark that opens the page."""
    if any(not _is_same_origin(origin, host) for origin in _values(scope, b"origin")):
        return False
    if all(site in ("same-origin", "none") for site in _values(scope, b"sec-fetch-site")):
        return True
    opens = _values(scope, b"sec-fetch-mode") == ["navigate"] and _values(scope, b"sec-fetch-dest") == ["document"]
    return opens and scope["method"] == "GET" and scope["path"] == "/"


def _is_same_origin(origin: str, host: str) -> bool:
    """Return whether an `Origin` is that of the page at `host`, whose scheme a proxy may hide."""
    parsed, own = _ORIGIN.fullmatch(origin.lower()), _split(host)
    other = parsed and _split(parsed[2])
    if parsed is None or other is None or own is None:
        return False
    default = _DEFAULT_PORTS[parsed[1]]
    return (other[0], other[1] or default) == (own[0], own[1] or default)


def _wrong_host(hosts: list[str]) -> str:
    parsed = _split(hosts[0]) if len(hosts) == 1 else None
    if parsed is None:
        return "The request names no host that this page answers to."
    return (
        f"This page does not answer to {parsed[0]}: use the address that was printed when it started, or start it with "
        f"--allowed-host {parsed[0]}."
    )


def _parse_allowed(host: str) -> tuple[str, int | None]:
    try:
        parsed = _split(host if host.isascii() else host.encode("idna").decode())
    except UnicodeError:
        parsed = None
    if parsed is None:
        raise OptionError(
            f"--allowed-host {host!r} is not a host: give a name or an address, with or without a port, such as "
            "page.example or page.example:8443."
        )
    return parsed


def _split(authority: str) -> tuple[str, int | None] | None:
    """Return name and port of NAME, NAME:PORT or [IPv6]:PORT; None for anything else."""
    parsed = _AUTHORITY.fullmatch(authority.strip().lower())
    if parsed is None:
        return None
    return (parsed[1] or parsed[2]).rstrip("."), int(parsed[3]) if parsed[3] else None


def _ip_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
