"""The check of a command's input files, in a child process, while this one imports the libraries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..options.shared import ImageOptions
from ..pipelines.media_check import SMALL_MB, MediaCheck


@contextmanager
def checking(
    options: ImageOptions,
    sources: Iterable[Path | None],
    voices: Iterable[Path | None] = (),
    driving: Path | None = None,
) -> Iterator[MediaCheck]:
    """Begin to check small input files (see `MediaCheck.start`); the block calls `wait` before it uses them.

    A small file may be made to take minutes and gigabytes when it is opened, and Ctrl-C would have to wait for that.
    """
    with MediaCheck() as check:
        check.start(options, sources=sources, voices=voices, driving=driving, max_mb=SMALL_MB)
        yield check
