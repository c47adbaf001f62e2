"""Motion templates: the motion of a driving face in one file, so that other faces can follow it without the video.

A file has one or both of two parts: `MotionTemplate` for the neural renderer, `FaceMeasurements` for the embedded one.
It is an .npz of plain numbers with a header. Everything is checked before memory is allocated, because templates are
shared between people. LivePortrait's own templates are read by `released_template`.
Source: docs/method/conventions.md, Motion template files.
"""

from __future__ import annotations

import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from ..arrays import Floats32
from ..errors import MediaError
from .face_measurements import MEASUREMENT_SHAPES, FaceMeasurements

FORMAT = "liveportrait-talker motion template"
VERSION = 2
"""Version 1 had a `MotionTemplate` only and no list of parts."""
MAX_FRAMES = 200_000
"""Over two hours at 25 frames/s, 160 MB."""
WIDEST_FPS = 1000.0
SHAPES: dict[str, tuple[int, ...]] = {
    "scale": (1,),
    "rotation": (3, 3),
    "expression": (21, 3),
    "translation": (3,),
    "keypoints": (21, 3),
    "points": (21, 3),
    "eye_ratios": (2,),
    "lip_ratio": (1,),
}
"""Array → its shape in one frame."""
_PARTS = {"networks": ("", SHAPES), "landmarks": ("landmarks_", MEASUREMENT_SHAPES)}
"""Part → (prefix of its array names in the file, shapes)."""
_LARGEST = 1000.0
_ROTATION_TOLERANCE = 0.05
_SIZES = ("scale", "size")
"""Arrays that others are divided by."""
_MAX_HEADER_BYTES = 4096
_MAX_FILE_BYTES = MAX_FRAMES * 4 * sum(math.prod(s) for _, part in _PARTS.values() for s in part.values()) + 2**20
_MAX_DIRECTORY_BYTES = 2**16  # 16 arrays need far less


@dataclass(frozen=True, eq=False)
class MotionTemplate:
    """T ≥ 1 frames of a driving clip by LivePortrait's motion extractor and by landmarks, float32.

    Raises ValueError for a wrong shape, values that are not finite, and a scale or frame rate that is not above 0.
    """

    fps: float
    """Frames per second, above 0, at most 1000."""
    scale: Floats32
    """(T, 1), above 0."""
    rotation: Floats32
    """(T, 3, 3), for `points @ rotation`."""
    expression: Floats32
    """(T, 21, 3) expression deformation."""
    translation: Floats32
    """(T, 3)"""
    keypoints: Floats32
    """(T, 21, 3) canonical keypoints."""
    points: Floats32
    """(T, 21, 3) keypoints in the driving crop."""
    eye_ratios: Floats32
    """(T, 2) left, right in the image, 0 = shut."""
    lip_ratio: Floats32
    """(T, 1), 0 = shut."""

    def __post_init__(self) -> None:
        if not 0 < self.fps <= WIDEST_FPS:
            raise ValueError(f"the frame rate must be above 0 and at most {WIDEST_FPS:g}, got {self.fps}")
        frames = len(self.scale)
        if not 1 <= frames <= MAX_FRAMES:
            raise ValueError(f"a template has 1 to {MAX_FRAMES} frames, got {frames}")
        for name, shape in SHAPES.items():
            array = np.array(getattr(self, name), dtype=np.float32)
            if array.shape != (frames, *shape):
                wanted = ", ".join(map(str, (frames, *shape)))
                raise ValueError(f"{name} must be ({wanted}), got {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds values that are not finite")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if not (self.scale > 0).all():
            raise ValueError("scale must be above 0")

    def __len__(self) -> int:
        return len(self.scale)

    def __repr__(self) -> str:
        return f"MotionTemplate(T={len(self)}, fps={self.fps:g})"


@dataclass(frozen=True, eq=False)
class Template:
    """Content of a file: one or both parts, of the same frames. Raises ValueError for no part or unequal parts."""

    networks: MotionTemplate | None
    """For the neural renderer."""
    landmarks: FaceMeasurements | None
    """For the embedded renderer."""

    def __post_init__(self) -> None:
        parts = [part for part in (self.networks, self.landmarks) if part is not None]
        if not parts:
            raise ValueError("a template needs at least one part")
        if len({(len(part), part.fps) for part in parts}) > 1:
            raise ValueError("the parts of a template must have the same frames")

    def __len__(self) -> int:
        return len(self._any)

    def __repr__(self) -> str:
        return f"Template({self.networks}, {self.landmarks})"

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self._any.fps

    def check_values(self) -> None:
        """Raise ValueError for values that no face has; a file may hold any that are finite."""
        for part, (_, shapes) in _PARTS.items():
            values = getattr(self, part)
            for name in shapes if values is not None else ():
                array = getattr(values, name)
                if np.abs(array).max() > _LARGEST:
                    raise ValueError(f"{name} exceeds {_LARGEST:g}")
                if name in _SIZES and array.min() < 1 / _LARGEST:
                    raise ValueError(f"{name} is below {1 / _LARGEST:g}")
        if self.networks is not None:
            turns = self.networks.rotation.astype(np.float64)
            off = np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max()
            if off > _ROTATION_TOLERANCE or np.linalg.det(turns).min() < 0:
                raise ValueError("rotation holds other matrices than rotations")

    @property
    def _any(self) -> MotionTemplate | FaceMeasurements:
        one = self.networks or self.landmarks
        assert one is not None
        return one


