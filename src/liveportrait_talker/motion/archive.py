"""Files of arrays over T frames: .npz of plain numbers with a header, in named parts.

Everything is checked before memory is allocated, because such files are shared between people.
Source: docs/method/conventions.md, Motion template files.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from ..errors import MediaError

MAX_FRAMES = 200_000
"""Over two hours at 25 frames/s."""
_MAX_HEADER_BYTES = 4096
_MAX_DIRECTORY_BYTES = 2**16  # the arrays of all parts need far less

Content = TypeVar("Content")
Arrays = dict[str, dict[str, npt.NDArray[Any]]]
"""Part → array → values."""


@dataclass(frozen=True)
class ArchiveKind:
    """One kind of file."""

    name: str
    """For messages."""
    format: str
    """What its header says."""
    version: int
    """The newest; a file may have an older one."""
    parts: Mapping[str, tuple[str, Mapping[str, tuple[int, ...]]]]
    """Part → (prefix of its array names in the file, array → its shape in one frame)."""
    first_parts: tuple[str, ...] = ()
    """Parts of a file whose header lists none."""

    @property
    def max_bytes(self) -> int:
        """Size of the largest file."""
        return MAX_FRAMES * 4 * sum(math.prod(s) for _, part in self.parts.values() for s in part.values()) + 2**20


def write_archive(kind: ArchiveKind, path: Path, *, fps: float, frames: int, parts: Mapping[str, object]) -> None:
    """Write to a temporary file and rename it to `path`.

    Args:
        kind: of the file.
        path: the file, replaced if it exists.
        fps: frames per second.
        frames: number of frames.
        parts: part → an object whose attributes are its arrays.

    Raises:
        MediaError: the file cannot be written.
    """
    arrays = {
        prefix + name: getattr(parts[part], name)
        for part, (prefix, shapes) in kind.parts.items()
        if part in parts
        for name in shapes
    }
    header = {"format": kind.format, "version": kind.version, "fps": float(fps), "frames": frames, "parts": [*parts]}
    part_file = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part_file.open("wb") as file:
            np.savez(file, header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8), **arrays)
        part_file.replace(path)
    except OSError as error:
        raise MediaError(f"cannot write the {kind.name} {path}: {error.strerror or error}.") from error
    finally:
        part_file.unlink(missing_ok=True)


def read_archive(kind: ArchiveKind, path: Path, build: Callable[[float, Arrays], Content]) -> Content:
    """Read an untrusted file: nothing in it is executed, and its memory is bounded.

    Args:
        kind: of the file.
        path: the file.
        build: frame rate and float32 arrays of the parts that it has → what is returned; raises ValueError where they
            make no sense.

    Raises:
        MediaError: the file is missing, damaged, of another kind, of a newer version or too long.
    """
    if not path.is_file():
        raise MediaError(f"there is no {kind.name} {path}.")
    try:
        with path.open("rb") as file:
            _check_size(kind, file, path)
            with ZipFile(file) as archive:
                header = _read_header(kind, archive, path)
                arrays = {
                    part: {
                        name: _read_array(archive, prefix + name, (header["frames"], *shape), "<f4")
                        for name, shape in shapes.items()
                    }
                    for part, (prefix, shapes) in kind.parts.items()
                    if part in header["parts"]
                }
        return build(header["fps"], arrays)
    except MediaError:
        raise
    except OSError as error:
        raise MediaError(f"cannot read the {kind.name} {path}: {error.strerror or 'it is damaged'}.") from error
    except ValueError as error:
        reason = ascii(str(error))[1:-1][:200].rstrip(".")  # may quote the file
        raise MediaError(f"cannot read the {kind.name} {path}: {reason}.") from error
    except Exception as error:  # zipfile and its decompressors document no list of errors for damaged archives
        raise MediaError(f"cannot read the {kind.name} {path}: it is damaged.") from error


def _check_size(kind: ArchiveKind, file: BinaryIO, path: Path) -> None:
    """Raise MediaError for a large file, or one whose directory would be large in memory."""
    size = file.seek(0, os.SEEK_END)
    if size > kind.max_bytes:
        raise MediaError(f"{path} is too large for a {kind.name}: {size >> 20} of at most {kind.max_bytes >> 20} MB.")
    file.seek(max(0, size - 42))
    tail = file.read().rjust(42, b"\0")
    is_zip64, end = tail[:4] == b"PK\6\7", tail[20:]  # zip64 locator, end of central directory
    if is_zip64 or end[:4] != b"PK\5\6" or struct.unpack("<I", end[12:16])[0] > _MAX_DIRECTORY_BYTES:
        raise MediaError(f"{path} is not a {kind.name} of this program.")


def _read_header(kind: ArchiveKind, archive: ZipFile, path: Path) -> dict[str, Any]:
    """Return the checked header; raise MediaError for a file of another kind, version or length, else ValueError."""
    if "header.npy" not in archive.namelist():
        raise MediaError(f"{path} is not a {kind.name} of this program.")
    header = json.loads(_read_array(archive, "header", None, "|u1").tobytes())
    if not isinstance(header, dict) or header.get("format") != kind.format:
        raise MediaError(f"{path} is not a {kind.name} of this program.")
    version, frames, fps = (header.get(key) for key in ("version", "frames", "fps"))
    if type(version) is not int or version < 1:
        raise ValueError("its version is not a number")
    if version > kind.version:
        raise MediaError(f"{path} is a {kind.name} of version {version}, made by a newer release: update this one.")
    if type(frames) is not int or type(fps) not in (int, float):
        raise ValueError("its header lacks the number of frames or the frame rate")
    if not 1 <= frames <= MAX_FRAMES:
        raise MediaError(f"the {kind.name} {path} states {frames} frames: 1 to {MAX_FRAMES} are accepted.")
    header.setdefault("parts", [*kind.first_parts])
    if not isinstance(header["parts"], list) or not any(part in kind.parts for part in header["parts"]):
        raise ValueError("its header lacks the list of parts")
    return header


def _read_array(archive: ZipFile, name: str, shape: tuple[int, ...] | None, dtype: str) -> npt.NDArray[Any]:
    """Return an array of exactly this shape (None: 1-D and short) and dtype, or raise ValueError."""
    try:
        entry = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise ValueError(f"it has no {name}") from None
    with archive.open(entry) as file:
        if np.lib.format.read_magic(file) != (1, 0):  # type: ignore[no-untyped-call]
            raise ValueError(f"{name} is stored in an unknown format")
        stated, fortran, kind = np.lib.format.read_array_header_1_0(file)  # type: ignore[no-untyped-call]
        fits = stated == shape if shape is not None else len(stated) == 1 and 0 <= stated[0] <= _MAX_HEADER_BYTES
        if kind != np.dtype(dtype) or fortran or not fits:
            wanted = f"{np.dtype(dtype)} {shape}" if shape is not None else f"{np.dtype(dtype)} with one axis"
            raise ValueError(f"{name} must be {wanted}, got {kind} {stated}")
        count = int(np.prod(stated, dtype=np.int64))
        data = file.read(count * kind.itemsize)
    if len(data) != count * kind.itemsize:
        raise ValueError(f"{name} is truncated")
    return np.frombuffer(data, dtype=kind).reshape(stated)
