"""LivePortrait's own crops: a square along the face's axes, from any landmark layout (spec liveportrait.md §10).

Points are px, x right, y down; left is the picture's left. Boxes are found in float32, as the original's: its arc
cosine makes more of the last digit, which would show in the pixels.
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

# Number of landmarks → those whose mean is the left eye's, the right eye's and the mouth's centre.
_LAYOUTS = {
    5: ((0,), (1,), (3, 4)),
    9: ((2, 3), (0, 1), (5, 6)),  # animals
    68: ((36, 39), (42, 45), (48, 54)),
    101: ((39, 42, 45, 48), (51, 54, 57, 60), (75, 81)),
    106: ((33, 35, 40, 39), (87, 89, 94, 93), (52, 61)),
    203: ((0, 6, 12, 18), (24, 30, 36, 42), (48, 66)),
}


@dataclass(frozen=True)
class OrientedBox:
    """A square about a face."""

    centre: tuple[float, float]
    """px."""
    side: float
    """px."""
    angle: float
    """Radians from the picture's x axis to the face's, + clockwise as y points down."""


def reference_points(landmarks: Floats, *, use_lip: bool = True) -> Floats:
    """Two points (2, 2) float32 that say where a face's down is: the eyes' centre and the mouth's.

    Without the lips they are the left eye's centre and that plus the line between the eyes, turned by 90°.
    """
    points = _known(landmarks)
    count = len(points) if len(points) in _LAYOUTS else 101
    if len(points) < count:
        raise ValueError(f"crops are known for {', '.join(map(str, _LAYOUTS))} landmarks or more, got {len(points)}")
    left, right, mouth = (points[list(part)].mean(axis=0) for part in _LAYOUTS[count])
    if use_lip:
        return np.stack([(left + right) / 2, mouth])
    across = right - left
    return np.stack([left, left + np.array([-across[1], across[0]])])


def oriented_box(
    landmarks: Floats, *, scale: float, shift_x: float = 0.0, shift_y: float = 0.0, use_lip: bool = True
) -> OrientedBox:
    """The square about `landmarks` (n, 2) along the face's own axes.

    Args:
        landmarks: px, of a layout with 5, 9, 68, 101, 106 or 203 points; MediaPipe's 478, taken as iBUG's 68; or
            any other number over 101 that starts like 101.
        scale: its side in units of the landmarks' bounding box.
        shift_x: shift in sides, along the face's x axis.
        shift_y: the same along its y axis; negative keeps more forehead.
        use_lip: see `reference_points`.
    """
    points = _known(landmarks)
    start, end = reference_points(points, use_lip=use_lip)
    down = end - start
    length = np.linalg.norm(down)
    down = down / length if length > 1e-3 else np.array([0, 1], np.float32)
    right = np.array([down[1], -down[0]])
    mean = points.mean(axis=0)
    upright = (points - mean) @ np.array([right, down]).T
    low, high = upright.min(axis=0), upright.max(axis=0)
    side = (high - low).max() * np.float32(scale)
    middle = (low + high) / 2
    centre = mean + right * middle[0] + down * middle[1]
    centre = centre + right * (np.float32(shift_x) * side) + down * (np.float32(shift_y) * side)
    angle = math.copysign(math.acos(np.clip(right[0], -1, 1)), right[1])
    return OrientedBox((float(centre[0]), float(centre[1])), float(side), angle)


def crop_from_box(box: OrientedBox, *, size: int = SIZE, rotate: bool = True) -> FaceCrop:
    """The crop of `size` px that shows a box, upright, or as it lies in the picture where `rotate` is off."""
    angle = box.angle if rotate else 0.0
    step = size / box.side
    turn = step * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return _crop(turn, size / 2 - turn @ box.centre, size)


def portrait_crop(
    landmarks: Floats,
    *,
    size: int = SIZE,
    scale: float = SCALE,
    shift_x: float = 0.0,
    shift_y: float = SHIFT_Y,
    rotate: bool = True,
    use_lip: bool = True,
) -> FaceCrop:
    """The crop about `landmarks` (n, 2): `oriented_box`, then `crop_from_box`. Defaults: a source picture's.

    `shift_x` works here; the original accepted and ignored it (§18).
    """
    box = oriented_box(landmarks, scale=scale, shift_x=shift_x, shift_y=shift_y, use_lip=use_lip)
    return crop_from_box(box, size=size, rotate=rotate)


def driving_box(tracks: Floats, *, scale: float = DRIVING_SCALE, shift_y: float = DRIVING_SHIFT_Y) -> Floats64:
    """(4,) left, top, right, bottom of a driving clip: the mean over its frames of each frame's square.

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
    """The one crop of a driving clip, from its `driving_box`; not turned, so that its head moves in it."""
    left, top, right, bottom = box
    step = size / (right - left)
    centre = np.array([left + right, top + bottom]) / 2
    return _crop(step * np.eye(2), size / 2 - step * centre, size)


def crop_pixels(image: Image, crop: FaceCrop, *, repeat_edge: bool = False) -> Image:
    """The pixels (size, size, 3) of a crop: bilinear; outside the picture black, or its edge repeated."""
    border = cv2.BORDER_REPLICATE if repeat_edge else cv2.BORDER_CONSTANT
    pixels: Image = cv2.warpAffine(image, crop.to_crop[:2], crop.size, flags=cv2.INTER_LINEAR, borderMode=border)
    return pixels


def limited_size(height: int, width: int, *, longest: int = 1280, division: int = 2) -> tuple[int, int]:
    """Height and width of `limited`: none over `longest` (0 = any), multiples of `division` if that leaves any."""
    if max(height, width) > longest > 0:
        shrunk = longest / max(height, width)
        height, width = (longest, int(width * shrunk)) if height > width else (int(height * shrunk), longest)
    cut = height - height % division, width - width % division
    return cut if all(cut) else (height, width)


def limited(image: Image, *, longest: int = 1280, division: int = 2) -> Image:
    """A picture shrunk to `longest` px and cut at the bottom and right to multiples of `division`."""
    (height, width), (h, w) = image.shape[:2], limited_size(*image.shape[:2], longest=longest, division=1)
    if (h, w) != (height, width):
        image = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    bottom, right = limited_size(h, w, longest=0, division=division)
    return image[:bottom, :right]


def _known(landmarks: Floats) -> Floats:
    """Points (n, 2) float32 of a layout that LivePortrait knows."""
    if len(landmarks) == LANDMARKS:
        # By 68 points and not by all: its mesh covers the forehead, which LivePortrait's scales do not count with.
        landmarks = ibug68(landmarks)
    return np.asarray(landmarks, dtype=np.float32)[:, :2]


def _crop(linear: Floats64, shift: Floats64, size: int) -> FaceCrop:
    to_crop = np.eye(3)
    to_crop[:2] = np.column_stack([linear, shift]).astype(np.float32)  # as the original keeps them
    return FaceCrop(np.linalg.inv(to_crop), (size, size))
