"""Checks of input files that may be hostile, in a child process with limits of memory and time.

This module imports nothing heavy, so that a check can begin while the libraries are being imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any

from ..options.animate import TEMPLATE_SUFFIXES
from ..options.shared import ImageOptions
from ..system.limited_process import FileCall, LimitedProcess

INSPECTIONS = "liveportrait_talker.media.inspection"
"""Module of the functions that a child process calls."""
INSPECT_FOOTAGE, INSPECT_VOICE = f"{INSPECTIONS}:inspect_footage", f"{INSPECTIONS}:inspect_voice"
DESCRIBE_TEMPLATE = "liveportrait_talker.pipelines.driving_clip:describe_template"
SMALL_MB = 32.0
"""Size above which the command line does not check files: that would take as long as using them."""
_MAX_SECONDS = 3600.0


class MediaCheck:
    """A check of files in a child process with limits of memory and time. A context manager; to be used once.

    The child starts at once, so that a check can be prepared before it is needed.
    """

    def __init__(self) -> None:
        self._process = LimitedProcess(INSPECTIONS)

    def __enter__(self) -> MediaCheck:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def start(
        self,
        options: ImageOptions,
        *,
        sources: Iterable[Path | None] = (),
        voices: Iterable[Path | None] = (),
        driving: Path | None = None,
        max_mb: float = inf,
    ) -> None:
        """Begin to check files.

        Args:
            options: limits of size and duration.
            sources: images and videos; None is ignored.
            voices: files with sound; None is ignored.
            driving: an image, a video or a motion template, by its suffix.
            max_mb: files above this size are not checked.
        """
        seconds = getattr(options, "max_seconds", _MAX_SECONDS)
        calls: list[FileCall] = []
        if driving is not None and driving.suffix.lower() in TEMPLATE_SUFFIXES:
            calls.append(FileCall(DESCRIBE_TEMPLATE, driving, (seconds,)))
        else:
            sources = (*sources, driving)
        calls += [
            FileCall(INSPECT_FOOTAGE, path, (options.max_pixels, seconds)) for path in sources if path is not None
        ]
        calls += [FileCall(INSPECT_VOICE, path, (seconds,)) for path in voices if path is not None]
        self._process.start([call for call in calls if call.megabytes <= max_mb])

    def wait(self) -> None:
        """Wait for the end. Raises MediaError for the first file that cannot be read or exceeds a limit."""
        self._process.results()

    def close(self) -> None:
        """End the child; can be called twice."""
        self._process.close()


class MediaChecks:
    """Checks, one after the other, each in a child process that was started ahead. A context manager."""

    def __init__(self) -> None:
        self._next = MediaCheck()

    def __enter__(self) -> MediaChecks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._next.close()

    def check(self, options: ImageOptions, **files: Any) -> None:
        """Check the inputs of a job, given as to `MediaCheck.start`. Raises MediaError as `MediaCheck.wait` does."""
        current, self._next = self._next, MediaCheck()
        with current:
            current.start(options, **files)
            current.wait()


def check_media(
    *,
    sources: Path | str | Iterable[Path | str] = (),
    voices: Path | str | Iterable[Path | str] = (),
    options: ImageOptions | None = None,
) -> None:
    """Open files of strangers in a child process with limits of memory and time, before they are used.

    `Talker` and the others open files in their own process, where a hostile one may take minutes and gigabytes.

    Args:
        sources: images and videos.
        voices: files with sound.
        options: limits of size and duration: `max_megapixels` and `max_seconds` of `TalkOptions`, `AnimateOptions` or
            `EditSetup`.

    Raises:
        MediaError: a file cannot be read, exceeds a limit, or takes too much memory or time to open.
    """
    with MediaCheck() as check:
        check.start(options or ImageOptions(), sources=_paths(sources), voices=_paths(voices))
        check.wait()


def _paths(given: Path | str | Iterable[Path | str]) -> list[Path]:
    return [Path(given)] if isinstance(given, (str, Path)) else [Path(path) for path in given]
