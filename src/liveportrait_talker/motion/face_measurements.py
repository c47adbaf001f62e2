"""Measurements of a driving face per frame, independent of its position and size in the image.

They are absolute: what counts as rest is decided by `driving.retargeting`. Signs and sides are those of `MotionTrack`.
Source: docs/method/reenactment.md, Measurements of a face.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Floats

MEASUREMENT_SHAPES: dict[str, tuple[int, ...]] = {
    "rotation_deg": (3,),
    "place": (2,),
    "size": (),
    "eye_ratios": (2,),
    "gaze": (2,),
    "mouth": (4,),
    "brow_height": (2,),
}
"""Measurement → its shape in one frame."""


@dataclass(frozen=True, eq=False)
class FaceMeasurements:
    """T ≥ 1 frames of one face, float32. Raises ValueError for a wrong shape or values that are not finite."""

    fps: float
    """Frames per second; any positive number for a still image."""
    rotation_deg: Floats
    """(T, 3) pitch, yaw, roll."""
    place: Floats
    """(T, 2) the point the head turns about, x right, y down, in interocular distances (IOD)."""
    size: Floats
    """(T,) size of the head as a ratio to its median."""
    eye_ratios: Floats
    """(T, 2) left, right: lid distance over eye width."""
    gaze: Floats
    """(T, 2) offset of the iris from the middle of the eye, x + to the image's right, y + up, in eye widths."""
    mouth: Floats
    """(T, 4) IOD: aperture, width, height of both lips together, height of the corners above the nose base."""
    brow_height: Floats
    """(T, 2) left, right, IOD above the eyes."""

    def __post_init__(self) -> None:
        if not (0 < self.fps <= 1000):
            raise ValueError(f"the frame rate must be above 0 and at most 1000, got {self.fps}")
        frames = len(self.size)
        if not frames:
            raise ValueError("measurements need at least one frame")
        for name, shape in MEASUREMENT_SHAPES.items():
            array = np.array(getattr(self, name), dtype=np.float32)
            if array.shape != (frames, *shape):
                raise ValueError(f"{name} must be {(frames, *shape)}, got {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds values that are not finite")
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.size)

    def __repr__(self) -> str:
        return f"FaceMeasurements(T={len(self)}, fps={self.fps:g})"

    def resample(self, fps: float, frames: int) -> FaceMeasurements:
        """Return `frames` frames at `fps`, linear between frames; the last one is held beyond the end."""
        at = np.minimum(np.arange(frames) * (self.fps / fps), len(self) - 1)
        known = np.arange(len(self))
        arrays = {}
        for name in MEASUREMENT_SHAPES:
            array = getattr(self, name)
            columns = [np.interp(at, known, column) for column in array.reshape(len(array), -1).T]
            arrays[name] = np.stack(columns, axis=1).reshape(frames, *array.shape[1:])
        return FaceMeasurements(fps, **arrays)
