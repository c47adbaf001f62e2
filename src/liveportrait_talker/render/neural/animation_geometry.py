"""The tables and the geometry that animation needs: which numbers of an expression are driven, volumes, rotations.

Source: spec liveportrait.md §12.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

from ...arrays import Floats, Floats64
from ...motion.lips import LIP_KEYPOINTS
from .keypoints import KEYPOINTS

PART_ROWS = {"lip": LIP_KEYPOINTS, "eyes": (11, 13, 15, 16, 18)}
"""Part of the face → the key points that are its."""

_FACE_ROWS = (1, 2, 6, *range(11, 21))
_FACE_COMPONENTS = ((3, 1), (4, 1), (5, 2), (8, 2), (9, 1), (9, 2))  # (key point, axis) that move besides those rows
_FLAT = 1e-8  # volume of a hull that is none, in cubes of half the picture

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
"""(21, 3) the expression of a face that does nothing, lips shut (§12)."""
# fmt: on


def driven_components(region: str, *, every: bool) -> npt.NDArray[np.bool_]:
    """(21, 3) True where an expression is driven, for a region of `animation_inputs.REGIONS`.

    `every`: all and exp drive every number, not only those of the moving face.
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
    """How much larger the source's points (21, 3) are than the driving ones (21, 3), in the released code's measure.

    A square root of volumes, not the cube root that would be a ratio of lengths (§18). 1 where either is flat.
    """
    volumes = hull_volume(source), hull_volume(driving)
    return float(np.sqrt(volumes[0] / volumes[1])) if min(volumes) > _FLAT else 1.0


def hull_volume(points: Floats) -> float:
    """Volume of the convex hull of points (n ≥ 4, 3), for tens of them: every triangle is tried as a face of it."""
    p = np.asarray(points, dtype=np.float64)
    p = p - p.mean(axis=0)
    # No four may share a plane, or a face would be counted in several ways: 1e-9 of the size keeps them apart.
    p += np.random.default_rng(0).uniform(-1e-9, 1e-9, p.shape) * np.abs(p).max()
    corners = np.array(list(combinations(range(len(p)), 3)))
    a, b, c = (p[corners[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    height = normal @ p.T - np.einsum("fx,fx->f", normal, a)[:, None]
    np.put_along_axis(height, corners, 0.0, axis=1)  # its own corners lie in its plane, whatever rounding says
    face = (height <= 0).all(axis=1) | (height >= 0).all(axis=1)
    # The mean of the points, the origin here, is inside: each face makes a tetrahedron with it.
    return float(np.abs(np.einsum("fx,fx->f", normal[face], a[face])).sum() / 6)


def nearest_rotation(matrices: Floats) -> Floats64:
    """The rotations (T, 3, 3) nearest to matrices (T, 3, 3) that are rotations but for what smoothing did to them."""
    left, _, right = np.linalg.svd(np.asarray(matrices, dtype=np.float64))
    left[..., -1] *= np.sign(np.linalg.det(left @ right))[..., None]  # not a mirror
    rotations: Floats64 = left @ right
    return rotations
