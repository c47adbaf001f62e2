"""Downloading one source video with yt-dlp.

Nothing is merged, so the ffmpeg program is not needed: either one MP4 holds video and audio, or video (H.264) and audio
(AAC) are two files that `cut_clips` reads together. YouTube offers most videos as one file only at 360 lines, from
which VoxCeleb was made, and as two files at 720 lines and more.
"""

from __future__ import annotations

import logging
import random
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import MediaError, OptionError
from ..system.partial_files import DISK_FULL, is_disk_full

log = logging.getLogger(__name__)

_STEM = "source"
_POLL_SECONDS = 0.2
_FULL_TEXT = re.compile(r"\[Errno (28|122|27)\]|No space left")
_STATUS_TEXT = re.compile(r"HTTP Error (\d{3})")  # all that yt-dlp's own retries keep of a response
# Only yt-dlp's messages say why a page has no video: pattern, reason, permanent. Temporary ones come first, as a host
# that limits requests also reports the video as unavailable.
_MESSAGES = (
    (r"not a bot|rate.limited|try again later|too many requests", "the host asks for a pause", False),
    (r"live event will begin|premieres in", "not shown yet", False),
    (r"requested format is not available|only images are available|no video formats", "no usable format", False),
    (r"private video|video is private", "private", True),
    (r"in your country|your location|geo.?restrict", "blocked in this country", True),
    (r"confirm your age|age.restricted|inappropriate for some", "age-restricted", True),
    (r"members.only|members on level|join this channel|requires payment", "for members only", True),
    (r"drm protected|drm protection", "protected by DRM", True),
    (r"terminated|been removed|been deleted|removed by|no longer available|copyright", "removed", True),
    (r"video (is )?unavailable|video is not available|isn.t available", "removed", True),
    (r"unsupported url", "no video at the address", True),
    (r"timed out|timeout", "timed out", False),
    (r"connection (broken|reset|aborted|refused)|data blocks|giving up after", "the connection broke", False),
)


@dataclass(frozen=True)
class Fetched:
    """A downloaded video."""

    video: Path
    sound: Path | None
    """File of the audio, None where `video` holds it."""


