"""Mesh displacements for brows and widened eyes (docs/method/embedded_renderer.md, Brows).

They are made by hand, because no measured clip shows them in isolation. A brow moves the forehead above it, decreasing
up to the hair, and the skin below it down to the crease of the lid.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ...arrays import Floats
from ...motion.smoothing import smoothstep
from .model import POINTS, UPPER_LID, FaceModel

_UPPER_LINE = ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300))  # left to right in the image
_LOWER_LINE = ((46, 53, 52, 65, 55), (285, 295, 282, 283, 276))
_FOREHEAD = 0.40  # IOD over which the forehead follows a brow
_FADE_BEYOND = 0.22  # IOD beyond the brow's ends
_CROSSOVER = 0.13  # IOD on each side of the middle over which left and right are blended
_INNER_REACH = 0.34  # IOD from the inner end of a brow outwards over which it moves by itself
_BETWEEN_EYES = (0.05, 0.16)  # IOD from the middle: the skin is gathered down to the nose, or down to the crease
_BRIDGE_END = 195  # landmark of the nose down to which it is
_FIXED_SHARE = 0.3  # share of the distance from lid to brow that does not move, because lashes would be stretched
_GAP = 0.13  # IOD between the lids of an open eye
_LID_REACH = 0.10  # IOD


@lru_cache(maxsize=1)
def upper_face_basis(model: FaceModel) -> Floats:
    """Return (6, V, 3) displacement in IOD per unit of six controls.

    Left, right brow up, inner ends of both brows up, inner ends together (IOD), left, right eye wider (share of its
    gap).
    """
    face = model.mean_face[:POINTS]
    vertices = model.mouth_basis.shape[1]
    basis = np.zeros((6, vertices, 3))
    for side in (0, 1):
        basis[side, :POINTS, 1] = _brow_weights(face, side)
        basis[4 + side, :POINTS, 1] = _GAP * _lid_weights(face, side)
    from_middle = np.abs(face[:, 0])
    inner_end = min(from_middle[line[end]] for line, end in zip(_UPPER_LINE, (-1, 0), strict=True))
    brows_end = max(face[line[end], 1] for line, end in zip(_LOWER_LINE, (-1, 0), strict=True))
    between = 1 - smoothstep(*_BETWEEN_EYES, from_middle)
    bridge = smoothstep(face[_BRIDGE_END, 1], brows_end, face[:, 1]) * (face[:, 1] < brows_end)
    both = basis[:2, :POINTS, 1].sum(axis=0)
    inner = np.maximum(both, between * bridge) * (1 - smoothstep(inner_end, inner_end + _INNER_REACH, from_middle))
    basis[2, :POINTS, 1] = inner
    basis[3, :POINTS, 0] = -np.sign(face[:, 0]) * inner * np.minimum(from_middle / inner_end, 1)
    return basis


def _brow_weights(face: Floats, side: int) -> Floats:
    """Return (468,) the share 0…1 of a brow's motion at each landmark."""
    x, y = face[:, 0], face[:, 1]
    upper, lower, lid = (face[list(line[side]), :2] for line in (_UPPER_LINE, _LOWER_LINE, UPPER_LID))
    top, bottom, crease = (np.interp(x, line[:, 0], line[:, 1]) for line in (upper, lower, lid))
    above = 1 - smoothstep(0, _FOREHEAD, y - top)
    below = smoothstep(_FIXED_SHARE, 1, (y - crease) / np.maximum(bottom - crease, 1e-3))
    ends = np.concatenate([upper[:, 0], lower[:, 0]])
    outside = np.maximum(ends.min() - x, x - ends.max())
    sign = -1 if side == 0 else 1
    own_side = smoothstep(-_CROSSOVER, _CROSSOVER, sign * x)
    # Towards the nose `own_side` blends with the other brow; towards the temple the motion fades out.
    beside = np.where(sign * x > 0, 1 - smoothstep(0, _FADE_BEYOND, outside), 1.0)
    return np.asarray(above * below * beside * own_side * (y > crease))


def _lid_weights(face: Floats, side: int) -> Floats:
    """Return (468,) the share 0…1 of an upper lid's motion at each landmark."""
    x, y = face[:, 0], face[:, 1]
    lid = face[list(UPPER_LID[side]), :2]
    across = (x - lid[0, 0]) / (lid[-1, 0] - lid[0, 0])
    arch = np.where((across > 0) & (across < 1), np.sin(np.pi * np.clip(across, 0, 1)), 0.0)
    line = np.interp(x, lid[:, 0], lid[:, 1])
    near = 1 - smoothstep(0, _LID_REACH, np.maximum(y - line, 0))
    return np.asarray(arch * near * (y > line - 0.005))
