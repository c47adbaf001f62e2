"""How brows are raised and eyes opened wide: displacements of the shared mesh, by hand as no clip shows them alone.

A brow carries the forehead above it, less and less up to the hair, and the skin below it down to the lid's crease.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ...arrays import Floats
from ...motion.smoothing import smoothstep
from .model import POINTS, FaceModel

_UPPER_LINE = ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300))  # left to right in the picture
_LOWER_LINE = ((46, 53, 52, 65, 55), (285, 295, 282, 283, 276))
_UPPER_LID = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (362, 398, 384, 385, 386, 387, 388, 466, 263))
_FOREHEAD = 0.40  # IOD over which the forehead follows a brow
_BESIDE = 0.22  # IOD beyond the brow's ends
_MIDDLE = 0.13  # IOD: here one side's motion goes over into the other's
_LASHES = 0.3  # share of the way from lid to brow that stays: lashes would be drawn out
_GAP = 0.13  # IOD, of an open eye; its upper lid does the most of a widening
_LID_REACH = 0.10


@lru_cache(maxsize=1)
def upper_face_basis(model: FaceModel) -> Floats:
    """(4, V, 3) displacement in IOD per unit of: left brow, right brow (IOD), left eye, right eye (its gap)."""
    face = model.mean_face[:POINTS]
    vertices = model.mouth_basis.shape[1]
    basis = np.zeros((4, vertices, 3))
    for side in (0, 1):
        basis[side, :POINTS, 1] = _brow(face, side)
        basis[2 + side, :POINTS, 1] = _GAP * _lid(face, side)
    return basis


def _brow(face: Floats, side: int) -> Floats:
    """(468,) how far each landmark goes with a brow, 0…1."""
    x, y = face[:, 0], face[:, 1]
    upper, lower, lid = (face[list(line[side]), :2] for line in (_UPPER_LINE, _LOWER_LINE, _UPPER_LID))
    top, bottom, crease = (np.interp(x, line[:, 0], line[:, 1]) for line in (upper, lower, lid))
    above = 1 - smoothstep(0, _FOREHEAD, y - top)
    below = smoothstep(_LASHES, 1, (y - crease) / np.maximum(bottom - crease, 1e-3))
    ends = np.concatenate([upper[:, 0], lower[:, 0]])
    outside = np.maximum(ends.min() - x, x - ends.max())
    sign = -1 if side == 0 else 1
    own_side = smoothstep(-_MIDDLE, _MIDDLE, sign * x)
    # Towards the nose its neighbour takes over; towards the temple it dies away.
    beside = np.where(sign * x > 0, 1 - smoothstep(0, _BESIDE, outside), 1.0)
    return np.asarray(above * below * beside * own_side * (y > crease))


def _lid(face: Floats, side: int) -> Floats:
    """(468,) how far each landmark goes with an upper lid that is raised, 0…1."""
    x, y = face[:, 0], face[:, 1]
    lid = face[list(_UPPER_LID[side]), :2]
    across = (x - lid[0, 0]) / (lid[-1, 0] - lid[0, 0])
    arch = np.where((across > 0) & (across < 1), np.sin(np.pi * np.clip(across, 0, 1)), 0.0)
    line = np.interp(x, lid[:, 0], lid[:, 1])
    near = 1 - smoothstep(0, _LID_REACH, np.maximum(y - line, 0))
    return np.asarray(arch * near * (y > line - 0.005))
