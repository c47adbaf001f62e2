"""Mesh displacement for a smile (docs/method/embedded_renderer.md, Smile).

It is made by hand: the basis of the mouth is measured on speech, where the corners never rise without the lips. Its
weights are smooth over both lips, so that shut ones stay shut.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ...arrays import Floats
from ...motion.smoothing import smoothstep
from ...motion.track import MOUTH_CONTROLS
from .model import POINTS, FaceModel

_CORNERS = (61, 291)
_LOWER_LIDS = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (362, 382, 381, 380, 374, 373, 390, 249, 263))
_NOSE_BASE = 2
_CURVE = 1.6  # exponent of the lips' curve from the middle to the corner
_OUTWARDS, _BACKWARDS = 0.8, 0.35  # motion of a corner per unit upwards
_PRESS = 0.8  # of `press` per unit: stretched lips are thinner
_BESIDE = (0.06, 0.50)  # IOD beyond the corner where the cheek follows less, and not at all
_BELOW = (0.06, 0.38)  # IOD below the corner
_CHEEK, _LID = 0.45, 0.16  # share of the motion beside the nose and at the lower lid
_NOSE = (0.20, 0.34)  # IOD from the middle: nothing moves, all moves


@lru_cache(maxsize=1)
def smile_basis(model: FaceModel) -> Floats:
    """Return (V, 3) displacement in IOD per IOD by which the corners of the mouth rise against its middle."""
    face = model.mean_face[:POINTS]
    x, y = face[:, 0], face[:, 1]
    beside = np.abs(x)
    corner_x, corner_y = np.abs(face[list(_CORNERS), :2] * (1, -1)).mean(axis=0) * (1, -1)
    nose = face[_NOSE_BASE, 1]
    lids = np.concatenate([face[list(lid), :2] for lid in _LOWER_LIDS])
    lid = np.interp(x, *lids[np.argsort(lids[:, 0])].T)

    across = np.minimum(beside / corner_x, 1)
    fade = 1 - smoothstep(corner_x + _BESIDE[0], corner_x + _BESIDE[1], beside)
    from_chin = smoothstep(corner_y - _BELOW[1], corner_y - _BELOW[0], y)
    to_cheek = 1 - (1 - _CHEEK) * smoothstep(corner_y, nose, y)
    to_lid = _LID + (_CHEEK - _LID) * (1 - smoothstep(0, 1, (y - nose) / np.maximum(lid - nose, 1e-3)))
    height = from_chin * np.where(y < nose, to_cheek, to_lid) * (y <= lid + 1e-3)
    height *= 1 - (1 - smoothstep(*_NOSE, beside)) * smoothstep(corner_y + 0.12, nose - 0.02, y)
    basis = np.zeros((model.mouth_basis.shape[1], 3))
    at_lips = 1 - smoothstep(corner_y + 0.1, nose + 0.1, y)
    basis[:POINTS, 0] = _OUTWARDS * np.sign(x) * across * fade * height * at_lips
    basis[:POINTS, 1] = across**_CURVE * fade * height
    basis[:POINTS, 2] = -_BACKWARDS * basis[:POINTS, 1]
    thinner = model.mouth_basis[MOUTH_CONTROLS.index("press"), :POINTS]
    basis[:POINTS] += _PRESS * from_chin[:, None] * thinner
    return basis
