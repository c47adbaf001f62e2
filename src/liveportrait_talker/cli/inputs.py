"""The check of a command's input files, in a child process, while this one imports the libraries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..options.shared import RendererOptions
from ..pipelines.media_check import INSPECTIONS, SMALL_MB, ReadingOptions, file_calls
from ..system.limited_process import LimitedProcess


def video_suffix(options: RendererOptions) -> str:
    """Return the suffix of a video whose name is not given."""
    return ".webm" if options.is_transparent else ".mp4"


@contextmanager
def checking(options: ReadingOptions, **files: Any) -> Iterator[LimitedProcess]:
    """Begin to check small input files, given as to `file_calls`; the block calls `results` before it uses them.

    A small file may be made to take minutes and gigabytes when it is opened, and Ctrl-C would have to wait for that.
    """
    with LimitedProcess(INSPECTIONS) as check:
        check.start(file_calls(options, **files, max_mb=SMALL_MB))
        yield check
