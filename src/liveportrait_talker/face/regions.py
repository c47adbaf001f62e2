"""Rotated squares of an image, and their sampling for a network.

The same as in MediaPipe, including the rounding of sampling positions (docs/method/face_models.md, Regions).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ..arrays import Floats, Image

_FACE_MARGIN = 1.5  # side of a face region / longer side of the bounding box


@dataclass(frozen=True)
class Region:
    """A square in image px (x right, y down)."""

    x: float
    """Centre, px."""
    y: float
    """Centre, px."""
    side: float
    """Length of a side, px."""
    angle: float = 0.0
    """Radians from the image's x axis to that of the square, positive clockwise."""

    @property
    def axes(self) -> Floats:
        """(2, 2) float64: unit vectors along the square's x and y axes as columns."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return np.array([[cos, -sin], [sin, cos]])

    def to_image(self, points: Floats) -> Floats:
        """Convert points (…, 2 or 3), in sides from the top left corner, to image px; z is scaled equally."""
        result = np.array(points, np.float64)
        result[..., :2] = (result[..., :2] - 0.5) @ self.axes.T
        result *= self.side
        result[..., :2] += (self.x, self.y)
        return result

    def overlap(self, other: Region) -> float:
        """Return the intersection over union of two squares, 0…1, ignoring rotation."""
        half = (self.side + other.side) / 2
        width = min(half - abs(self.x - other.x), self.side, other.side)
        height = min(half - abs(self.y - other.y), self.side, other.side)
        if width <= 0 or height <= 0:
            return 0.0
        return width * height / (self.side**2 + other.side**2 - width * height)


def face_region(low: Floats, high: Floats, right_eye: Floats, left_eye: Floats) -> Region:
    """Return the region of a face: a square around its bounding box with a margin, rotated parallel to the eyes.

    Args:
        low: (2,) smallest x and y of the face, image px.
        high: (2,) largest x and y.
        right_eye: (2,) a point of the subject's right eye.
        left_eye: (2,) the corresponding point of the left eye.
    """
    across = left_eye - right_eye
    centre = (low + high) / 2
    side = _FACE_MARGIN * float((high - low).max())
    return Region(float(centre[0]), float(centre[1]), side, math.atan2(float(across[1]), float(across[0])))


def sample_region(image: Image, region: Region, size: int, *, replicate: bool) -> Image:
    """Sample `region` of an (H, W, 3) uint8 image as (size, size, 3) uint8, bilinearly.

    Outside the image are the edge pixels (`replicate`) or black. The corners of the region map to (0, 0) and
    (size, size), without a half-pixel shift.
    """
    box = ((region.x, region.y), (region.side, region.side), math.degrees(region.angle))
    return _sample_box(image, box, size, cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT)


def sample_image(image: Image, size: int) -> Image:
    """Sample the whole image as (size, size, 3) uint8 as in `sample_region`; the aspect ratio is not kept."""
    height, width = image.shape[:2]
    return _sample_box(image, ((width / 2, height / 2), (width, height), 0.0), size, cv2.BORDER_CONSTANT)


def _sample_box(
    image: Image, box: tuple[tuple[float, float], tuple[float, float], float], size: int, border: int
) -> Image:
    """Sample a rotated rectangle (centre, size, degrees) as a square.

    OpenCV rounds sampling positions to 1/32 px; only MediaPipe's sequence of calls gives the same rounding.
    """
    corners = np.array([(0, size), (0, 0), (size, 0), (size, size)], np.float32)
    to_square = cv2.getPerspectiveTransform(cv2.boxPoints(box), corners)
    square: Image = cv2.warpPerspective(image, to_square, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
    return square
