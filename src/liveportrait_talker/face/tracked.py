"""A picture or video whose face has been found: what every renderer starts from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..arrays import Floats
from ..media.footage import Footage
from .crop import FaceCrop
from .geometry import LANDMARKS, HeadPose, head_pose, mouth_aperture, mouth_width
from .liveportrait_crop import portrait_crop


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """One face in one picture."""

    landmarks: Floats
    """(478, 3) float32: MediaPipe's points in image px (x right, y down, z in the same scale, smaller is nearer)."""

    def __post_init__(self) -> None:
        points = np.array(self.landmarks, dtype=np.float32)
        if points.shape != (LANDMARKS, 3) or not np.isfinite(points).all():
            raise ValueError(f"TrackedFace.landmarks must be a finite ({LANDMARKS}, 3), got {points.shape}")
        points.setflags(write=False)
        object.__setattr__(self, "landmarks", points)

    def __repr__(self) -> str:
        x, y = self.landmarks[:, :2].mean(axis=0)
        return f"TrackedFace(at {x:.0f}, {y:.0f}, {self.pose.iod:.0f} px between the eyes)"

    @cached_property
    def pose(self) -> HeadPose:
        """Place, size and rotation of the head."""
        return head_pose(self.landmarks)

    @property
    def rotation_deg(self) -> Floats:
        """(3,) pitch, yaw, roll in degrees."""
        return self.pose.rotation_deg

    @cached_property
    def aperture(self) -> float:
        """Inner-lip opening in IOD."""
        return mouth_aperture(self.landmarks, self.pose)

    @cached_property
    def width(self) -> float:
        """Mouth width in IOD."""
        return mouth_width(self.landmarks)

    @cached_property
    def crop(self) -> FaceCrop:
        """LivePortrait's 512 px crop of this face."""
        return portrait_crop(self.landmarks)

    def moved(self, crop: FaceCrop) -> TrackedFace:
        """The same face as seen in `crop`."""
        to_crop = crop.to_crop
        xy = self.landmarks[:, :2] @ to_crop[:2, :2].T + to_crop[:2, 2]
        return TrackedFace(np.column_stack([xy, self.landmarks[:, 2] / crop.scale]))


@dataclass(frozen=True, eq=False)
class TrackedSource:
    """Footage with one tracked face a frame."""

    footage: Footage
    faces: tuple[TrackedFace, ...]
    """One a frame; where nobody is seen, the face is carried on from the frames around."""
    visible: tuple[bool, ...] = ()
    """One a frame: False where the face has been gone for longer than a blink of the tracker. Empty = always there."""

    def __post_init__(self) -> None:
        if len(self.faces) != len(self.footage) or not self.faces:
            raise ValueError(f"TrackedSource: {len(self.faces)} faces for {len(self.footage)} frames")
        if self.visible and len(self.visible) != len(self.faces):
            raise ValueError(f"TrackedSource: {len(self.visible)} visible for {len(self.faces)} faces")

    def shows_face(self, index: int) -> bool:
        """Whether source frame `index` shows the face."""
        return not self.visible or self.visible[index]

    @property
    def is_still(self) -> bool:
        """One picture, not a video."""
        return self.footage.is_still

    def frame_indices(self, frames: int, fps: float) -> npt.NDArray[np.intp]:
        """(frames,) the source frame behind each output frame at `fps`; forth and back where the source is shorter."""
        if self.footage.fps is None:
            return np.zeros(frames, np.intp)
        steps = np.floor(np.arange(frames) * (self.footage.fps / fps) + 1e-6).astype(np.intp)
        indices: npt.NDArray[np.intp] = ping_pong_indices(int(steps[-1]) + 1, len(self.faces))[steps]
        return indices


def ping_pong_indices(frames: int, available: int, start: int = 0) -> npt.NDArray[np.intp]:
    """Frame numbers that play `available` frames forth and back for `frames` frames, from `start`.

    Each turn is soft: over the last ten frames it slows to a stop and speeds up again, so that a body does not
    bounce. Where the footage is long enough it is played once, unchanged.

    Returns:
        (frames,) intp in 0 … available − 1.
    """
    steps = np.arange(frames) + start
    if available == 1:
        return np.zeros(frames, np.intp)
    last = available - 1
    if start + frames <= available:
        return steps.astype(np.intp)
    phase = steps % (2 * last)
    position = np.minimum(phase, 2 * last - phase).astype(np.float64)
    soft = min(10.0, last / 4)
    for turn, distance in ((last, last - position), (0, position)):
        near = (distance < soft) & (steps >= soft)  # the very first frames are no turn
        eased = soft / 2 + distance**2 / (2 * soft)  # meets the straight part in value and in slope
        position = np.where(near, np.abs(turn - eased), position)
    indices: npt.NDArray[np.intp] = np.rint(position).astype(np.intp)
    return indices