class FetchError(Exception):
    """The video could not be downloaded. `reason` is one of a few fixed texts; `permanent` failures are not retried."""

    def __init__(self, reason: str, *, permanent: bool, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent
        self.wait = wait  # the host's Retry-After, seconds


class Cancelled(Exception):  # not an error
    """The run was cancelled during the download."""


@dataclass(frozen=True)
class FetchPolicy:
    """Source, rate and retries of downloads. Raises OptionError for values out of range."""

    address_template: str = "https://www.youtube.com/watch?v={id}"
    """An http(s) address with `{id}` in place of the video's id."""
    max_height: int = 720
    """Maximum number of lines, 144…4320, where the host offers a choice."""
    rate_limit: float | None = None
    """Bytes per second of one download; None for no limit."""
    sleep_seconds: float = 0.0
    """Pause before each download, 0…3600."""
    attempts: int = 4
    """Attempts per run at temporary failures, 1…20."""
    first_pause: float = 2.0
    """Seconds between the first two attempts, doubled each time."""
    max_pause: float = 60.0
    """Maximum seconds between two attempts; if the host asks for more, the next run retries."""
    timeout: float = 30.0
    """Seconds without a response or a byte, 0.1…600."""
    max_bytes: int = 4_000_000_000
    """Maximum size of a file."""

    def __post_init__(self) -> None:
        address = urllib.parse.urlsplit(self.address_template)
        if "{id}" not in self.address_template or address.scheme not in ("http", "https") or not address.netloc:
            raise OptionError(
                f"--address-template {self.address_template} must be an http(s) address with {{id}} in it."
            )
        for name, value, low, high in (
            ("--max-height", self.max_height, 144, 4320),
            ("--sleep-interval", self.sleep_seconds, 0, 3600),
            ("--attempts", self.attempts, 1, 20),
            ("--timeout", self.timeout, 0.1, 600),
            ("--max-size (in bytes)", self.max_bytes, 1, 1e12),
            ("first_pause", self.first_pause, 0, 3600),
            ("max_pause", self.max_pause, 0, 3600),
            ("--rate-limit (in bytes/s)", 1 if self.rate_limit is None else self.rate_limit, 1, 1e12),
        ):
            if not low <= value <= high:
                raise OptionError(f"{name} {value:g} is out of range: give {low:g} … {high:g}.")

    def address(self, video: str) -> str:
        """Return the address of a video."""
        return self.address_template.replace("{id}", urllib.parse.quote(video, safe=""))


def fetch(
    video: str, folder: Path, policy: FetchPolicy, *, is_cancelled: Callable[[], bool] = lambda: False
) -> Fetched:
    """Download a video into `folder`, which exists and is empty.

    Temporary failures are retried after a pause, resuming the partial file. A killed run leaves partial files in
    `folder`, which the caller deletes.

    Raises:
        FetchError: it could not be downloaded.
        Cancelled: `is_cancelled()` became true.
        MediaError: the disk is full.
    """
    for attempt in range(1, policy.attempts + 1):
        try:
            return _attempt(video, folder, policy, is_cancelled)
        except FetchError as error:
            if error.permanent or attempt == policy.attempts or error.wait > policy.max_pause:
                raise
            log.info("%s: %s; trying again", video, error.reason)
            backoff = min(policy.first_pause * 2 ** (attempt - 1), policy.max_pause)
            _pause(max(backoff * random.uniform(0.5, 1), error.wait), is_cancelled)
    raise AssertionError("unreachable")


def _attempt(video: str, folder: Path, policy: FetchPolicy, is_cancelled: Callable[[], bool]) -> Fetched:
    import yt_dlp  # type: ignore[import-untyped, import-not-found, unused-ignore]

    yt_dlp.globals.plugin_dirs.value = []  # ignore the user's own plugins

    def check_progress(progress: dict[str, Any]) -> None:
        if is_cancelled():
            raise Cancelled
        if max(progress.get("downloaded_bytes") or 0, progress.get("total_bytes") or 0) > policy.max_bytes:
            raise FetchError("too large", permanent=True)

    _pause(policy.sleep_seconds, is_cancelled)
    logger = _Logger()
    try:
        with yt_dlp.YoutubeDL(_settings(folder, policy, logger, check_progress)) as downloader:
            info = downloader.extract_info(policy.address(video)) or {}
    except (FetchError, Cancelled, KeyboardInterrupt):
        raise
    except Exception as error:
        raise _classify_error(error) from error
    if logger.too_large:
        raise FetchError("too large", permanent=True)
    infos = [each for each in (info, *info.get("entries", ())) if each]
    downloads: list[Any] = next((each["requested_downloads"] for each in infos if each.get("requested_downloads")), [])
    files = {Path(each["filepath"]): each.get("vcodec") == "none" for each in downloads}
    videos = [path for path, is_sound in files.items() if not is_sound and path.is_file()]
    if not videos:
        raise FetchError("no video at the address", permanent=True)
    return Fetched(videos[0], next((path for path, is_sound in files.items() if is_sound), None))


def _settings(folder: Path, policy: FetchPolicy, logger: _Logger, hook: Callable[[dict[str, Any]], None]) -> Any:
    """Return yt-dlp's parameters; as a library it reads no configuration files."""
    return {
        "format": _format_selector(policy.max_height),
        "outtmpl": {"default": f"{_STEM}.%(format_id)s.%(ext)s"},
        "paths": {"home": str(folder)},
        "noplaylist": True,
        "playlist_items": "1",
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "logger": logger,
        "progress_hooks": [hook],
        "cachedir": False,
        "continuedl": True,  # from a .part file of this run, as the folder was empty
        "retries": 1,
        "fragment_retries": 3,
        "skip_unavailable_fragments": False,  # a missing fragment would shift the rest
        "retry_sleep_functions": {"http": lambda n: 0.2, "fragment": lambda n: 1.0},
        "extractor_retries": 1,
        "file_access_retries": 1,
        "socket_timeout": policy.timeout,
        "ratelimit": policy.rate_limit,
        "max_filesize": policy.max_bytes,
        "geo_bypass": False,
        "fixup": "never",  # needs ffmpeg
        "updatetime": False,
        "overwrites": True,
    }


def _format_selector(max_height: int) -> Callable[[dict[str, Any]], Iterator[Any]]:
    """Return yt-dlp's format selector: one file, or video and audio files if these have more lines.

    yt-dlp's format expressions cannot state "both or neither".
    """

    def select(context: dict[str, Any]) -> Iterator[Any]:
        formats = [each for each in reversed(context["formats"]) if each.get("ext") != "mhtml"]  # the best first
        videos = [each for each in formats if each.get("vcodec") != "none"]
        low = [each for each in videos if (each.get("height") or 0) <= max_height]
        single = _first(low, lambda each: each.get("acodec") != "none" and _is_http(each, "mp4"))
        video = _first(low, lambda each: each.get("acodec") == "none" and _is_http(each, "mp4") and _is_h264(each))
        audio = _first(formats, lambda each: each.get("vcodec") == "none" and _is_http(each, "m4a"))
        if video and audio and (not single or (single.get("height") or max_height) < (video.get("height") or 0)):
            yield video
            yield audio
            return
        complete = [each for each in videos if each.get("acodec") != "none"]
        others = [*[each for each in low if each in complete], *reversed(complete), *low, *reversed(videos)]
        if single or others:
            yield single or others[0]

    return select


def _first(formats: list[Any], matches: Callable[[Any], bool]) -> Any:
    return next((each for each in formats if matches(each)), None)


def _is_http(offer: dict[str, Any], ext: str) -> bool:
    return offer.get("ext") == ext and str(offer.get("protocol", "http")).startswith("http")


def _is_h264(offer: dict[str, Any]) -> bool:
    return str(offer.get("vcodec")).startswith("avc")


class _Logger:
    """Receives yt-dlp's messages."""

    def __init__(self) -> None:
        self.too_large = False

    def debug(self, text: str) -> None:
        self.too_large |= "larger than max-filesize" in text

    def info(self, text: str) -> None:
        self.debug(text)

    def warning(self, text: str) -> None:
        log.debug("yt-dlp: %s", text)

    def error(self, text: str) -> None:
        log.debug("yt-dlp: %s", text)


def _classify_error(error: Exception) -> FetchError | MediaError:
    """Return the error for an exception of yt-dlp. Unknown ones are temporary."""
    from yt_dlp import networking, utils  # type: ignore[import-untyped, import-not-found, unused-ignore]

    failed = networking.exceptions

    chain = list(_exception_chain(error))
    if any(isinstance(each, Exception) and (is_disk_full(each) or _FULL_TEXT.search(str(each))) for each in chain):
        return MediaError(DISK_FULL)
    if any(isinstance(each, utils.GeoRestrictedError) for each in chain):
        return FetchError("blocked in this country", permanent=True)
    if any(isinstance(each, utils.UnsupportedError) for each in chain):
        return FetchError("no video at the address", permanent=True)
    for each in chain:
        if isinstance(each, failed.HTTPError):
            return _status_error(each.status, each.response.headers.get("Retry-After"))
        if found := _STATUS_TEXT.search(str(each)):
            return _status_error(int(found[1]), None)
    for pattern, reason, permanent in _MESSAGES:
        if any(re.search(pattern, str(each), re.IGNORECASE) for each in chain):
            return FetchError(reason, permanent=permanent)
    if any(isinstance(each, failed.SSLError) for each in chain):
        return FetchError("untrusted certificate", permanent=False)
    if any(isinstance(each, (failed.TransportError, utils.ContentTooShortError, OSError)) for each in chain):
        return FetchError("the connection broke", permanent=False)
    log.warning("yt-dlp: %s", error)
    return FetchError("the host's answer was not understood", permanent=False)


def _status_error(status: int, retry_after: str | None) -> FetchError:
    """Return the error for an HTTP status. 403 is temporary: YouTube uses it for rate limiting."""
    wait = float(retry_after) if retry_after and retry_after.strip().isdigit() else 0.0
    if status == 429:
        return FetchError("too many requests (429)", permanent=False, wait=wait)
    if status >= 500 or status in (403, 408, 425) or status < 400:
        return FetchError(f"the server refused ({status})", permanent=False, wait=wait)
    known = {404: "not found (404)", 410: "gone (410)", 451: "blocked in this country"}
    return FetchError(known.get(status, f"the server refused ({status})"), permanent=True)


def _exception_chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, including those in yt-dlp's own attributes."""
    pending: list[Any] = [error]
    seen: set[int] = set()
    while pending:
        each = pending.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        info = getattr(each, "exc_info", None)
        pending += [getattr(each, "cause", None), each.__cause__, each.__context__, info[1] if info else None]


def _pause(seconds: float, is_cancelled: Callable[[], bool]) -> None:
    """Sleep. Raises Cancelled."""
    end = time.monotonic() + seconds
    while (remaining := end - time.monotonic()) > 0:
        if is_cancelled():
            raise Cancelled
        time.sleep(min(remaining, _POLL_SECONDS))
