"""Users and passwords of the page (HTTP Basic authentication)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import OptionError

ATTEMPTS, WINDOW_S = 10, 60.0
"""Wrong passwords of one client address in WINDOW_S seconds, after which none is looked at."""
_CLIENTS = 10_000  # that are remembered
_CHALLENGE = (b"www-authenticate", b'Basic realm="LivePortraitTalker", charset="UTF-8"')


@dataclass(frozen=True)
class Refusal:
    """The answer to a request without a right password."""

    status: int
    sentence: str
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


class Accounts:
    """Users with their passwords, of which only SHA-256 digests are kept, and the wrong attempts of each client.

    Args:
        accounts: pairs (user, password).
        clock: returns the time in seconds.
    """

    def __init__(self, accounts: Iterable[tuple[str, str]], clock: Callable[[], float] = time.monotonic) -> None:
        self._digests = [_digest(f"{user}:{password}".encode()) for user, password in accounts]
        self._clock = clock
        self._wrong: dict[str, list[float]] = {}
        self._admitted: set[tuple[str, bytes]] = set()

    def check(self, address: str, authorization: str) -> Refusal | None:
        """Check an `Authorization` header; return None if it holds a right password.

        A client that has been admitted stays so while others of its address guess.
        """
        if not authorization:
            return Refusal(401, "A user and a password are needed.", [_CHALLENGE])
        client = client_of(address)
        admission = client, _digest(authorization.encode())
        if admission in self._admitted:
            return None
        now = self._clock()
        wrong = [at for at in self._wrong.pop(client, []) if now - at < WINDOW_S]
        if wrong:
            self._wrong[client] = wrong
        if len(wrong) >= ATTEMPTS:
            seconds = max(1, round(wrong[0] + WINDOW_S - now))
            return Refusal(
                429, "There were too many wrong passwords: wait a minute.", [(b"retry-after", str(seconds).encode())]
            )
        given = _digest(_decode(authorization))
        if sum(hmac.compare_digest(given, known) for known in self._digests):  # compares all of them
            if len(self._admitted) < _CLIENTS:
                self._admitted.add(admission)
            return None
        if client not in self._wrong and len(self._wrong) >= _CLIENTS:
            del self._wrong[next(iter(self._wrong))]  # the one whose last attempt is oldest
        self._wrong[client] = [*wrong, now]
        return Refusal(401, "The user or the password is wrong.", [_CHALLENGE])


def read_accounts(path: Path) -> list[tuple[str, str]]:
    """Read a file with one `user:password` a line.

    Raises:
        OptionError: the file cannot be read, is open to others, or holds something else.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except OSError as error:
        raise OptionError(f"--auth {path} cannot be read: {error.strerror or error}.") from error
    if os.name == "posix" and mode & 0o007:
        raise OptionError(f"--auth {path} is open to other users of this computer: chmod o= {path}")
    return parse_accounts(content, f"--auth {path}")


def parse_accounts(content: bytes, name: str) -> list[tuple[str, str]]:
    """Return the (user, password) pairs of text with one `user:password` a line; `name` is used in messages.

    Raises:
        OptionError: a line is something else, there is none, or a user has two.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise OptionError(f"{name} is not UTF-8 text: write one user:password a line.") from error
    accounts: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        user, colon, password = line.partition(":")
        if not (user and colon and password):
            raise OptionError(f"{name}: line {number} is not of the form user:password.")
        if user in accounts:
            raise OptionError(f"{name}: line {number} names a user for the second time.")
        accounts[user] = password
    if not accounts:
        raise OptionError(f"{name} holds no user: write one user:password a line.")
    return list(accounts.items())


def client_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or a /64 network of IPv6, of which each host has one."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


def _decode(authorization: str) -> bytes:
    """Return `user:password` of a Basic `Authorization` header, or nothing."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        return base64.b64decode(encoded, validate=True) if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        return b""
