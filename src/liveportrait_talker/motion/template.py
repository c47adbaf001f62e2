"""Motion templates: what a driving face did, kept in one file so that other faces can do it without its video.

Source: spec liveportrait.md §12 "Motion template". The released ones are pickles, which can run anything
(`released_template` reads those); ours is an .npz of plain numbers with a header, checked before anything is
allocated, because templates are made to be passed around.

A file has one or both of two parts: `MotionTemplate`, which the neural renderer follows, and `FaceReadings`, which the
embedded one does.
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
from .face_measurements import READINGS, FaceReadings

FORMAT = "liveportrait-talker motion template"
VERSION = 2
"""1 had a `MotionTemplate` alone, and no list of its parts."""
MAX_FRAMES = 200_000
"""Over two hours at 25 frames a second, 160 MB."""
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
_PARTS = {"networks": ("", SHAPES), "landmarks": ("landmarks_", READINGS)}
"""Part → what stands before its arrays' names in the file, and their shapes."""
_LONGEST_HEADER = 4096  # bytes
_LARGEST_FILE = MAX_FRAMES * 4 * sum(math.prod(s) for _, part in _PARTS.values() for s in part.values()) + 2**20
_LONGEST_DIRECTORY = 2**16  # bytes, of an archive of sixteen arrays


@dataclass(frozen=True, eq=False)
class MotionTemplate:
    """What LivePortrait's motion extractor and the landmarks say of T ≥ 1 frames of a driving clip.

    Raises ValueError for an array of another shape, values that are not finite, a scale or rate not above 0.
    """

    fps: float
    """Frames a second, above 0, at most 1000."""
    scale: Floats32
    """(T, 1) s, above 0."""
    rotation: Floats32
    """(T, 3, 3) R, for `points @ R`."""
    expression: Floats32
    """(T, 21, 3) δ."""
    translation: Floats32
    """(T, 3) t."""
    keypoints: Floats32
    """(T, 21, 3) x_c, canonical."""
    points: Floats32
    """(T, 21, 3) x_s, as they stood in the driving crop."""
    eye_ratios: Floats32
    """(T, 2) left, right in the picture, 0 = shut."""
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
    """What one file holds: the same frames for one renderer or for both. Raises ValueError for neither, or unlike."""

    networks: MotionTemplate | None
    """What the motion extractor saw: the neural renderer follows it."""
    landmarks: FaceReadings | None
    """What FaceMesh saw: the embedded renderer follows it."""

    def __post_init__(self) -> None:
        parts = [part for part in (self.networks, self.landmarks) if part is not None]
        if not parts:
            raise ValueError("a template needs one of its parts")
        if len({(len(part), part.fps) for part in parts}) > 1:
            raise ValueError("the parts of a template must have the same frames")

    def __len__(self) -> int:
        return len(self._any)

    def __repr__(self) -> str:
        return f"Template({self.networks}, {self.landmarks})"

    @property
    def fps(self) -> float:
        """Frames a second."""
        return self._any.fps

    @property
    def _any(self) -> MotionTemplate | FaceReadings:
        one = self.networks or self.landmarks
        assert one is not None
        return one


def save_template(template: Template, path: Path) -> None:
    """Write `template` to `path`: to a temporary file, then renamed.

    Raises:
        MediaError: it cannot be written.
    """
    arrays: dict[str, Any] = {}
    for part, (prefix, shapes) in _PARTS.items():
        values = getattr(template, part)
        if values is not None:
            arrays |= {prefix + name: getattr(values, name) for name in shapes}
    parts = [part for part in _PARTS if getattr(template, part) is not None]
    header = {"format": FORMAT, "version": VERSION, "fps": float(template.fps), "frames": len(template)}
    stated = np.frombuffer(json.dumps(header | {"parts": parts}).encode(), dtype=np.uint8)
    part_file = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part_file.open("wb") as file:
            np.savez(file, header=stated, **arrays)
        part_file.replace(path)
    except OSError as error:
        raise MediaError(f"cannot write the motion template {path}: {error.strerror or error}.") from error
    finally:
        part_file.unlink(missing_ok=True)


