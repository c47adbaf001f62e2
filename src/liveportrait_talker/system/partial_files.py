"""Partial files, and a disk that may be full."""

from __future__ import annotations

import contextlib
import errno
import shutil
from pathlib import Path
from typing import IO

from ..errors import WeightsError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def note_path(part: Path) -> Path:
    """Where it is noted what a partial file is a part of."""
    return part.with_name(part.name + ".json")


def discard(part: Path) -> None:
    """Drop a partial file and its note."""
    part.unlink(missing_ok=True)
    note_path(part).unlink(missing_ok=True)


def write(sink: IO[bytes], chunk: bytes, part: Path) -> None:
    """Write to a partial file. Raises WeightsError where the disk is full."""
    try:
        sink.write(chunk)
        sink.flush()
    except OSError as error:
        if is_full(error):
            with contextlib.suppress(OSError):
                discard(part)  # it would only keep the disk full
            raise full(part) from error
        raise WeightsError(f"cannot write {part}: {error.strerror}.") from error


def make_room(part: Path, needed: int) -> None:
    """Raises WeightsError where `needed` more bytes do not fit on the disk of `part`."""
    if needed > shutil.disk_usage(part.parent).free:
        raise full(part, needed)


def is_full(error: Exception) -> bool:
    """Is this what a full disk raises? (safetensors' own error has no number.)"""
    return getattr(error, "errno", None) in _FULL or "No space left" in str(error)


def full(part: Path, needed: int | None = None) -> WeightsError:
    """The error that says the disk is full."""
    free = shutil.disk_usage(part.parent).free
    wants = f"{needed / 1e6:,.0f} MB are needed" if needed is not None else "the file does not fit"
    return WeightsError(
        f"the disk is full: {wants} in {part.parent} and {free / 1e6:,.0f} MB are free; make room, or set LPT_MODELS "
        "to a folder that has it."
    )
