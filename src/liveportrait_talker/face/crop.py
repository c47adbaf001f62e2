"""Similarity maps between a face crop and its picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """A window of a picture: `to_image` maps its pixels to the picture's, by a similarity."""

    to_image: Floats
    """(3, 3) float64: crop px → image px."""
    size: tuple[int, int]
    """Width and height of the crop, px."""

    def __post_init__(self) -> None:
        matrix = np.array(self.to_image, dtype=np.float64)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise ValueError(f"FaceCrop.to_image must be a finite (3, 3), got {matrix.shape}")
        a, b = matrix[:2, :2]
        if not np.allclose([a[0], a[1]], [b[1], -b[0]], atol=1e-6 * float(np.abs(matrix[:2, :2]).max())):
            raise ValueError("FaceCrop.to_image must be a similarity (rotation, scale, shift)")
        matrix.setflags(write=False)
        object.__setattr__(self, "to_image", matrix)

    def __repr__(self) -> str:
        x, y = self.to_image[:2, 2]
        return f"FaceCrop({self.size[0]}×{self.size[1]} at {x:.0f}, {y:.0f}, scale {self.scale:.3g})"

    @classmethod
    def window(cls, left: int, top: int, width: int, height: int) -> FaceCrop:
        """A piece of the picture as it is: whole pixels, no turn, no scaling."""
        return cls(np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], dtype=np.float64), (width, height))

    @property
    def to_crop(self) -> Floats:
        """(3, 3) float64: image px → crop px."""
        return np.linalg.inv(self.to_image)

    @property
    def scale(self) -> float:
        """Image px per crop px."""
        return float(np.hypot(self.to_image[0, 0], self.to_image[1, 0]))

    @property
    def corner(self) -> tuple[int, int] | None:
        """Left and top in image px where the crop is a plain window of whole pixels, else None."""
        shift = np.rint(self.to_image[:2, 2])
        if np.array_equal(self.to_image[:2, :2], np.eye(2)) and np.array_equal(shift, self.to_image[:2, 2]):
            return int(shift[0]), int(shift[1])
        return None


def face_crop(
    landmarks: Floats, *, size: int = 512, scale: float = 2.3, shift_x: float = 0.0, shift_y: float = -0.125
) -> FaceCrop:
    """LivePortrait's crop of a face: square, turned upright along the line from eyes to mouth.

    Args:
        landmarks: (478, 2 or 3) image px, MediaPipe's points.
        size: side of the crop, px.
        scale: side of the crop in units of the landmarks' upright bounding box.
        shift_x: shift of the window in crop widths, + to the face's own right in the picture.
        shift_y: the same, + towards the chin; negative keeps more forehead.

    Source: spec/liveportrait.md §10, with the eye and mouth centres taken from the corners.
    """
    points = np.asarray(landmarks, np.float64)[:468, :2]
    eyes = points[[33, 133, 362, 263]].mean(axis=0)
    mouth = points[[61, 291]].mean(axis=0)
    down = mouth - eyes
    length = float(np.hypot(*down))
    down = down / length if length > 1e-3 else np.array([0.0, 1.0])
    right = np.array([down[1], -down[0]])
    centre = points.mean(axis=0)
    upright = (points - centre) @ np.stack([right, down], axis=1)  # (468, 2) along the face's own axes
    low, high = upright.min(axis=0), upright.max(axis=0)
    side = float((high - low).max()) * scale
    middle = (low + high) / 2 + np.array([shift_x, shift_y]) * side
    centre = centre + right * middle[0] + down * middle[1]
    step = side / size
    to_image = np.eye(3)
    to_image[:2, 0] = right * step
    to_image[:2, 1] = down * step
    to_image[:2, 2] = centre - (right + down) * step * size / 2
    return FaceCrop(to_image, (size, size))
