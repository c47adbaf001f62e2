"""LivePortrait's crops: squares along the axes of the face. Source: docs/method/liveportrait.md, Crop.

Points are in px, x right, y down; left is the image's left. Boxes are computed in float32 as in the original: its arc
cosine amplifies rounding differences until they change pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ..arrays import Floats, Floats64, Image
from .alignment import ibug68
from .crop import FaceCrop
from .geometry import LANDMARKS

SIZE = 512
SCALE = 2.3
SHIFT_Y = -0.125
DRIVING_SCALE = 2.2
DRIVING_SHIFT_Y = -0.1

# Number of landmarks → landmarks whose means are the centres of left eye, right eye and mouth.
_LAYOUTS = {
    68: ((36, 39), (42, 45), (48, 54)),
    203: ((0, 6, 12, 18), (24, 30, 36, 42), (48, 66)),
}


@dataclass(frozen=True)
class OrientedBox:
    """A rotated square around a face."""

    centre: tuple[float, float]
    """px."""
    side: float
    """px."""
    angle: float
    """Radians from the image's x axis to that of the face, positive clockwise."""


def oriented_box(landmarks: Floats, *, scale: float, shift_x: float = 0.0, shift_y: float = 0.0) -> OrientedBox:
    """Return the square around `landmarks` along the axes of the face.

    Args:
        landmarks: (n, 2 or more) px: MediaPipe's 478 (reduced to iBUG's 68), iBUG's 68 or LivePortrait's 203.
        scale: side / longer side of the landmarks' bounding box.
        shift_x: shift along the face's x axis, in sides.
        shift_y: shift along the face's y axis, in sides; negative includes more forehead.
    """
    if len(landmarks) == LANDMARKS:
        # MediaPipe's mesh covers the forehead, LivePortrait's landmarks do not.
        landmarks = ibug68(landmarks)
    points = np.asarray(landmarks, dtype=np.float32)[:, :2]
    if len(points) not in _LAYOUTS:
        raise ValueError(f"the number of landmarks must be {LANDMARKS}, 68 or 203, got {len(points)}")
    left_eye, right_eye, mouth = (points[list(part)].mean(axis=0) for part in _LAYOUTS[len(points)])
    down = mouth - (left_eye + right_eye) / 2
    length = np.linalg.norm(down)
    down = down / length if length > 1e-3 else np.array([0, 1], np.float32)
    right = np.array([down[1], -down[0]])
    mean = points.mean(axis=0)
    aligned = (points - mean) @ np.array([right, down]).T
    low, high = aligned.min(axis=0), aligned.max(axis=0)
    side = (high - low).max() * np.float32(scale)
    middle = (low + high) / 2
    centre = mean + right * middle[0] + down * middle[1]
    centre = centre + right * (np.float32(shift_x) * side) + down * (np.float32(shift_y) * side)
    angle = math.copysign(math.acos(np.clip(right[0], -1, 1)), right[1])
    return OrientedBox((float(centre[0]), float(centre[1])), float(side), angle)


def portrait_crop(
    landmarks: Floats,
    *,
    size: int = SIZE,
    scale: float = SCALE,
    shift_x: float = 0.0,
    shift_y: float = SHIFT_Y,
) -> FaceCrop:
    """Return the upright crop, `size` × `size` px, of `oriented_box`. The defaults are those for source images.

    Unlike the original, `shift_x` has an effect.
    """
    box = oriented_box(landmarks, scale=scale, shift_x=shift_x, shift_y=shift_y)
    cos, sin = np.cos(box.angle), np.sin(box.angle)
    linear = size / box.side * np.array([[cos, sin], [-sin, cos]])
    return _crop(linear, size / 2 - linear @ box.centre, size)


def driving_box(tracks: Floats, *, scale: float = DRIVING_SCALE, shift_y: float = DRIVING_SHIFT_Y) -> Floats64:
    """Return left, top, right, bottom (4,) of a driving clip: the mean of the squares of its frames.

    Args:
        tracks: (T, n, 2) landmarks of every frame.
        scale: see `oriented_box`.
        shift_y: see `oriented_box`.
    """
    boxes = [oriented_box(landmarks, scale=scale, shift_y=shift_y) for landmarks in tracks]
    centres, sides = np.array([box.centre for box in boxes]), np.array([box.side for box in boxes])
    corners = np.concatenate([centres - sides[:, None] / 2, centres + sides[:, None] / 2], axis=1)
    mean: Floats64 = corners.mean(axis=0)
    return mean


def driving_crop(box: Floats, *, size: int = SIZE) -> FaceCrop:
    """Return the crop of a driving clip from its `driving_box`, without rotation, so that the head moves in it."""
    left, top, right, bottom = box
    scale = size / (right - left)
    centre = np.array([left + right, top + bottom]) / 2
    return _crop(scale * np.eye(2), size / 2 - scale * centre, size)


def crop_pixels(image: Image, crop: FaceCrop, *, repeat_edge: bool = False) -> Image:
    """Sample a crop (size, size, 3) bilinearly; outside the image black, or edge pixels."""
    border = cv2.BORDER_REPLICATE if repeat_edge else cv2.BORDER_CONSTANT
    pixels: Image = cv2.warpAffine(image, crop.to_crop[:2], crop.size, flags=cv2.INTER_LINEAR, borderMode=border)
    return pixels


def _crop(linear: Floats64, translation: Floats64, size: int) -> FaceCrop:
    to_crop = np.eye(3)
    to_crop[:2] = np.column_stack([linear, translation]).astype(np.float32)  # as in the original
    return FaceCrop(np.linalg.inv(to_crop), (size, size))
