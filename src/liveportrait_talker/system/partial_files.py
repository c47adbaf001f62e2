"""Partially written files and full disks."""

from __future__ import annotations

import contextlib
import errno
import shutil
from pathlib import Path
from typing import IO

from ..errors import MediaError, WeightsError

DISK_FULL = "the disk is full: free some space and run the same command again; it continues where it stopped."
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def sidecar_path(part: Path) -> Path:
    """Return the path of the JSON file that identifies the source of a partial file."""
    return part.with_name(part.name + ".json")


def discard(part: Path) -> None:
    """Delete a partial file and its sidecar."""
    part.unlink(missing_ok=True)
    sidecar_path(part).unlink(missing_ok=True)


def write_chunk(sink: IO[bytes], chunk: bytes, part: Path) -> None:
    """Write to a partial file. Raises WeightsError, after deleting it where the disk is full."""
    try:
        sink.write(chunk)
        sink.flush()
    except OSError as error:
        if is_disk_full(error):
            with contextlib.suppress(OSError):
                discard(part)
            raise weights_disk_full(part) from error
        raise WeightsError(f"cannot write {part}: {error.strerror}.") from error


def require_space(part: Path, needed: int) -> None:
    """Raise WeightsError where `needed` more bytes do not fit on the disk of `part`."""
    if needed > shutil.disk_usage(part.parent).free:
        raise weights_disk_full(part, needed)


def is_disk_full(error: Exception) -> bool:
    """Return whether a full disk (or quota) caused the error; safetensors' error has no errno."""
    return getattr(error, "errno", None) in _FULL or "No space left" in str(error)


def write_error(place: Path, error: Exception) -> MediaError:
    """Return the MediaError for an OSError while writing to `place`."""
    if is_disk_full(error):
        return MediaError(DISK_FULL)
    reason = getattr(error, "strerror", None) or error
    return MediaError(f"{place} cannot be written ({reason}): choose another folder.")


def weights_disk_full(part: Path, needed: int | None = None) -> WeightsError:
    """Return the WeightsError for weights (of `needed` bytes, if known) that do not fit on the disk of `part`."""
    free = shutil.disk_usage(part.parent).free
    shortage = f"{needed / 1e6:,.0f} MB are needed" if needed is not None else "the file does not fit"
    return WeightsError(
        f"the disk is full: {shortage} in {part.parent} and {free / 1e6:,.0f} MB are free; free some space, or set "
        "LPT_MODELS to a folder on another disk."
    )
