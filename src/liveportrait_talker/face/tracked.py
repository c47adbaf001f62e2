"""`TrackedSource`: an image or video with the landmarks of a face, the input of renderers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..arrays import Floats, Indices
from ..media.footage import Footage
from .crop import FaceCrop
from .geometry import LANDMARKS, HeadPose, head_pose, mouth_aperture, mouth_width
from .liveportrait_crop import portrait_crop


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """A face in an image."""

    landmarks: Floats
    """(478, 3) float32: MediaPipe's landmarks, image px (x right, y down, z in the same scale, smaller is nearer)."""

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
        """Position, size and rotation of the head."""
        return head_pose(self.landmarks)

    @property
    def rotation_deg(self) -> Floats:
        """(3,) pitch, yaw, roll in degrees."""
        return self.pose.rotation_deg

    @cached_property
    def aperture(self) -> float:
        """Opening of the inner lips, IOD."""
        return mouth_aperture(self.landmarks, self.pose)

    @cached_property
    def width(self) -> float:
        """Width of the mouth, IOD."""
        return mouth_width(self.landmarks)

    @cached_property
    def crop(self) -> FaceCrop:
        """LivePortrait's crop of this face, 512×512 px."""
        return portrait_crop(self.landmarks)

    def in_crop(self, crop: FaceCrop) -> TrackedFace:
        """Return the face in px of `crop`."""
        to_crop = crop.to_crop
        xy = self.landmarks[:, :2] @ to_crop[:2, :2].T + to_crop[:2, 2]
        return TrackedFace(np.column_stack([xy, self.landmarks[:, 2] / crop.scale]))


@dataclass(frozen=True, eq=False)
class TrackedSource:
    """Footage with one tracked face per frame."""

    footage: Footage
    faces: tuple[TrackedFace, ...]
    """One per frame; interpolated or repeated in frames where the face was not found."""
    visible: tuple[bool, ...] = ()
    """One per frame: False where the face is absent for longer than a short gap. Empty: always True."""

    def __post_init__(self) -> None:
        if len(self.faces) != len(self.footage) or not self.faces:
            raise ValueError(f"TrackedSource: {len(self.faces)} faces for {len(self.footage)} frames")
        if self.visible and len(self.visible) != len(self.faces):
            raise ValueError(f"TrackedSource: {len(self.visible)} visible for {len(self.faces)} faces")

    def shows_face(self, index: int) -> bool:
        """Return whether the face is visible in source frame `index`."""
        return not self.visible or self.visible[index]

    @property
    def is_still(self) -> bool:
        """Whether this is a still image."""
        return self.footage.is_still

    def frame_indices(self, frames: int, fps: float) -> Indices:
        """Return the source frame of each output frame at `fps`, (frames,); short sources are played back and forth."""
        if self.footage.fps is None:
            return np.zeros(frames, np.intp)
        steps = np.floor(np.arange(frames) * (self.footage.fps / fps) + 1e-6).astype(np.intp)
        indices: Indices = ping_pong_indices(int(steps[-1]) + 1, len(self.faces))[steps]
        return indices


def ping_pong_indices(frames: int, available: int, start: int = 0) -> Indices:
    """Return frame indices that play `available` frames back and forth, beginning at `start`.

    Playback slows down and speeds up over ten frames at each reversal, so that a body does not bounce. Footage that is
    long enough is played once, unchanged.

    Returns:
        (frames,), 0 … available − 1.
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
        near = (distance < soft) & (steps >= soft)  # no reversal at the start
        eased = soft / 2 + distance**2 / (2 * soft)  # continuous in value and slope
        position = np.where(near, np.abs(turn - eased), position)
    indices: Indices = np.rint(position).astype(np.intp)
    return indices
