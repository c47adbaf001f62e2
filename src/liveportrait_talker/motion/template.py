"""Motion templates: the motion of a driving face in one file, so that other faces can follow it without the video.

A file has one or both of two parts: `MotionTemplate` for the neural renderer, `FaceMeasurements` for the embedded one.
LivePortrait's own templates are read by `released_template`.
Source: docs/method/conventions.md, Motion template files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..arrays import Floats32
from .archive import MAX_FRAMES, ArchiveKind, Arrays, read_archive, write_archive
from .face_measurements import MEASUREMENT_SHAPES, FaceMeasurements

FORMAT = "liveportrait-talker motion template"
VERSION = 2
"""Version 1 had a `MotionTemplate` only and no list of parts."""
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
_KIND = ArchiveKind("motion template", FORMAT, VERSION, _PARTS, first_parts=("networks",))


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
    parts = {part: getattr(template, part) for part in _PARTS if getattr(template, part) is not None}
    write_archive(_KIND, path, fps=template.fps, frames=len(template), parts=parts)


def load_template(path: Path) -> Template:
    """Read a template from an untrusted file: nothing in it is executed, and its memory is bounded.

    Raises:
        MediaError: the file is missing, damaged, of another kind, of a newer version or too long.
    """
    return read_archive(_KIND, path, _build)


def _build(fps: float, arrays: Arrays) -> Template:
    return Template(
        networks=MotionTemplate(fps, **arrays["networks"]) if "networks" in arrays else None,
        landmarks=FaceMeasurements(fps, **arrays["landmarks"]) if "landmarks" in arrays else None,
    )
