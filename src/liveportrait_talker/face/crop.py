"""`FaceCrop`: a crop of an image, given by a similarity transform."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Floats


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """A crop of an image, possibly rotated and scaled."""

    to_image: Floats
    """(3, 3) float64, crop px → image px; a similarity transform."""
    size: tuple[int, int]
    """(width, height) of the crop, px."""

    def __post_init__(self) -> None:
        matrix = np.array(self.to_image, dtype=np.float64)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise ValueError(f"FaceCrop.to_image must be a finite (3, 3), got {matrix.shape}")
        a, b = matrix[:2, :2]
        if not np.allclose([a[0], a[1]], [b[1], -b[0]], atol=1e-6 * float(np.abs(matrix[:2, :2]).max())):
            raise ValueError("FaceCrop.to_image must be a similarity (rotation, scale, translation)")
        matrix.setflags(write=False)
        object.__setattr__(self, "to_image", matrix)

    def __repr__(self) -> str:
        x, y = self.to_image[:2, 2]
        return f"FaceCrop({self.size[0]}×{self.size[1]} at {x:.0f}, {y:.0f}, scale {self.scale:.3g})"

    @classmethod
    def window(cls, left: int, top: int, width: int, height: int) -> FaceCrop:
        """Return a crop in whole pixels, without rotation and scaling."""
        return cls(np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], dtype=np.float64), (width, height))

    @property
    def to_crop(self) -> Floats:
        """(3, 3) float64, image px → crop px."""
        return np.linalg.inv(self.to_image)

    @property
    def scale(self) -> float:
        """Image px per crop px."""
        return float(np.hypot(self.to_image[0, 0], self.to_image[1, 0]))

    @property
    def corner(self) -> tuple[int, int] | None:
        """(left, top) in image px if the crop is in whole pixels without rotation and scaling, else None."""
        shift = np.rint(self.to_image[:2, 2])
        if np.array_equal(self.to_image[:2, :2], np.eye(2)) and np.array_equal(shift, self.to_image[:2, 2]):
            return int(shift[0]), int(shift[1])
        return None
