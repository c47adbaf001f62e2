"""Resumable HTTP downloads with retries and a size limit.

The standard library instead of huggingface_hub (2.4): that one restarts a file in each new process, does not verify
checksums, knows one mirror, and does not serve GitHub.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import random
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import WeightsError
from ..progress import OnStep
from ..system.partial_files import discard, require_space, sidecar_path, write_chunk

MAX_BYTES = 2_000_000_000
"""Size limit of files whose size is not known."""
_CHUNK = 1 << 18
_MAX_ATTEMPTS = 100  # even if each of them made progress
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)


class SourceError(Exception):
    """The address cannot serve the file; another may. The message is a predicate, such as "answers 404"."""


class _RetryableError(Exception):
    """A temporary failure; `wait` is the server's Retry-After in seconds."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


@dataclass(frozen=True)
class RetryPolicy:
    """Number of attempts and the pauses between them, in seconds."""

    attempts: int = 5
    """Consecutive attempts without progress."""
    first_pause: float = 1.0
    max_pause: float = 60.0
    timeout: float = 30.0
    """Of one read."""
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    """Random numbers in 0 … 1."""

    def pause(self, failures: int, retry_after: float) -> None:
        """Wait before the next attempt: exponential backoff, half of it random, at least `retry_after` seconds."""
        backoff = min(self.first_pause * 2 ** (failures - 1), self.max_pause)
        self.sleep(max(backoff * (0.5 + 0.5 * self.jitter()), retry_after))


def fetch(
    url: str,
    part: Path,
    *,
    size: int | None,
    has_checksum: bool,
    retry_policy: RetryPolicy,
    on_bytes: OnStep,
) -> None:
    """Download `url` of `size` bytes (None where unknown) to `part`, resuming from its current size.

    With `has_checksum` the caller verifies a checksum, so that a part from another address, or from a server without
    ETag, may be resumed.

    Raises:
        SourceError: the address does not serve the file. A resumable part is kept.
        WeightsError: the disk is full or cannot be written.
    """
    failures, best = 0, _size(part)
    for _ in range(_MAX_ATTEMPTS):
        try:
            return _attempt(
                url, part, size=size, has_checksum=has_checksum, timeout=retry_policy.timeout, on_bytes=on_bytes
            )
        except _RetryableError as error:
            failures = 1 if _size(part) > best else failures + 1
            best = max(best, _size(part))
            if failures >= retry_policy.attempts or error.wait > retry_policy.max_pause:
                raise SourceError(str(error)) from error
            retry_policy.pause(failures, error.wait)
    raise SourceError(f"broke off {_MAX_ATTEMPTS} times")


def _attempt(url: str, part: Path, *, size: int | None, has_checksum: bool, timeout: float, on_bytes: OnStep) -> None:
    have = _size(part)
    if size is not None and have > size:
        discard(part)
        have = 0
    if have and have == size:
        return on_bytes(have, have)
    headers = {"User-Agent": f"liveportrait-talker/{__version__}", "Accept-Encoding": "identity"}
    if have:
        sidecar = _read_sidecar(part)
        validator = sidecar.get("validator") if sidecar.get("url") == url else None
        if validator or has_checksum:
            headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  # `_opener` supports HTTP(S) only
    try:
        with _opener().open(request, timeout=timeout) as answer:
            _receive(answer, url, part, have if "Range" in headers else 0, size, on_bytes)
    except urllib.error.HTTPError as error:
        with error:
            raise _status_error(error, part) from error
    except ssl.SSLCertVerificationError as error:
        raise SourceError(f"has an untrusted certificate ({error.verify_message})") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise SourceError(f"has an untrusted certificate ({error.reason.verify_message})") from error
        raise _RetryableError(f"cannot be reached ({error.reason})") from error
    except http.client.InvalidURL as error:
        raise SourceError("is not a valid address") from error
    except (OSError, http.client.HTTPException) as error:
        raise _RetryableError(f"broke off at {_size(part):,} bytes ({error or type(error).__name__})") from error


def _receive(answer: Any, url: str, part: Path, have: int, size: int | None, on_bytes: OnStep) -> None:
    """Append a response to `part`; the request was for the bytes from `have` on."""
    if answer.status not in (200, 206):
        raise SourceError(f"answers {answer.status} {answer.reason}")
    length = _parse_int(answer.headers.get("Content-Length"))
    total = length
    if answer.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", (answer.headers.get("Content-Range") or "").strip())
        if match is None or int(match[1]) != have:
            discard(part)
            raise _RetryableError("sent another range than requested")
        total = _parse_int(match[2]) if match[2] != "*" else None if length is None else have + length
    else:
        have = 0  # the server does not support ranges, or the file has changed
    if size is not None and total is not None and total != size:
        raise SourceError(f"has a file of {total:,} bytes where {size:,} are published")
    limit = size if size is not None else MAX_BYTES
    if total is not None and total > limit:
        raise SourceError(f"has a file of {total:,} bytes: the limit is {limit:,}")
    require_space(part, (total or size or 0) - have)
    _write_sidecar(part, url, answer.headers)
    done = have
    try:
        sink = part.open("ab" if have else "wb")
    except OSError as error:
        raise WeightsError(f"cannot write {part}: {error.strerror}.") from error
    with sink:
        while chunk := answer.read(_CHUNK):
            done += len(chunk)
            if done > limit:
                discard(part)
                raise SourceError(f"sends more than {limit:,} bytes")
            write_chunk(sink, chunk, part)
            on_bytes(done, total or size or 0)
    expected = total if total is not None else size
    if expected is not None and done < expected:  # http.client does not report an early end
        raise _RetryableError(f"broke off at {done:,} of {expected:,} bytes")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects to HTTP(S) only, and never from https to http."""

    max_redirections = 5

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request to follow. Raises SourceError for a less secure scheme."""
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            raise SourceError(f"redirects from {req.type} to {scheme}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for HTTP, and HTTPS with verified certificates; no files, FTP, cookies or passwords."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _status_error(error: urllib.error.HTTPError, part: Path) -> Exception:
    text = f"answers {error.code} {error.reason}".strip()
    if error.code == 416:  # the part is not of this file
        discard(part)
        return _RetryableError(text)
    if error.code in _TEMPORARY:
        return _RetryableError(text, _retry_after(error.headers.get("Retry-After")))
    return SourceError(text)


def _retry_after(text: str | None) -> float:
    """Return the seconds of a Retry-After header, which holds a number or a date."""
    if not text:
        return 0.0
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0


def _parse_int(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdigit() else None


def _read_sidecar(part: Path) -> dict[str, str]:
    try:
        sidecar = json.loads(sidecar_path(part).read_text(encoding="utf-8"))
        return {str(k): str(v) for k, v in sidecar.items() if v}
    except (OSError, ValueError, AttributeError):
        return {}


def _write_sidecar(part: Path, url: str, headers: Any) -> None:
    """Store the address and the If-Range validator: a strong ETag (weak ones do not identify bytes) or the date."""
    tag = headers.get("ETag") or ""
    validator = tag if tag.startswith('"') else headers.get("Last-Modified") or ""
    with contextlib.suppress(OSError):
        sidecar_path(part).write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")
