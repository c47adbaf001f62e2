"""One source video, by yt-dlp, into a folder of its own.

No ffmpeg program is needed, since nothing is merged: either one MP4 holds picture and sound, or picture (H.264) and
sound (AAC) are two files, and the cut takes from both. YouTube offers most videos in one file at 360 lines only, which
is what VoxCeleb was made from, and in two files up to 720 and more.
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
from ..system.journal import full_disk
from ..system.partial_files import is_disk_full

log = logging.getLogger(__name__)

_STEM = "source"
_SLICE_SECONDS = 0.2  # of a pause, so that a run can stop within it
_FULL_TEXT = re.compile(r"\[Errno (28|122|27)\]|No space left")
# yt-dlp tells by text alone why a page shows no video. What may pass comes first: a host that wants a pause also says
# that the video is unavailable.
_STATUS_TEXT = re.compile(r"HTTP Error (\d{3})")  # what yt-dlp's own retries leave of an answer
_TEXTS = (
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
    """A video that came."""

    video: Path
    sound: Path | None
    """The file of its sound, where that is another one; None: what sound there is, is in `video`."""


class FetchError(Exception):
    """The video could not be had: `reason` is one of a few fixed texts, `permanent` says that it never will be."""

    def __init__(self, reason: str, *, permanent: bool, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent
        self.wait = wait  # seconds that the host asks for


class Stopped(Exception):  # no error: the run ends
    """The run was given up while this video was worked on."""


@dataclass(frozen=True)
class FetchPolicy:
    """Where videos come from, and how gently. Raises OptionError for values that make no sense."""

    address_template: str = "https://www.youtube.com/watch?v={id}"
    """An http(s) address with `{id}` where the video's id belongs."""
    max_height: int = 720
    """Lines of the picture, 144…4320; more are taken only where there is nothing less."""
    rate_limit: float | None = None
    """Bytes a second of one download; None for no limit."""
    sleep_seconds: float = 0.0
    """Pause before each download, 0…3600."""
    attempts: int = 4
    """Attempts in one run at what may pass, 1…20."""
    first_pause: float = 2.0
    """Seconds between the first two attempts, doubled each time."""
    longest_pause: float = 60.0
    """Seconds between two attempts at most; where the host asks for more, the next run tries again."""
    timeout: float = 30.0
    """Seconds without an answer or a byte, 1…600."""
    max_bytes: int = 4_000_000_000
    """A larger file is refused."""

    def __post_init__(self) -> None:
        address = urllib.parse.urlsplit(self.address_template)
        if "{id}" not in self.address_template or address.scheme not in ("http", "https") or not address.netloc:
            raise OptionError(
                f"--address-template {self.address_template} must be an http(s) address with {{id}} in it."
            )
        _check("--max-height", self.max_height, 144, 4320)
        _check("--sleep-interval", self.sleep_seconds, 0, 3600)
        _check("--attempts", self.attempts, 1, 20)
        _check("--timeout", self.timeout, 0.1, 600)
        _check("the largest size (bytes)", self.max_bytes, 1, 1e12)
        _check("first_pause", self.first_pause, 0, 3600)
        _check("longest_pause", self.longest_pause, 0, 3600)
        if self.rate_limit is not None:
            _check("the rate limit (bytes a second)", self.rate_limit, 1, 1e12)

    def address(self, video: str) -> str:
        """The address of a video."""
        return self.address_template.replace("{id}", urllib.parse.quote(video, safe=""))


def fetch(video: str, folder: Path, policy: FetchPolicy, *, stopped: Callable[[], bool] = lambda: False) -> Fetched:
    """Fetch a video into `folder`, which exists and is empty.

    What may pass is tried again after a pause, going on from the bytes that came. A killed run leaves a part of a file
    in `folder`; it is for the caller to throw away.

    Raises:
        FetchError: it could not be had.
        Stopped: `stopped()` became true.
        MediaError: the disk is full.
    """
    for attempt in range(1, policy.attempts + 1):
        try:
            return _attempt(video, folder, policy, stopped)
        except FetchError as error:
            longest = min(policy.first_pause * 2 ** (attempt - 1), policy.longest_pause)
            if error.permanent or attempt == policy.attempts or error.wait > policy.longest_pause:
                raise
            log.info("%s: %s; trying again", video, error.reason)
            # Half of it by chance: workers must not march in step.
            _pause(max(longest * random.uniform(0.5, 1), error.wait), stopped)
    raise AssertionError("unreachable")


def _attempt(video: str, folder: Path, policy: FetchPolicy, stopped: Callable[[], bool]) -> Fetched:
    import yt_dlp  # type: ignore[import-untyped, import-not-found, unused-ignore]

    yt_dlp.globals.plugin_dirs.value = []  # what a user has for his own yt-dlp must not change ours, like his settings

    def watch(progress: dict[str, Any]) -> None:
        if stopped():
            raise Stopped
        if max(progress.get("downloaded_bytes") or 0, progress.get("total_bytes") or 0) > policy.max_bytes:
            raise FetchError("too large", permanent=True)

    _pause(policy.sleep_seconds, stopped)
    quiet = _Quiet()
    try:
        with yt_dlp.YoutubeDL(_settings(folder, policy, quiet, watch)) as downloader:
            info = downloader.extract_info(policy.address(video)) or {}
    except (FetchError, Stopped, KeyboardInterrupt):
        raise
    except Exception as error:
        raise _explained(error) from error
    if quiet.too_large:
        raise FetchError("too large", permanent=True)
    infos = [each for each in (info, *info.get("entries", ())) if each]
    came: list[Any] = next((each["requested_downloads"] for each in infos if each.get("requested_downloads")), [])
    files = {Path(each["filepath"]): each.get("vcodec") == "none" for each in came}
    pictures = [path for path, is_sound in files.items() if not is_sound and path.is_file()]
    if not pictures:
        raise FetchError("no video at the address", permanent=True)
    return Fetched(pictures[0], next((path for path, is_sound in files.items() if is_sound), None))