def save_template(template: Template, path: Path) -> None:
    """Write `template` to a temporary file and rename it to `path`.

    Raises:
        MediaError: the file cannot be written.
    """
    arrays: dict[str, Any] = {}
    for part, (prefix, shapes) in _PARTS.items():
        values = getattr(template, part)
        if values is not None:
            arrays |= {prefix + name: getattr(values, name) for name in shapes}
    parts = [part for part in _PARTS if getattr(template, part) is not None]
    header = {"format": FORMAT, "version": VERSION, "fps": float(template.fps), "frames": len(template)}
    encoded = np.frombuffer(json.dumps(header | {"parts": parts}).encode(), dtype=np.uint8)
    part_file = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part_file.open("wb") as file:
            np.savez(file, header=encoded, **arrays)
        part_file.replace(path)
    except OSError as error:
        raise MediaError(f"cannot write the motion template {path}: {error.strerror or error}.") from error
    finally:
        part_file.unlink(missing_ok=True)


def load_template(path: Path) -> Template:
    """Read a template from an untrusted file: nothing in it is executed, and its memory is bounded.

    Raises:
        MediaError: the file is missing, damaged, of another kind, of a newer version or too long.
    """
    if not path.is_file():
        raise MediaError(f"there is no motion template {path}.")
    try:
        with path.open("rb") as file:
            _check_size(file, path)
            with ZipFile(file) as archive:
                header = _read_header(archive, path)
                arrays = {
                    part: {
                        name: _read_array(archive, prefix + name, (header["frames"], *shape), "<f4")
                        for name, shape in shapes.items()
                    }
                    for part, (prefix, shapes) in _PARTS.items()
                    if part in header["parts"]
                }
        fps = header["fps"]
        return Template(
            networks=MotionTemplate(fps, **arrays["networks"]) if "networks" in arrays else None,
            landmarks=FaceMeasurements(fps, **arrays["landmarks"]) if "landmarks" in arrays else None,
        )
    except MediaError:
        raise
    except OSError as error:
        raise MediaError(f"cannot read the motion template {path}: {error.strerror or 'it is damaged'}.") from error
    except ValueError as error:
        reason = ascii(str(error))[1:-1][:200].rstrip(".")  # may quote the file
        raise MediaError(f"cannot read the motion template {path}: {reason}.") from error
    except Exception as error:  # zipfile and its decompressors document no list of errors for damaged archives
        raise MediaError(f"cannot read the motion template {path}: it is damaged.") from error


def _check_size(file: BinaryIO, path: Path) -> None:
    """Raise MediaError for a large file, or one whose directory would be large in memory."""
    size = file.seek(0, os.SEEK_END)
    if size > _MAX_FILE_BYTES:
        raise MediaError(
            f"{path} is too large for a motion template: {size >> 20} of at most {_MAX_FILE_BYTES >> 20} MB."
        )
    file.seek(max(0, size - 42))
    tail = file.read().rjust(42, b"\0")
    is_zip64, end = tail[:4] == b"PK\6\7", tail[20:]  # zip64 locator, end of central directory
    if is_zip64 or end[:4] != b"PK\5\6" or struct.unpack("<I", end[12:16])[0] > _MAX_DIRECTORY_BYTES:
        raise MediaError(f"{path} is not a motion template of this program.")


def _read_header(archive: ZipFile, path: Path) -> dict[str, Any]:
    """Return the checked header; raise MediaError for a file of another kind, version or length, else ValueError."""
    if "header.npy" not in archive.namelist():
        raise MediaError(f"{path} is not a motion template of this program.")
    header = json.loads(_read_array(archive, "header", None, "|u1").tobytes())
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise MediaError(f"{path} is not a motion template of this program.")
    version, frames, fps = (header.get(key) for key in ("version", "frames", "fps"))
    if type(version) is not int or version < 1:
        raise ValueError("its version is not a number")
    if version > VERSION:
        raise MediaError(f"{path} is a motion template of version {version}, made by a newer release: update this one.")
    if type(frames) is not int or type(fps) not in (int, float):
        raise ValueError("its header lacks the number of frames or the frame rate")
    if not 1 <= frames <= MAX_FRAMES:
        raise MediaError(f"the motion template {path} states {frames} frames: 1 to {MAX_FRAMES} are accepted.")
    header.setdefault("parts", ["networks"])
    if not isinstance(header["parts"], list) or not any(part in _PARTS for part in header["parts"]):
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
