"""One address → one partial file, over HTTP: goes on where it stopped, tries again, never takes too much.

Why the standard library and not huggingface_hub (2.4 was read): it starts a file anew in each process instead of going
on, does not sum what it got, knows one mirror, and is no help with GitHub. What is left of it would be a dependency.
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
from ..system.partial_files import discard, make_room, note_path, write

LARGEST = 2_000_000_000  # bytes, where the size is not known
_CHUNK = 1 << 18
_MOST_ATTEMPTS = 100  # however much each of them gained
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class SourceError(Exception):
    """This address will not do: the text says why. Another may."""


class _BrokenError(Exception):
    """Worth another try; `wait` seconds are asked for by the server."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


@dataclass(frozen=True)
class Patience:
    """How long to go on: attempts in a row that gain nothing, and the pauses between them (s)."""

    attempts: int = 5
    first_pause: float = 1.0
    longest_pause: float = 60.0
    timeout: float = 30.0  # of one read
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random

    def pause(self, failures: int, asked: float) -> None:
        """Wait before the next attempt: doubled each time, half of it by chance (clients must not march in step)."""
        longest = min(self.first_pause * 2 ** (failures - 1), self.longest_pause)
        self.sleep(max(longest * (0.5 + 0.5 * self.chance()), asked))


def fetch(
    url: str,
    part: Path,
    *,
    size: int | None,
    summed: bool,
    patience: Patience,
    on_bytes: Callable[[int, int], None],
) -> None:
    """Fill `part` from `url`, going on from what it holds.

    `size` in bytes, None where it is not known. `summed` says that a sum is known: then a part from another address, or
    from a server without ETag, is gone on with, because a wrong mixture will be found.

    Raises:
        SourceError: the address does not serve the file. What came is kept where it may be gone on with.
        WeightsError: the disk is full or cannot be written.
    """
    failures, best = 0, _size(part)
    for _ in range(_MOST_ATTEMPTS):
        try:
            return _attempt(url, part, size=size, summed=summed, timeout=patience.timeout, on_bytes=on_bytes)
        except _BrokenError as error:
            failures = 1 if _size(part) > best else failures + 1
            best = max(best, _size(part))
            if failures >= patience.attempts or error.wait > patience.longest_pause:
                raise SourceError(str(error)) from error
            patience.pause(failures, error.wait)
    raise SourceError(f"broke off {_MOST_ATTEMPTS} times")


def _attempt(
    url: str, part: Path, *, size: int | None, summed: bool, timeout: float, on_bytes: Callable[[int, int], None]
) -> None:
    have = _size(part)
    if size is not None and have > size:
        discard(part)
        have = 0
    if have and have == size:
        return on_bytes(have, have)
    headers = {"User-Agent": f"liveportrait-talker/{__version__}", "Accept-Encoding": "identity"}
    if have:
        note = _read_note(part)
        validator = note.get("validator") if note.get("url") == url else None
        if validator or summed:
            headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  # the opener below knows HTTP alone
    try:
        with _opener().open(request, timeout=timeout) as answer:
            _receive(answer, url, part, have if "Range" in headers else 0, size, on_bytes)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error, part) from error
    except ssl.SSLCertVerificationError as error:
        raise SourceError(f"its certificate is not to be trusted ({error.verify_message})") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise SourceError(f"its certificate is not to be trusted ({error.reason.verify_message})") from error
        raise _BrokenError(f"cannot be reached ({error.reason})") from error
    except http.client.InvalidURL as error:
        raise SourceError("is no address") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(f"broke off at {_size(part):,} bytes ({error or type(error).__name__})") from error


def _receive(
    answer: Any, url: str, part: Path, have: int, size: int | None, on_bytes: Callable[[int, int], None]
) -> None:
    """Append an answer to `part`, of which the first `have` bytes were not asked for."""
    if answer.status not in (200, 206):
        raise SourceError(f"answers {answer.status} {answer.reason}")
    length = _whole(answer.headers.get("Content-Length"))
    total = length
    if answer.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", (answer.headers.get("Content-Range") or "").strip())
        if match is None or int(match[1]) != have:
            discard(part)
            raise _BrokenError("sent another piece than was asked for")
        total = _whole(match[2]) if match[2] != "*" else None if length is None else have + length
    else:
        have = 0  # it knows no ranges, or the file is another one now
    if size is not None and total is not None and total != size:
        raise SourceError(f"has a file of {total:,} bytes where {size:,} are published")
    most = size if size is not None else LARGEST
    if total is not None and total > most:
        raise SourceError(f"has a file of {total:,} bytes: more than the {most:,} that are taken")
    make_room(part, (total or size or 0) - have)
    _write_note(part, url, answer.headers)
    done = have
    try:
        sink = part.open("ab" if have else "wb")
    except OSError as error:
        raise WeightsError(f"cannot write {part}: {error.strerror}.") from error
    with sink:
        while chunk := answer.read(_CHUNK):
            done += len(chunk)
            if done > most:
                discard(part)
                raise SourceError(f"sends more than {most:,} bytes")
            write(sink, chunk, part)
            on_bytes(done, total or size or 0)
    wanted = total if total is not None else size
    if wanted is not None and done < wanted:  # http.client does not mind an early end
        raise _BrokenError(f"broke off at {done:,} of {wanted:,} bytes")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to HTTP(S) only, and never from https to http."""

    max_redirections = 5

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Refuses with SourceError what would be less safe than what was asked for."""
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            raise SourceError(f"sends on from {req.type} to {scheme}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS with certificates checked; no files, no FTP, no cookies, no passwords."""
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


def _refusal(error: urllib.error.HTTPError, part: Path) -> Exception:
    text = f"answers {error.code} {error.reason}".strip()
    if error.code == 416:  # what we hold does not fit its file
        discard(part)
        return _BrokenError(text)
    if error.code in _PASSING:
        return _BrokenError(text, _retry_after(error.headers.get("Retry-After")))
    return SourceError(text)


def _retry_after(text: str | None) -> float:
    """Seconds that a Retry-After header asks for: a number, or a date."""
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


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdigit() else None


def _read_note(part: Path) -> dict[str, str]:
    try:
        note = json.loads(note_path(part).read_text(encoding="utf-8"))
        return {str(k): str(v) for k, v in note.items() if v}
    except (OSError, ValueError, AttributeError):
        return {}


def _write_note(part: Path, url: str, headers: Any) -> None:
    """Keep what lets us go on: the address, and its strong ETag (a weak one does not vouch for bytes) or date."""
    tag = headers.get("ETag") or ""
    validator = tag if tag.startswith('"') else headers.get("Last-Modified") or ""
    with contextlib.suppress(OSError):
        note_path(part).write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")
