"""Checks of input files that may be hostile, in a child process with limits of memory and time.

This module imports nothing heavy, so that a check can begin while the libraries are being imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from ..options.animate import is_template_name
from ..options.talk import TalkOptions
from ..system.limited_process import FileCall, LimitedProcess

INSPECTIONS = "liveportrait_talker.media.inspection"
"""Module of the functions that a child process calls."""
INSPECT_FOOTAGE, INSPECT_VOICE = f"{INSPECTIONS}:inspect_footage", f"{INSPECTIONS}:inspect_voice"
INSPECT_SOUND = f"{INSPECTIONS}:inspect_sound"
DESCRIBE_TEMPLATE = "liveportrait_talker.pipelines.driving_clip:describe_template"
NUMBER_FACES = "liveportrait_talker.pipelines.faces:number_faces"
SMALL_MB = 32.0
"""Size above which the command line does not check files: that would take as long as using them."""


class ReadingOptions(Protocol):
    """Limits of what a command opens, and the files that it reads besides its inputs."""

    @property
    def max_pixels(self) -> int:
        """Width × height of the largest image."""

    @property
    def max_seconds(self) -> float:
        """Longest sound or video."""

    @property
    def renderer_files(self) -> tuple[Path, ...]:
        """Images and videos that the renderer reads."""


def file_calls(
    options: ReadingOptions,
    *,
    sources: Iterable[Path | None] = (),
    voices: Iterable[Path | None] = (),
    videos: Iterable[Path] = (),
    driving: Path | None = None,
    max_mb: float = inf,
) -> list[FileCall]:
    """Return the calls that check files, for a `LimitedProcess(INSPECTIONS)`.

    Args:
        options: limits of size and duration; the files of `mouth_from` are checked, too.
        sources: images and videos; None is ignored.
        voices: files with sound; None is ignored.
        videos: files whose sound is read if they have any.
        driving: an image, a video or a motion template, by its suffix.
        max_mb: files above this size are not checked.
    """
    calls: list[FileCall] = []
    sources = (*sources, *options.renderer_files)
    if driving is not None and is_template_name(driving):
        calls.append(FileCall(DESCRIBE_TEMPLATE, driving, (options.max_seconds,)))
    else:
        sources = (*sources, driving)
    limits = (options.max_pixels, options.max_seconds)
    calls += [FileCall(INSPECT_FOOTAGE, path, limits) for path in sources if path is not None]
    calls += [FileCall(INSPECT_VOICE, path, (options.max_seconds,)) for path in voices if path is not None]
    calls += [FileCall(INSPECT_SOUND, path, (options.max_seconds,)) for path in videos]
    return [call for call in calls if call.megabytes <= max_mb]


class MediaChecks:
    """Checks, one after the other, each in a child process that was started ahead. A context manager."""

    def __init__(self) -> None:
        self._next = LimitedProcess(INSPECTIONS)

    def __enter__(self) -> MediaChecks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._next.close()

    def check(self, options: ReadingOptions, **files: Any) -> None:
        """Check the inputs of a job, given as to `file_calls`.

        Raises:
            MediaError: a file cannot be read, exceeds a limit, or takes too much memory or time to open.
        """
        current, self._next = self._next, LimitedProcess(INSPECTIONS)
        with current:
            current.start(file_calls(options, **files))
            current.results()


def check_media(
    *,
    sources: Path | str | Iterable[Path | str] = (),
    voices: Path | str | Iterable[Path | str] = (),
    options: ReadingOptions | None = None,
) -> None:
    """Open files of strangers in a child process with limits of memory and time, before they are used.

    `Talker` and the others open files in their own process, where a hostile one may take minutes and gigabytes.

    Args:
        sources: images and videos.
        voices: files with sound.
        options: limits of size and duration: their `max_megapixels` and `max_seconds`.

    Raises:
        MediaError: a file cannot be read, exceeds a limit, or takes too much memory or time to open.
    """
    with LimitedProcess(INSPECTIONS) as process:
        process.start(file_calls(options or TalkOptions(), sources=_paths(sources), voices=_paths(voices)))
        process.results()


def _paths(given: Path | str | Iterable[Path | str]) -> list[Path]:
    return [Path(given)] if isinstance(given, (str, Path)) else [Path(path) for path in given]
