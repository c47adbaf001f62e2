"""What the landmarks of a driving face say, frame by frame, in numbers that know nothing of its place and size.

They are measures, not motion: what counts as rest is decided when another face follows them (`driving.following`).
Signs and sides are `MotionTrack`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ..arrays import Floats

READINGS: dict[str, tuple[int, ...]] = {
    "rotation_deg": (3,),
    "place": (2,),
    "size": (),
    "eye_ratios": (2,),
    "gaze": (2,),
    "mouth": (4,),
    "brow_height": (2,),
}
"""Reading → its shape in one frame."""


@dataclass(frozen=True, eq=False)
class FaceReadings:
    """T ≥ 1 frames of one face. Raises ValueError for an array of another shape or values that are not finite."""

    fps: float
    """Frames a second; of a picture, anything above 0."""
    rotation_deg: Floats
    """(T, 3) pitch, yaw, roll."""
    place: Floats
    """(T, 2) the point the head turns about, x right, y down, in inter-ocular distances (IOD)."""
    size: Floats
    """(T,) of the head, as a ratio to its median."""
    eye_ratios: Floats
    """(T, 2) left, right: lid distance over eye width."""
    gaze: Floats
    """(T, 2) iris from the middle of the eye, x + to the picture's right, y + up, in eye widths."""
    mouth: Floats
    """(T, 4) IOD: aperture, width, height of both lips together, height of the corners above the nose's base."""
    brow_height: Floats
    """(T, 2) left, right, IOD above the eyes."""

    def __post_init__(self) -> None:
        if not (0 < self.fps <= 1000):
            raise ValueError(f"the frame rate must be above 0 and at most 1000, got {self.fps}")
        frames = len(self.size)
        if not frames:
            raise ValueError("readings need at least one frame")
        for name, shape in READINGS.items():
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
        return f"FaceReadings(T={len(self)}, fps={self.fps:g})"

    def at_rate(self, fps: float, frames: int) -> FaceReadings:
        """The same on another clock, linear between frames; beyond the end the last is held."""
        at = np.minimum(np.arange(frames) * (self.fps / fps), len(self) - 1)
        known = np.arange(len(self))

        def resampled(array: Floats) -> Floats:
            flat = array.reshape(len(array), -1)
            columns = [np.interp(at, known, column) for column in flat.T]
            return np.stack(columns, axis=1).reshape(frames, *array.shape[1:])

        return FaceReadings(fps, **{f.name: resampled(getattr(self, f.name)) for f in fields(self) if f.name != "fps"})
