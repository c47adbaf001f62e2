"""The motion of a face over time: what a driver makes and a renderer draws.

All of a track is relative to the source picture, so `MotionTrack.neutral(T)` means "leave the portrait as it
is". Angles have the meter's signs (yaw + nose to the picture's right, pitch + nose up, roll + counter-clockwise
in the picture). Left and right are the viewer's: column 0 is the eye at the picture's left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..arrays import Floats

MOUTH_CONTROLS = ("open", "spread", "round", "press", "corner_up")


def _as_float32(owner: object, name: str, shape: tuple[int | None, ...]) -> None:
    """Make field `name` a read-only finite float32 array of `shape` (None = any), or say what came instead."""
    given = getattr(owner, name)
    array = np.array(given, dtype=np.float32)  # a copy: a frozen object must not share a caller's buffer
    matches = array.ndim == len(shape) and all(w is None or w == n for w, n in zip(shape, array.shape, strict=True))
    if not matches:
        wanted = ", ".join("T" if n is None else str(n) for n in shape)
        raise ValueError(f"{type(owner).__name__}.{name} must be ({wanted}), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{type(owner).__name__}.{name} holds values that are not finite")
    array.setflags(write=False)
    object.__setattr__(owner, name, array)


@dataclass(frozen=True, eq=False)
class HeadTrack:
    """How the head moves away from the source's own pose."""

    rotation_deg: Floats
    """(T, 3) pitch, yaw, roll in degrees, added to the source's own."""
    shift: Floats
    """(T, 2) x right, y down, in widths of the face crop."""
    scale: Floats
    """(T,) ratio to the source's size, 1 = unchanged."""

    def __post_init__(self) -> None:
        _as_float32(self, "rotation_deg", (None, 3))
        _as_float32(self, "shift", (len(self.rotation_deg), 2))
        _as_float32(self, "scale", (len(self.rotation_deg),))

    def __len__(self) -> int:
        return len(self.rotation_deg)

    def __repr__(self) -> str:
        return f"HeadTrack(T={len(self)})"

    @classmethod
    def still(cls, frames: int) -> HeadTrack:
        """The source's own pose for `frames` frames."""
        return cls(np.zeros((frames, 3)), np.zeros((frames, 2)), np.ones(frames))

    @classmethod
    def turning(cls, rotation_deg: Floats) -> HeadTrack:
        """Rotation (T, 3) in degrees, without shift or scale."""
        return cls(rotation_deg, np.zeros((len(rotation_deg), 2)), np.ones(len(rotation_deg)))

    def scaled(self, amount: float) -> HeadTrack:
        """The same motion made larger or smaller, 0 = still."""
        return HeadTrack(amount * self.rotation_deg, amount * self.shift, 1 + amount * (self.scale - 1))


@dataclass(frozen=True, eq=False)
class MouthControls:
    """The mouth by five measured controls (basis: `render/embedded/face_model.npz`), change from the source's own.

    0 = the source's mouth; `open` = −(its aperture) shuts a parted one.
    """

    values: Floats
    """(T, 5) open, spread, round, press, corner_up, in inter-ocular distances (outer eye corners)."""

    def __post_init__(self) -> None:
        _as_float32(self, "values", (None, len(MOUTH_CONTROLS)))

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"MouthControls(T={len(self)})"

    @classmethod
    def neutral(cls, frames: int) -> MouthControls:
        """The source's own mouth for `frames` frames."""
        return cls(np.zeros((frames, len(MOUTH_CONTROLS))))


@dataclass(frozen=True, eq=False)
class LipKeypoints:
    """The mouth as LivePortrait moves it: expression deformation of its six lip keypoints.

    Change from the source's mouth at rest with the lips shut: a picture's own mouth, a video's usual one.
    `MouthControls` are changes from what the source shows instead; `face.mouth_offsets` knows the way between.
    """

    offsets: Floats
    """(T, 6, 3) keypoints 6, 12, 14, 17, 19, 20; x, y, z in canonical units, before the scale."""

    def __post_init__(self) -> None:
        _as_float32(self, "offsets", (None, 6, 3))

    def __len__(self) -> int:
        return len(self.offsets)

    def __repr__(self) -> str:
        return f"LipKeypoints(T={len(self)})"


Mouth = MouthControls | LipKeypoints


@dataclass(frozen=True, eq=False)
class MotionTrack:
    """Everything a renderer needs to know about T frames."""

    fps: float
    """Frames a second."""
    head: HeadTrack
    blink: Floats
    """(T, 2) left, right: 0 = open as in the source, 1 = shut; down to −0.4 = opened wider."""
    gaze: Floats
    """(T, 2) x + to the picture's right, y + up, −1…1 of the full travel of the iris, 0 = as in the source."""
    mouth: Mouth
    brows: Floats = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    """(T, 2) left, right: raised (+) or lowered (−) from where the source has them, in inter-ocular distances; left
    out, they stay there. The neural renderer has no use for them."""

    def __post_init__(self) -> None:
        if not self.fps > 0:
            raise ValueError(f"MotionTrack.fps must be positive, got {self.fps}")
        frames = len(self.head)
        _as_float32(self, "blink", (frames, 2))
        _as_float32(self, "gaze", (frames, 2))
        if len(self.brows) == 0:
            object.__setattr__(self, "brows", np.zeros((frames, 2)))
        _as_float32(self, "brows", (frames, 2))
        if len(self.mouth) != frames:
            raise ValueError(f"MotionTrack.mouth has {len(self.mouth)} frames, its head {frames}")

    def __len__(self) -> int:
        return len(self.head)

    def __iter__(self) -> Iterator[int]:
        raise TypeError("a MotionTrack is read by its fields, not iterated")

    def __repr__(self) -> str:
        return f"MotionTrack(T={len(self)}, fps={self.fps:g}, mouth={type(self.mouth).__name__})"

    @classmethod
    def neutral(cls, frames: int, fps: float = 25.0) -> MotionTrack:
        """Leave the portrait as it is for `frames` frames."""
        return cls(
            fps=fps,
            head=HeadTrack.still(frames),
            blink=np.zeros((frames, 2)),
            gaze=np.zeros((frames, 2)),
            mouth=MouthControls.neutral(frames),
        )
