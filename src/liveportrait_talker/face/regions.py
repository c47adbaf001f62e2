"""Rotated squares of an image: where a face is, and how its pixels are sampled for a network.

The arithmetic is MediaPipe's (docs/method/face_models.md), down to the rounding of sampling positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ..arrays import Floats, Image

_FACE_MARGIN = 1.5  # side of a face's region in sides of its bounding box


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
    """Radians from the image's x axis to the square's own, + clockwise as y points down."""

    @property
    def axes(self) -> Floats:
        """(2, 2) float64: the square's x and y unit vectors as columns, in image axes."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return np.array([[cos, -sin], [sin, cos]])

    def to_image(self, points: Floats) -> Floats:
        """(…, 2 or 3) points in units of the side, origin at the top left corner → image px; z is scaled alike."""
        result = np.array(points, np.float64)
        result[..., :2] = (result[..., :2] - 0.5) @ self.axes.T
        result *= self.side
        result[..., :2] += (self.x, self.y)
        return result

    def overlap(self, other: Region) -> float:
        """Intersection over union of the two squares, their rotation ignored, 0…1."""
        reach = (self.side + other.side) / 2
        width = min(reach - abs(self.x - other.x), self.side, other.side)
        height = min(reach - abs(self.y - other.y), self.side, other.side)
        if width <= 0 or height <= 0:
            return 0.0
        return width * height / (self.side**2 + other.side**2 - width * height)


def face_region(low: Floats, high: Floats, right_eye: Floats, left_eye: Floats) -> Region:
    """The region of a face: the square about its bounding box, with a margin, turned as the line between its eyes.

    Args:
        low: (2,) smallest x and y of the face, image px.
        high: (2,) largest x and y.
        right_eye: (2,) a point of the eye that is on the left in an upright image.
        left_eye: (2,) the same point of the other eye.
    """
    across = left_eye - right_eye
    centre = (low + high) / 2
    side = _FACE_MARGIN * float((high - low).max())
    return Region(float(centre[0]), float(centre[1]), side, math.atan2(float(across[1]), float(across[0])))


def sample(image: Image, region: Region, size: int, *, replicate: bool) -> Image:
    """(size, size, 3) uint8: `region` of an (H, W, 3) uint8 image, bilinear; beyond the image its edge or black.

    The region's corners are the corners (0, 0) and (size, size) of the result, without a half-pixel shift.
    """
    box = ((region.x, region.y), (region.side, region.side), math.degrees(region.angle))
    return _sample_box(image, box, size, cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT)


def squeeze(image: Image, size: int) -> Image:
    """(size, size, 3) uint8: the whole image, whatever its aspect, sampled as by `sample`."""
    height, width = image.shape[:2]
    return _sample_box(image, ((width / 2, height / 2), (width, height), 0.0), size, cv2.BORDER_CONSTANT)


def _sample_box(
    image: Image, box: tuple[tuple[float, float], tuple[float, float], float], size: int, border: int
) -> Image:
    """A rotated rectangle (centre, size, degrees) as a square.

    By MediaPipe's own calls: OpenCV rounds sampling positions to 1/32 px, and which way a position in the middle goes
    depends on how the map was computed.
    """
    corners = np.array([(0, size), (0, 0), (size, 0), (size, size)], np.float32)
    to_square = cv2.getPerspectiveTransform(cv2.boxPoints(box), corners)
    square: Image = cv2.warpPerspective(image, to_square, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
    return square
