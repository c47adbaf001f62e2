"""Checks of input files that may be hostile, in a child process with limits of memory and time.

This module imports nothing heavy, so that a check can begin while the libraries are being imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from pathlib import Path
from types import TracebackType

from ..system.limited_process import FileCall, LimitedProcess

INSPECTIONS = "liveportrait_talker.media.inspection"
"""Module of the functions that a child process calls."""
INSPECT_FOOTAGE, INSPECT_VOICE = f"{INSPECTIONS}:inspect_footage", f"{INSPECTIONS}:inspect_voice"


class MediaCheck:
    """A check of files in a child process with limits of memory and time. A context manager; to be used once.

    The child starts at once, so that a check can be prepared before it is needed.
    """

    def __init__(self) -> None:
        self._process = LimitedProcess(INSPECTIONS)
        self._calls: list[FileCall] = []

    def __enter__(self) -> MediaCheck:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def start(
        self,
        *,
        sources: Iterable[Path] = (),
        voices: Iterable[Path] = (),
        max_pixels: int,
        max_seconds: float,
        max_mb: float = inf,
    ) -> None:
        """Begin to check files.

        Args:
            sources: images and videos.
            voices: files with sound.
            max_pixels: limit of width × height.
            max_seconds: limit of the durations.
            max_mb: files above this size are not checked: what they cost is in proportion to their size.
        """
        self._calls = [FileCall(INSPECT_FOOTAGE, path, (max_pixels, max_seconds)) for path in sources]
        self._calls += [FileCall(INSPECT_VOICE, path, (max_seconds,)) for path in voices]
        self._calls = [call for call in self._calls if call.megabytes <= max_mb]
        self._process.start(self._calls)

    def wait(self) -> None:
        """Wait for the end. Raises MediaError for the first file that cannot be read or exceeds a limit."""
        self._process.results()

    def close(self) -> None:
        """End the child; can be called twice."""
        self._process.close()


def check_media(
    *,
    sources: Iterable[Path | str] = (),
    voices: Iterable[Path | str] = (),
    max_megapixels: float = 120.0,
    max_seconds: float = 3600.0,
) -> None:
    """Open files of strangers in a child process with limits of memory and time, before they are used.

    `Talker` and the others open files in their own process, where a hostile one may take minutes and gigabytes.

    Args:
        sources: images and videos.
        voices: files with sound.
        max_megapixels: limit of width × height, in millions.
        max_seconds: limit of the durations.

    Raises:
        MediaError: a file cannot be read, exceeds a limit, or takes too much memory or time to open.
    """
    with MediaCheck() as check:
        check.start(
            sources=map(Path, sources),
            voices=map(Path, voices),
            max_pixels=int(max_megapixels * 1e6),
            max_seconds=max_seconds,
        )
        check.wait()
