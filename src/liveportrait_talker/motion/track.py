"""The motion of a face over time: output of the drivers, input of the renderers.

Everything is relative to the source: `MotionTrack.neutral(T)` leaves it as it is. Angles: pitch + nose up, yaw + nose
to the image's right, roll + counter-clockwise in the image. Left and right are the image's.
Source: docs/method/conventions.md, Head angles and Motion tracks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..arrays import Floats

MOUTH_CONTROLS = ("open", "spread", "round", "press", "corner_up")


def _as_float32(owner: object, name: str, shape: tuple[int | None, ...]) -> None:
    """Make field `name` a read-only float32 array; raise ValueError for a wrong shape (None = any) or infinities."""
    given = getattr(owner, name)
    array = np.array(given, dtype=np.float32)  # a copy, so that the frozen object shares no buffer with the caller
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
    """Motion of the head away from the source's own pose, float32."""

    rotation_deg: Floats
    """(T, 3) pitch, yaw, roll in degrees, added to the source's own."""
    shift: Floats
    """(T, 2) x right, y down, in crop widths."""
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
        """Return the source's own pose for `frames` frames."""
        return cls(np.zeros((frames, 3)), np.zeros((frames, 2)), np.ones(frames))

    @classmethod
    def turning(cls, rotation_deg: Floats) -> HeadTrack:
        """Return a rotation (T, 3) in degrees without shift or scale."""
        return cls(rotation_deg, np.zeros((len(rotation_deg), 2)), np.ones(len(rotation_deg)))

    def scaled(self, amount: float) -> HeadTrack:
        """Return the motion multiplied by `amount`, 0 = still."""
        return HeadTrack(amount * self.rotation_deg, amount * self.shift, 1 + amount * (self.scale - 1))


@dataclass(frozen=True, eq=False)
class MouthControls:
    """The mouth as five measured controls, as a change from what the source shows.

    0 = the source's mouth; `open` = −(its aperture) shuts a parted one.
    Source: docs/method/conventions.md, Mouth controls.
    """

    values: Floats
    """(T, 5) float32 open, spread, round, press, corner_up, in interocular distances (outer eye corners)."""

    def __post_init__(self) -> None:
        _as_float32(self, "values", (None, len(MOUTH_CONTROLS)))

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"MouthControls(T={len(self)})"

    @classmethod
    def neutral(cls, frames: int) -> MouthControls:
        """Return the source's own mouth for `frames` frames."""
        return cls(np.zeros((frames, len(MOUTH_CONTROLS))))


@dataclass(frozen=True, eq=False)
class LipKeypoints:
    """The mouth as the expression deformation of LivePortrait's six lip keypoints.

    A change from the mouth at rest with the lips shut: a still's own mouth, the usual one of a video. `MouthControls`
    are changes from what the source shows in the frame instead.
    """

    offsets: Floats
    """(T, 6, 3) float32, keypoints 6, 12, 14, 17, 19, 20; x, y, z in canonical units, before the scale."""

    def __post_init__(self) -> None:
        _as_float32(self, "offsets", (None, 6, 3))

    def __len__(self) -> int:
        return len(self.offsets)

    def __repr__(self) -> str:
        return f"LipKeypoints(T={len(self)})"


Mouth = MouthControls | LipKeypoints


@dataclass(frozen=True, eq=False)
class MotionTrack:
    """The whole motion of T frames; arrays are float32."""

    fps: float
    """Frames per second."""
    head: HeadTrack
    blink: Floats
    """(T, 2) left, right: 0 = open as in the source, 1 = shut; down to −0.4 = opened wider."""
    gaze: Floats
    """(T, 2) x + to the image's right, y + up, −1…1 of the full travel of the iris, 0 = as in the source."""
    mouth: Mouth
    brows: Floats = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    """(T, 2) left, right: raised (+) or lowered (−), in interocular distances; zeros by default."""
    inner_brows: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    """(T,) the inner ends of both brows, raised (+) or lowered (−) further, in interocular distances, and drawn
    together by either; zeros by default."""
    smile: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    """(T,) the corners of the mouth, raised (+) or lowered (−) against its middle, in interocular distances, cheeks
    with them; zeros by default."""
    breath: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    """(T,) how far chest and shoulders have risen, 0…1; zeros by default. Only the embedded renderer draws it, for a
    still."""
    continues: bool = False
    """Whether it goes on where the track before ended, of the same face: a renderer keeps what it smooths over time."""

    def __post_init__(self) -> None:
        if not self.fps > 0:
            raise ValueError(f"MotionTrack.fps must be positive, got {self.fps}")
        frames = len(self.head)
        _as_float32(self, "blink", (frames, 2))
        _as_float32(self, "gaze", (frames, 2))
        if len(self.brows) == 0:
            object.__setattr__(self, "brows", np.zeros((frames, 2)))
        _as_float32(self, "brows", (frames, 2))
        for name in ("inner_brows", "smile", "breath"):
            if len(getattr(self, name)) == 0:
                object.__setattr__(self, name, np.zeros(frames))
            _as_float32(self, name, (frames,))
        if len(self.mouth) != frames:
            raise ValueError(f"MotionTrack.mouth has {len(self.mouth)} frames, its head {frames}")

    def __len__(self) -> int:
        return len(self.head)

    def __repr__(self) -> str:
        return f"MotionTrack(T={len(self)}, fps={self.fps:g}, mouth={type(self.mouth).__name__})"

    @classmethod
    def neutral(cls, frames: int, fps: float = 25.0) -> MotionTrack:
        """Return a track that leaves the source as it is for `frames` frames."""
        return cls(
            fps=fps,
            head=HeadTrack.still(frames),
            blink=np.zeros((frames, 2)),
            gaze=np.zeros((frames, 2)),
            mouth=MouthControls.neutral(frames),
        )