def _settings(folder: Path, policy: FetchPolicy, quiet: _Quiet, watch: Callable[[dict[str, Any]], None]) -> Any:
    """yt-dlp's parameters. Used as a library it reads no configuration file."""
    return {
        "format": _chooser(policy.max_height),
        "outtmpl": {"default": f"{_STEM}.%(format_id)s.%(ext)s"},
        "paths": {"home": str(folder)},
        "noplaylist": True,
        "playlist_items": "1",
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "logger": quiet,
        "progress_hooks": [watch],
        "cachedir": False,
        "continuedl": True,  # from its .part, which is of this very run: the folder was empty
        "retries": 1,
        "fragment_retries": 3,
        "skip_unavailable_fragments": False,  # a video with a hole shifts all that follows
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


def _chooser(most: int) -> Callable[[dict[str, Any]], Iterator[Any]]:
    """What yt-dlp asks for the formats to take: one file, or picture and sound where that brings more lines.

    yt-dlp's own little language cannot say "both or neither".
    """

    def choose(context: dict[str, Any]) -> Iterator[Any]:
        offered = [each for each in reversed(context["formats"]) if each.get("ext") != "mhtml"]  # the best first
        pictures = [each for each in offered if each.get("vcodec") != "none"]
        fitting = [each for each in pictures if (each.get("height") or 0) <= most]
        single = _first(fitting, lambda each: each.get("acodec") != "none" and _plain(each, "mp4"))
        picture = _first(fitting, lambda each: each.get("acodec") == "none" and _plain(each, "mp4") and _is_h264(each))
        sound = _first(offered, lambda each: each.get("vcodec") == "none" and _plain(each, "m4a"))
        if picture and sound and (not single or (single.get("height") or most) < (picture.get("height") or 0)):
            yield picture
            yield sound
            return
        whole = [each for each in pictures if each.get("acodec") != "none"]
        others = [*[each for each in fitting if each in whole], *reversed(whole), *fitting, *reversed(pictures)]
        if single or others:
            yield single or others[0]

    return choose


def _first(formats: list[Any], fits: Callable[[Any], bool]) -> Any:
    return next((each for each in formats if fits(each)), None)


def _plain(offer: dict[str, Any], ext: str) -> bool:
    return offer.get("ext") == ext and str(offer.get("protocol", "http")).startswith("http")


def _is_h264(offer: dict[str, Any]) -> bool:
    return str(offer.get("vcodec")).startswith("avc")


class _Quiet:
    """Takes what yt-dlp would print."""

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


def _explained(error: Exception) -> FetchError | MediaError:
    """What an exception of yt-dlp means. What is not understood may pass."""
    from yt_dlp import networking, utils  # type: ignore[import-untyped, import-not-found, unused-ignore]

    failed = networking.exceptions

    chain = list(_chain(error))
    if any(isinstance(each, Exception) and (is_disk_full(each) or _FULL_TEXT.search(str(each))) for each in chain):
        return full_disk()
    if any(isinstance(each, utils.GeoRestrictedError) for each in chain):
        return FetchError("blocked in this country", permanent=True)
    if any(isinstance(each, utils.UnsupportedError) for each in chain):
        return FetchError("no video at the address", permanent=True)
    for each in chain:
        if isinstance(each, failed.HTTPError):
            return _refusal(each.status, each.response.headers.get("Retry-After"))
        if found := _STATUS_TEXT.search(str(each)):
            return _refusal(int(found[1]), None)
    for pattern, reason, permanent in _TEXTS:
        if any(re.search(pattern, str(each), re.IGNORECASE) for each in chain):
            return FetchError(reason, permanent=permanent)
    if any(isinstance(each, failed.SSLError) for each in chain):
        return FetchError("its certificate is not to be trusted", permanent=False)
    if any(isinstance(each, (failed.TransportError, utils.ContentTooShortError, OSError)) for each in chain):
        return FetchError("the connection broke", permanent=False)
    log.warning("yt-dlp: %s", error)
    return FetchError("the host's answer was not understood", permanent=False)


def _refusal(status: int, retry_after: str | None) -> FetchError:
    """By the status of an HTTP answer. 403 may pass: YouTube says it when it wants to slow one down."""
    wait = float(retry_after) if retry_after and retry_after.strip().isdigit() else 0.0
    if status == 429:
        return FetchError("too many requests (429)", permanent=False, wait=wait)
    if status >= 500 or status in (403, 408, 425) or status < 400:
        return FetchError(f"the server refused ({status})", permanent=False, wait=wait)
    known = {404: "not found (404)", 410: "gone (410)", 451: "blocked in this country"}
    return FetchError(known.get(status, f"the server refused ({status})"), permanent=True)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that it came from, in the ways that yt-dlp keeps them."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        held = getattr(each, "exc_info", None)
        waiting += [getattr(each, "cause", None), each.__cause__, each.__context__, held[1] if held else None]


def _pause(seconds: float, stopped: Callable[[], bool]) -> None:
    """Sleep. Raises Stopped when the run ends meanwhile."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if stopped():
            raise Stopped
        time.sleep(min(left, _SLICE_SECONDS))


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise OptionError(f"{name} {value:g} is out of range: give {low:g} … {high:g}.")
