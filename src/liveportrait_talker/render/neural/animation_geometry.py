"""Tables and geometry for animation: driven expression components, hull volumes, rotations.

See docs/method/liveportrait.md, Animation and Neutral expression.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

from ...arrays import Floats, Floats64
from ...motion.lips import LIP_KEYPOINTS
from .keypoints import KEYPOINTS

PART_ROWS = {"lip": LIP_KEYPOINTS, "eyes": (11, 13, 15, 16, 18)}
"""Keypoints of a part of the face."""

_FACE_ROWS = (1, 2, 6, *range(11, 21))
_FACE_COMPONENTS = ((3, 1), (4, 1), (5, 2), (8, 2), (9, 1), (9, 2))  # (keypoint, axis), in addition to those rows
_FLAT = 1e-8  # volume below which a hull is flat, in cubes of half the image

# fmt: off
LIP0: Floats64 = 1e-6 * np.array([
    (-94.524, 242.22, -40.0974), (208.596, 468.054, 12.7464), (-124.602, 324.972, 4.425),
    (119.652, -456.624, 54.0852), (-265.254, -74.598, -15.528), (-33.4884, -183.036, -3.49404),
    (-0.475428, -0.452466, 1.59498), (-541.296, 2632.8, 7.2486), (-11.694, 5.00502, 9.9888),
    (0.80286, 5.19132, -409.344), (166.878, -19.815, -88.548), (-15.1536, 82.506, 5.94012),
    (-0.261054, 2.7591, 2.21028), (-66.282, -68.286, -3.45318), (-832.62, -1795.92, -2.59176),
    (6.9714, 36.5514, -1.8978), (-4.80876, 7.1148, -10.3236), (-636.84, -1166.1, 56.2314),
    (283.29, -14.5656, 10.9746), (-4.16022, -15090.6, -2549.4), (222.474, 5627.88, 2726.46),
])
"""(21, 3) expression deformation of a face at rest with closed lips."""
# fmt: on


def driven_components(region: str, *, every: bool) -> npt.NDArray[np.bool_]:
    """Return (21, 3) True for the expression components that a region drives.

    Args:
        region: one of `animation_inputs.REGIONS`.
        every: whether "all" and "exp" drive every component, not only those of the moving face.
    """
    driven = np.zeros((KEYPOINTS, 3), dtype=bool)
    if region in PART_ROWS:
        driven[list(PART_ROWS[region])] = True
    elif region != "pose":
        driven[list(_FACE_ROWS)] = True
        driven[tuple(zip(*_FACE_COMPONENTS, strict=True))] = True
        driven |= every
    return driven


def motion_multiplier(source: Floats, driving: Floats) -> float:
    """Return the size of the source's keypoints (21, 3) relative to the driving ones, as the released code does.

    It is the square root of a volume ratio, not the cube root (docs/method/liveportrait.md, Differences), and 1 where
    either hull is flat.
    """
    volumes = hull_volume(source), hull_volume(driving)
    return float(np.sqrt(volumes[0] / volumes[1])) if min(volumes) > _FLAT else 1.0


def hull_volume(points: Floats) -> float:
    """Return the volume of the convex hull of (n ≥ 4, 3) points; tests every triangle, so n should be below 100."""
    p = np.asarray(points, dtype=np.float64)
    p = p - p.mean(axis=0)
    # Four points in a plane would count a face more than once; noise of 1e-9 of the size prevents that.
    p += np.random.default_rng(0).uniform(-1e-9, 1e-9, p.shape) * np.abs(p).max()
    corners = np.array(list(combinations(range(len(p)), 3)))
    a, b, c = (p[corners[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    height = normal @ p.T - np.einsum("fx,fx->f", normal, a)[:, None]
    np.put_along_axis(height, corners, 0.0, axis=1)  # exactly 0 for its own corners, despite rounding
    face = (height <= 0).all(axis=1) | (height >= 0).all(axis=1)
    # Each face and the origin, the mean of the points, form a tetrahedron.
    return float(np.abs(np.einsum("fx,fx->f", normal[face], a[face])).sum() / 6)


def nearest_rotation(matrices: Floats) -> Floats64:
    """Project matrices (T, 3, 3), such as smoothed rotations, to the nearest rotations."""
    left, _, right = np.linalg.svd(np.asarray(matrices, dtype=np.float64))
    left[..., -1] *= np.sign(np.linalg.det(left @ right))[..., None]  # a rotation, not a reflection
    rotations: Floats64 = left @ right
    return rotations
