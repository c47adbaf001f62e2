"""Opening of eyes and lips: the ratios that LivePortrait's networks take (docs/method/liveportrait.md, Ratios), and the
openness of eyes that blinks are found in (docs/method/measurements.md, Tracks).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..arrays import Floats, Floats64

_EPS = 1e-6  # px; avoids division by zero


class _Opening(NamedTuple):
    """Landmarks of a ratio: distance of upper and lower over distance of the corners."""

    upper: int
    lower: int
    corner: int
    other_corner: int


# Number of landmarks → left and right eye in the image.
_EYES = {
    98: (_Opening(62, 66, 60, 64), _Opening(70, 74, 68, 72)),
    203: (_Opening(6, 18, 0, 12), _Opening(30, 42, 24, 36)),
    478: (_Opening(159, 145, 33, 133), _Opening(386, 374, 362, 263)),
}
# Pairs of upper and lower lid points, and the corners: right and left eye.
_LIDS = (
    (((159, 145), (158, 153), (160, 144)), (33, 133)),
    (((386, 374), (385, 380), (387, 373)), (263, 362)),
)
# The inner lips.
_LIPS = {203: _Opening(90, 102, 48, 66), 478: _Opening(13, 14, 61, 291)}


def eye_ratios(landmarks: Floats) -> Floats64:
    """Return eyelid distance / eye width (..., 2), left and right in the image: 0 closed, about 0.3–0.45 open.

    Args:
        landmarks: (..., n, 2 or more) px with n = 98, 203 or 478; only x and y are used.
    """
    return np.stack([_ratio(landmarks, eye) for eye in _layout(_EYES, landmarks)], axis=-1)


def eye_openness(landmarks: Floats) -> Floats64:
    """Return the mean distance of three pairs of lid points / eye width (2,), in 3-D, right and left eye.

    About 0.2–0.4 open, below 0.12 shut, for landmarks (478, 3).
    """
    points = np.asarray(landmarks, np.float64)
    ratios = []
    for pairs, corners in _LIDS:
        upper, lower = points[list(pairs)].swapaxes(0, 1)
        heights = np.linalg.norm(upper - lower, axis=-1)
        ratios.append(heights.mean() / max(float(np.linalg.norm(points[corners[0]] - points[corners[1]])), _EPS))
    return np.array(ratios)


def lip_ratio(landmarks: Floats) -> Floats64:
    """Return inner lip distance / mouth width (..., 1): 0 closed, up to about 0.8.

    Args:
        landmarks: (..., n, 2 or more) px with n = 203 or 478; only x and y are used.
    """
    return _ratio(landmarks, _layout(_LIPS, landmarks))[..., None]


def _layout(layouts: dict[int, Any], landmarks: Floats) -> Any:
    count = np.shape(landmarks)[-2]
    if count not in layouts:
        raise ValueError(f"the number of landmarks must be {' or '.join(map(str, layouts))}, got {count}")
    return layouts[count]


def _ratio(landmarks: Floats, opening: _Opening) -> Floats64:
    points = np.asarray(landmarks, dtype=np.float64)[..., :2]
    height = np.linalg.norm(points[..., opening.upper, :] - points[..., opening.lower, :], axis=-1)
    width = np.linalg.norm(points[..., opening.corner, :] - points[..., opening.other_corner, :], axis=-1)
    ratio: Floats64 = height / (width + _EPS)
    return ratio
