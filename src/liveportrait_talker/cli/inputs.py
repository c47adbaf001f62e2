"""The check of a command's input files, in a child process, while this one imports the libraries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..options.animate import TEMPLATE_SUFFIXES
from ..options.shared import ImageOptions
from ..pipelines.media_check import MediaCheck

_MAX_MB = 32.0  # larger files cost in proportion to their size
_MAX_SECONDS = 3600.0


@contextmanager
def checking(
    options: ImageOptions, sources: Iterable[Path | None], voices: Iterable[Path | None] = ()
) -> Iterator[MediaCheck]:
    """Begin to check small input files; the block calls `wait` before it uses them.

    A small file may be made to take minutes and gigabytes when it is opened, and Ctrl-C would have to wait for that.

    Args:
        options: limits of size and, where they have it, of duration.
        sources: images and videos; None and motion templates are ignored.
        voices: files with sound; None is ignored.
    """
    with MediaCheck() as check:
        check.start(
            sources=[path for path in sources if path is not None and path.suffix.lower() not in TEMPLATE_SUFFIXES],
            voices=[path for path in voices if path is not None],
            max_pixels=options.max_pixels,
            max_seconds=getattr(options, "max_seconds", _MAX_SECONDS),
            max_mb=_MAX_MB,
        )
        yield check