def load_template(path: Path) -> Template:
    """Read a template that anyone may have made: nothing in it is executed, and it cannot ask for much memory.

    Raises:
        MediaError: it is missing, damaged, of another kind, of a newer version or too long.
    """
    if not path.is_file():
        raise MediaError(f"there is no motion template {path}.")
    try:
        with path.open("rb") as file:
            _check_size(file, path)
            with ZipFile(file) as archive:
                header = _header(archive, path)
                arrays = {
                    part: {n: _array(archive, prefix + n, (header["frames"], *shape), "<f4") for n, shape in of.items()}
                    for part, (prefix, of) in _PARTS.items()
                    if part in header["parts"]
                }
        fps = header["fps"]
        return Template(
            networks=MotionTemplate(fps, **arrays["networks"]) if "networks" in arrays else None,
            landmarks=FaceReadings(fps, **arrays["landmarks"]) if "landmarks" in arrays else None,
        )
    except MediaError:
        raise
    except OSError as error:
        raise MediaError(f"cannot read the motion template {path}: {error.strerror or 'it is damaged'}.") from error
    except ValueError as error:
        raise MediaError(f"cannot read the motion template {path}: {_one_line(str(error))}.") from error
    except Exception as error:  # what zipfile and its decompressors bring up over damaged archives is not listed
        raise MediaError(f"cannot read the motion template {path}: it is damaged.") from error


def _check_size(file: BinaryIO, path: Path) -> None:
    """Refuse what would be large as a file or, having a long table of contents, in memory. Raises MediaError."""
    size = file.seek(0, os.SEEK_END)
    if size > _LARGEST_FILE:
        raise MediaError(
            f"{path} is too large for a motion template: {size >> 20} of at most {_LARGEST_FILE >> 20} MB."
        )
    file.seek(max(0, size - 42))
    tail = file.read().rjust(42, b"\0")
    long_form, end = tail[:4] == b"PK\6\7", tail[20:]  # the end record, and what stands before it in a 64-bit archive
    if long_form or end[:4] != b"PK\5\6" or struct.unpack("<I", end[12:16])[0] > _LONGEST_DIRECTORY:
        raise MediaError(f"{path} is not a motion template of ours.")


def _header(archive: ZipFile, path: Path) -> dict[str, Any]:
    """What the file says of itself, checked. Raises MediaError for a file of another kind, version or length."""
    if "header.npy" not in archive.namelist():
        raise MediaError(f"{path} is not a motion template of ours.")
    header = json.loads(_array(archive, "header", None, "|u1").tobytes())
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise MediaError(f"{path} is not a motion template of ours.")
    version, frames, fps = (header.get(key) for key in ("version", "frames", "fps"))
    if type(version) is not int or version < 1:
        raise ValueError("its version is no number")
    if version > VERSION:
        raise MediaError(f"{path} is a motion template of version {version}, made by a newer release: update this one.")
    if type(frames) is not int or type(fps) not in (int, float):
        raise ValueError("its header does not say how many frames it has, and how many a second")
    if not 1 <= frames <= MAX_FRAMES:
        raise MediaError(f"the motion template {path} says it has {frames} frames: 1 to {MAX_FRAMES} are accepted.")
    header.setdefault("parts", ["networks"])
    if not isinstance(header["parts"], list) or not any(part in _PARTS for part in header["parts"]):
        raise ValueError("its header does not say which parts it has")
    return header


def _array(archive: ZipFile, name: str, shape: tuple[int, ...] | None, dtype: str) -> npt.NDArray[Any]:
    """One array, only if it is what its place asks for; None: one axis of any short length."""
    try:
        entry = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise ValueError(f"it has no {name}") from None
    with archive.open(entry) as file:
        if np.lib.format.read_magic(file) != (1, 0):  # type: ignore[no-untyped-call]
            raise ValueError(f"{name} is stored in a way that is not known")
        stated, fortran, kind = np.lib.format.read_array_header_1_0(file)  # type: ignore[no-untyped-call]
        fits = stated == shape if shape is not None else len(stated) == 1 and 0 <= stated[0] <= _LONGEST_HEADER
        if kind != np.dtype(dtype) or fortran or not fits:
            wanted = f"{np.dtype(dtype)} {shape}" if shape is not None else f"{np.dtype(dtype)} of one axis"
            raise ValueError(f"{name} must be {wanted}, got {kind} {stated}")
        count = int(np.prod(stated, dtype=np.int64))
        data = file.read(count * kind.itemsize)
    if len(data) != count * kind.itemsize:
        raise ValueError(f"{name} is cut short")
    return np.frombuffer(data, dtype=kind).reshape(stated)


def _one_line(text: str) -> str:
    """What may quote the file, fit to be printed."""
    return ascii(text)[1:-1][:200].rstrip(".")
